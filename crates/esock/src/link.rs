//! A link: what the API keeps of an association. It outlives the backend's association, so that a handle
//! stays the same when a supervised association is made anew.

use crate::association::Handle;
use crate::line::Line;
use crate::receiver::Received;
use crate::supervisor::Supervisor;
use crate::{CloseReason, Event, Negotiated};
use esock_io::Transport;
use esock_proto::{AssocId, Time};
use std::collections::VecDeque;
use std::sync::Weak;
use std::task::Waker;

/// Events that wait at most, those not counted that give messages back or end something.
const MAX_EVENTS: usize = 256;

/// A link. Never reused: the generation differs when a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    /// Which of an endpoint's shards.
    shard: u16,
    slot: u32,
    generation: u32,
}

/// An endpoint, in each of its shards, for as long as the API knows it: its sockets may be opened anew meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey(pub u64);

/// Who receives what happens on an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// A [`Receiver`](crate::Receiver); whether somebody holds it.
    Receiver { held: bool },
    /// The owner with this number; whether the association stands in its line.
    Owner { owner: u64, queued: bool },
    /// It stands in the backlog: whoever is the next to accept has it.
    Backlog,
    /// Filters are being asked which owner is next.
    Undecided,
}

/// See the module.
#[derive(Debug)]
pub struct Link {
    pub id: LinkId,
    pub endpoint: EndpointKey,
    /// The backend's association: none while a supervised one is down, and when its sockets have failed.
    pub assoc: Option<AssocId>,
    /// What the handles of the user share.
    pub handle: Weak<Handle>,
    pub sink: Sink,
    /// Events with the number of messages that come before them.
    events: VecDeque<(u64, Event)>,
    /// What was not read when the backend's association went: it comes before everything else.
    parked: VecDeque<Received>,
    parked_bytes: usize,
    /// Messages taken from the backend's association so far.
    delivered: u64,
    /// How often it came up, restarts of the peer included.
    pub ups: u64,
    /// What was agreed on when it last came up; none while it is down.
    pub up: Option<Negotiated>,
    pub closed: Option<CloseReason>,
    /// `Closed` was handed out: nothing more comes.
    pub finished: bool,
    /// The task that reads: there is one at most.
    pub reader: Option<Waker>,
    /// Tasks that wait for room to send.
    pub writers: Line,
    /// Tasks that wait until it is up, or has ended.
    pub closers: Line,
    /// The last handle was dropped; when it is aborted.
    pub orphaned: Option<Time>,
    /// What keeps it alive, if something does.
    pub supervisor: Option<Box<Supervisor>>,
}

impl Link {
    fn new(id: LinkId, endpoint: EndpointKey, assoc: Option<AssocId>, sink: Sink) -> Self {
        Self {
            id,
            endpoint,
            assoc,
            handle: Weak::new(),
            sink,
            events: VecDeque::new(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            delivered: 0,
            ups: 0,
            up: None,
            closed: None,
            finished: false,
            reader: None,
            writers: Line::default(),
            closers: Line::default(),
            orphaned: None,
            supervisor: None,
        }
    }

    /// How often it came up anew.
    pub fn generation(&self) -> u64 {
        self.ups.saturating_sub(1)
    }

    /// Bytes of messages that wait here, outside any receive window.
    pub fn parked_bytes(&self) -> usize {
        self.parked_bytes
    }

    /// Whether the owner with this number receives what happens on it.
    pub fn is_of(&self, number: u64) -> bool {
        matches!(self.sink, Sink::Owner { owner, .. } if owner == number)
    }

    /// Keeps an event until somebody reads it. `ready` messages have arrived before it.
    pub fn push(&mut self, event: Event, ready: usize) {
        let news = matches!(event, Event::Path { .. } | Event::PathInUse { .. } | Event::PeerError { .. });
        if news && self.events.len() >= MAX_EVENTS {
            // Who does not read learns the state from `paths`; what was lost or has ended is never dropped.
            return;
        }
        let restarted = matches!(event, Event::Restarted(_));
        if restarted && matches!(self.events.back(), Some((_, Event::Restarted(_)))) {
            // Of a peer that restarts again and again, who does not read needs only the last time.
            self.events.pop_back();
        }
        // What ends something comes behind the messages that came before it.
        let ends = matches!(event, Event::Closed(_) | Event::Restarted(_) | Event::ShutdownReceived);
        let before = self.delivered + if ends { ready as u64 } else { 0 };
        self.events.push_back((before, event));
    }

    /// Keeps an event that comes behind everything that waits, when the backend's association has gone.
    pub fn push_parked(&mut self, event: Event) {
        let repeats =
            |last: Option<&Received>| matches!(last, Some(Received::Event(Event::Down { failures: 1.., .. })));
        if matches!(event, Event::Down { failures: 1.., .. }) && repeats(self.parked.back()) {
            // Who does not read needs only the last of many failed attempts.
            self.parked.pop_back();
        }
        self.parked.push_back(Received::Event(event));
    }

    /// Takes all that waits out of the backend's association, which is about to go.
    pub fn park(&mut self, transport: &mut dyn Transport) {
        while let Some(next) = self.next_live(transport) {
            if let Received::Message(message) = &next {
                self.parked_bytes += message.payload.len();
            }
            self.parked.push_back(next);
        }
    }

    /// The next event or message.
    pub fn next(&mut self, transport: &mut dyn Transport) -> Option<Received> {
        let next = match self.parked.pop_front() {
            Some(next) => {
                if let Received::Message(message) = &next {
                    self.parked_bytes -= message.payload.len();
                }
                Some(next)
            }
            None => self.next_live(transport),
        };
        self.finished |= matches!(next, Some(Received::Event(Event::Closed(_))));
        next
    }

    /// Appends the next events and messages to `out`, at most `max`.
    pub fn next_many(&mut self, transport: &mut dyn Transport, out: &mut Vec<Received>, max: usize) {
        let end = out.len().saturating_add(max);
        while out.len() < end {
            // Messages up to the next event, without a look at each whether that is due.
            let before = self.events.front().map_or(u64::MAX, |(before, _)| before.saturating_sub(self.delivered));
            let run = usize::try_from(before).unwrap_or(usize::MAX).min(end - out.len());
            if let Some(id) = self.assoc
                && self.parked.is_empty()
                && run > 0
            {
                let taken = transport.recv_many(id, run, &mut |message| out.push(Received::Message(message)));
                self.delivered += taken as u64;
                if taken == run {
                    continue;
                }
            }
            match self.next(transport) {
                Some(next) => out.push(next),
                None => return,
            }
        }
    }

    fn next_live(&mut self, transport: &mut dyn Transport) -> Option<Received> {
        let due = self.events.front().is_some_and(|(before, _)| *before <= self.delivered);
        if !due
            && let Some(id) = self.assoc
            && let Some(message) = transport.recv(id)
        {
            self.delivered += 1;
            return Some(Received::Message(message));
        }
        let (_, event) = self.events.pop_front()?;
        if self.events.is_empty() {
            // Events are rare; an idle association keeps no memory for them.
            self.events = VecDeque::new();
        }
        Some(Received::Event(event))
    }

    /// Whether [`Link::next`] has something.
    pub fn has_next(&self, transport: &dyn Transport) -> bool {
        !self.parked.is_empty()
            || !self.events.is_empty()
            || self.assoc.is_some_and(|id| transport.ready_messages(id) > 0)
    }
}

/// The links of a shard, found by their own number and by that of the backend's association.
#[derive(Debug, Default)]
pub struct Links {
    shard: u16,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// By the slot of the backend's association.
    by_assoc: Vec<Option<LinkId>>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    link: Option<Box<Link>>,
}

impl LinkId {
    /// Which of an endpoint's shards it is in.
    pub fn shard(self) -> usize {
        usize::from(self.shard)
    }
}

impl Links {
    /// The links of a shard.
    pub fn new(shard: u16) -> Self {
        Self { shard, ..Self::default() }
    }

