//! Tasks that wait, in the order in which they came.

use crate::link::{EndpointKey, LinkId};
use crate::shard::Shard;
use crate::state::State;
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Tasks that wait for one thing.
#[derive(Debug, Default)]
pub struct Line {
    last: u64,
    /// By ticket, ascending; without a waker who has been woken and not been polled since.
    places: VecDeque<(u64, Option<Waker>)>,
}

impl Line {
    /// Moves all wakers to `wakes`, to be woken when nothing is locked. Everybody keeps his place.
    pub fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.places.iter_mut().filter_map(|(_, waker)| waker.take()));
    }

    /// The same for whoever is first.
    pub fn wake_first(&mut self, wakes: &mut Vec<Waker>) {
        wakes.extend(self.places.front_mut().and_then(|(_, waker)| waker.take()));
    }

    /// Whether somebody came before the holder of this ticket.
    pub fn has_before(&self, ticket: Option<u64>) -> bool {
        self.places.front().is_some_and(|(first, _)| Some(*first) != ticket)
    }

    /// Enters the line, or stays in it. What comes back is to be dropped when nothing is locked.
    fn enter(&mut self, ticket: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let number = *ticket.get_or_insert_with(|| {
            self.last += 1;
            self.places.push_back((self.last, None));
            self.last
        });
        let at = self.places.binary_search_by_key(&number, |(ticket, _)| *ticket).ok()?;
        replace(&mut self.places[at].1, waker)
    }

    /// Gives a place up. What comes back is to be dropped when nothing is locked.
    fn leave(&mut self, ticket: u64) -> Option<Waker> {
        let at = self.places.binary_search_by_key(&ticket, |(ticket, _)| *ticket).ok()?;
        self.places.remove(at)?.1
    }
}

/// Has this waker woken from now on. The one before comes back: it is to be dropped when nothing is locked, since that
/// may run the user's code.
#[must_use]
pub fn replace(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(known) if known.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}

/// What a task waits for.
#[derive(Debug, Clone, Copy)]
pub enum For {
    /// Room for a message. One goes after the other.
    Room(LinkId),
    /// The end of an association, or its beginning.
    Change(LinkId),
    /// A peer.
    Peer(EndpointKey),
    /// The end of all associations.
    Calm(EndpointKey),
}

/// A place in a line: given up when it is dropped.
#[derive(Debug)]
pub struct Place<'a> {
    shard: &'a Shard,
    what: For,
    ticket: Option<u64>,
}

impl<'a> Place<'a> {
    /// Not in line yet.
    pub fn new(shard: &'a Shard, what: For) -> Self {
        Self { shard, what, ticket: None }
    }

    /// Waits, or goes on waiting.
    pub fn wait(&mut self, state: &mut State, cx: &Context<'_>) {
        if let Some(line) = state.line(self.what) {
            let replaced = line.enter(&mut self.ticket, cx.waker());
            state.replaced.extend(replaced);
        }
    }

    /// Whether somebody else has to go first.
    pub fn must_wait(&self, state: &mut State) -> bool {
        state.line(self.what).is_some_and(|line| line.has_before(self.ticket))
    }

    /// Waits no more; the next may try.
    pub fn leave(&mut self, state: &mut State) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut wakes = std::mem::take(&mut state.wakes);
        if let Some(line) = state.line(self.what) {
            let left = line.leave(ticket);
            if matches!(self.what, For::Room(_)) {
                line.wake_first(&mut wakes);
            }
            state.replaced.extend(left);
        }
        state.wakes = wakes;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let shard = self.shard;
            let wakes = {
                let mut state = shard.lock();
                self.leave(&mut state);
                std::mem::take(&mut state.wakes)
            };
            wakes.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_in_order_and_given_up_one_by_one() {
        let (mut line, mut wakes) = (Line::default(), Vec::new());
        let mut tickets = [None; 3];
        assert!(!line.has_before(None));
        for ticket in &mut tickets {
            line.enter(ticket, Waker::noop());
            line.enter(ticket, Waker::noop());
        }
        assert_eq!(tickets, [Some(1), Some(2), Some(3)]);
        assert!(!line.has_before(tickets[0]) && line.has_before(tickets[1]) && line.has_before(None));
        line.wake_first(&mut wakes);
        line.wake_first(&mut wakes);
        assert_eq!(wakes.len(), 1, "woken once, until polled again");
        line.leave(2);
        line.wake_all(&mut wakes);
        assert_eq!(wakes.len(), 2);
        line.leave(1);
        assert!(!line.has_before(tickets[2]));
        line.leave(3);
        assert!(!line.has_before(None));
    }
}
