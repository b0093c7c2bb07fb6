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

/// What an event that gives a message back costs beside the message, about.
const EVENT_BYTES: usize = 256;

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
    /// Of the messages among them.
    parked_bytes: usize,
    /// The events among them.
    parked_events: usize,
    /// Of messages of the user that came back and that he has not read: here and in `events`.
    returned_bytes: usize,
    /// Messages were refused since more than this had come back.
    refused_above: Option<usize>,
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
            parked_events: 0,
            returned_bytes: 0,
            refused_above: None,
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

    /// Bytes of messages that wait here, outside any window: those of the peer, and those that came back.
    pub fn parked_bytes(&self) -> usize {
        self.parked_bytes + self.returned_bytes
    }

    /// Whether messages came back that were not read.
    pub fn has_returned(&self) -> bool {
        self.returned_bytes > 0
    }

    /// Whether messages are taken, as far as those go that came back and were not read: more than `limit` bytes of them
    /// are not kept. Who is refused waits until they are read, see [`Link::make_room`].
    pub fn takes_more(&mut self, limit: usize) -> bool {
        if self.returned_bytes <= limit {
            return true;
        }
        if !self.has_reader() {
            self.forget_returned();
            return true;
        }
        self.refused_above = Some(limit);
        false
    }

    /// Wakes who was refused if so much of what came back was read, or nobody reads any more.
    pub fn make_room(&mut self, wakes: &mut Vec<Waker>) {
        let reads = self.has_reader();
        if self.refused_above.take_if(|limit| self.returned_bytes <= *limit || !reads).is_some() {
            self.writers.wake_first(wakes);
        }
    }

    /// Whether somebody reads, or will.
    fn has_reader(&self) -> bool {
        self.sink != Sink::Receiver { held: false }
    }

    /// Nobody reads: what came back is let go.
    pub fn forget_returned(&mut self) {
        if self.has_reader() || self.returned_bytes == 0 {
            return;
        }
        self.events.retain(|(_, event)| returned_bytes(event) == 0);
        self.parked.retain(|next| !matches!(next, Received::Event(event) if returned_bytes(event) > 0));
        self.parked_events = self.parked.iter().filter(|next| matches!(next, Received::Event(_))).count();
        self.returned_bytes = 0;
    }

    /// Whether the owner with this number receives what happens on it.
    pub fn is_of(&self, number: u64) -> bool {
        matches!(self.sink, Sink::Owner { owner, .. } if owner == number)
    }

    /// Keeps an event until somebody reads it. `ready` messages have arrived before it.
    pub fn push(&mut self, event: Event, ready: usize) {
        let news = matches!(event, Event::Path { .. } | Event::PathInUse { .. } | Event::PeerError { .. });
        if news && self.events.len() + self.parked_events >= MAX_EVENTS {
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
        self.returned_bytes += returned_bytes(&event);
        self.events.push_back((before, event));
    }

    /// Keeps an event that comes behind everything that waits, when the backend's association has gone.
    pub fn push_parked(&mut self, event: Event) {
        if let Event::Down { failures, .. } = &event {
            self.collapse(*failures > 0);
        }
        self.returned_bytes += returned_bytes(&event);
        self.park_one(Received::Event(event));
    }

    /// It is down, again: lets go what who does not read has no more use for. `failed`: after a failed attempt.
    fn collapse(&mut self, failed: bool) {
        let is_down = |next: &Received| matches!(next, Received::Event(Event::Down { .. }));
        let is_repeated = |next: &Received| matches!(next, Received::Event(Event::Down { failures: 1.., .. }));
        if failed && self.parked.back().is_some_and(is_repeated) {
            // Of many failed attempts he needs only the last.
            self.unpark_last(1);
        } else if self.parked_events >= MAX_EVENTS {
            // He has a lot to read: that it was up for a while without any message is told by its generation.
            let is_state = |next: &&Received| {
                matches!(
                    next,
                    Received::Event(
                        Event::Up(_)
                            | Event::Restarted(_)
                            | Event::ShutdownReceived
                            | Event::Path { .. }
                            | Event::PathInUse { .. }
                    )
                )
            };
            let since = self.parked.iter().rev().take_while(is_state).count();
            if self.parked.iter().rev().nth(since).is_some_and(is_down) {
                self.unpark_last(since + 1);
            }
        }
    }

    /// Lets go of the last `count` of what is parked, all events that give nothing back.
    fn unpark_last(&mut self, count: usize) {
        self.parked.truncate(self.parked.len() - count);
        self.parked_events -= count;
    }

    fn park_one(&mut self, next: Received) {
        match &next {
            Received::Message(message) => self.parked_bytes += message.payload.len(),
            Received::Event(_) => self.parked_events += 1,
        }
        self.parked.push_back(next);
    }

    /// Somebody else reads from now on: he begins with `Up`, unless one waits for him anyway.
    pub fn begin_again(&mut self, negotiated: Negotiated) {
        let is_up = |event: &Event| matches!(event, Event::Up(_));
        let waits = self.events.iter().any(|(_, event)| is_up(event))
            || self.parked.iter().any(|next| matches!(next, Received::Event(event) if is_up(event)));
        if !waits {
            self.parked_events += 1;
            self.parked.push_front(Received::Event(Event::Up(negotiated)));
        }
    }

    /// Takes all that waits out of the backend's association, which is about to go.
    pub fn park(&mut self, transport: &mut dyn Transport) {
        while let Some(next) = self.next_live(transport) {
            self.park_one(next);
        }
    }

    /// The next event or message.
    pub fn next(&mut self, transport: &mut dyn Transport) -> Option<Received> {
        let next = match self.parked.pop_front() {
            Some(next) => {
                match &next {
                    Received::Message(message) => self.parked_bytes -= message.payload.len(),
                    Received::Event(_) => self.parked_events -= 1,
                }
                Some(next)
            }
            None => self.next_live(transport),
        };
        if let Some(Received::Event(event)) = &next {
            self.returned_bytes -= returned_bytes(event);
        }
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

/// What an event that gives a message back is charged with.
fn returned_bytes(event: &Event) -> usize {
    match event {
        Event::Undelivered(message) | Event::Expired(message) => message.payload.len() + EVENT_BYTES,
        _ => 0,
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

    fn link(links: &mut Links, held: bool) -> &mut Link {
        let id = links.insert(EndpointKey(1), None, Sink::Receiver { held });
        links.get_mut(id).unwrap()
    }

    fn down(failures: u32) -> Event {
        Event::Down { reason: CloseReason::TimedOut, failures, retry_in: std::time::Duration::from_secs(1) }
    }

    #[test]
    fn an_association_that_comes_and_goes_and_that_nobody_reads_takes_no_more_and_more_memory() {
        let mut links = Links::default();
        let link = link(&mut links, true);
        for _ in 0..10_000 {
            for event in [Event::Up(Negotiated::default()), Event::ShutdownReceived] {
                link.push(event.clone(), 0);
                let (_, event) = link.events.pop_back().unwrap();
                link.park_one(Received::Event(event));
            }
            for failures in 0..3 {
                link.push_parked(down(failures));
            }
        }
        assert!(link.parked.len() < 2 * MAX_EVENTS, "{}", link.parked.len());
        assert_eq!(link.parked.len(), link.parked_events);
        assert_eq!(link.parked.back(), Some(&Received::Event(down(2))));
    }

    #[test]
    fn what_came_back_and_is_not_read_counts_until_nobody_can_read_it() {
        use crate::{SendOptions, Undelivered};
        let mut links = Links::default();
        let link = link(&mut links, true);
        let back = || Undelivered::new(false, SendOptions::default(), vec![0; 1000].into());
        link.push(Event::Expired(back()), 0);
        link.push_parked(Event::Undelivered(back()));
        assert_eq!(link.parked_bytes(), 2 * (1000 + EVENT_BYTES));
        assert!(link.takes_more(3000) && !link.takes_more(2000));
        link.make_room(&mut Vec::new());
        assert!(link.refused_above.is_some());
        link.sink = Sink::Receiver { held: false };
        link.make_room(&mut Vec::new());
        assert!(link.refused_above.is_none() && link.takes_more(2000));
        assert_eq!((link.parked_bytes(), link.parked_events, link.events.len()), (0, 0, 0));
    }
}