    /// Adds a link.
    pub fn insert(&mut self, endpoint: EndpointKey, assoc: Option<AssocId>, sink: Sink) -> LinkId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        let id = LinkId { shard: self.shard, slot, generation: place.generation };
        place.link = Some(Box::new(Link::new(id, endpoint, None, sink)));
        self.attach(id, assoc);
        id
    }

    /// Says which association of the backend is behind a link from now on.
    pub fn attach(&mut self, id: LinkId, assoc: Option<AssocId>) {
        let Some(link) = self.get_mut(id) else { return };
        let old = std::mem::replace(&mut link.assoc, assoc);
        // Events count from the beginning of an association.
        link.delivered = 0;
        if let Some(old) = old
            && let Some(place) = self.by_assoc.get_mut(old.slot())
            && *place == Some(id)
        {
            *place = None;
        }
        if let Some(assoc) = assoc {
            if self.by_assoc.len() <= assoc.slot() {
                self.by_assoc.resize(assoc.slot() + 1, None);
            }
            self.by_assoc[assoc.slot()] = Some(id);
        }
    }

    pub fn get(&self, id: LinkId) -> Option<&Link> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.link.as_deref()
    }

    pub fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.link.as_deref_mut()
    }

    /// The link of an association of the backend.
    pub fn of(&self, assoc: AssocId) -> Option<LinkId> {
        let id = (*self.by_assoc.get(assoc.slot())?)?;
        self.get(id).is_some_and(|link| link.assoc == Some(assoc)).then_some(id)
    }

    pub fn remove(&mut self, id: LinkId) -> Option<Box<Link>> {
        self.attach(id, None);
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let link = slot.link.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(link)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.slots.iter().filter_map(|slot| slot.link.as_deref())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.slots.iter_mut().filter_map(|slot| slot.link.as_deref_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_number_and_its_association_until_it_is_removed() {
        let mut links = Links::default();
        let sink = Sink::Receiver { held: false };
        let assoc = AssocId::new(3, 0);
        let first = links.insert(EndpointKey(1), Some(assoc), sink);
        assert_eq!(links.of(assoc), Some(first));
        assert_eq!(links.of(AssocId::new(3, 1)), None, "another association in the same slot");

        let later = AssocId::new(3, 1);
        let second = links.insert(EndpointKey(1), Some(later), sink);
        assert_eq!((links.of(assoc), links.of(later)), (None, Some(second)));
        links.attach(first, None);
        assert_eq!(links.of(later), Some(second), "the first let go of a slot that was no longer its own");

        assert!(links.remove(second).is_some() && links.remove(second).is_none());
        let third = links.insert(EndpointKey(1), None, sink);
        assert!(links.get(second).is_none() && links.get(third).is_some());
    }

    #[test]
    fn of_many_failed_attempts_that_nobody_read_the_last_is_kept() {
        let mut links = Links::default();
        let id = links.insert(EndpointKey(1), None, Sink::Receiver { held: true });
        let link = links.get_mut(id).unwrap();
        for failures in 0..5 {
            let retry_in = std::time::Duration::from_secs(1);
            link.push_parked(Event::Down { reason: CloseReason::TimedOut, failures, retry_in });
        }
        assert_eq!(link.parked.len(), 2, "that it went down, and the last attempt");
    }
}
