//! Receiving: which TSNs have arrived, what is being put together, what is ready, and the window.

pub mod ack;
mod block;
#[cfg(feature = "fuzzing")]
mod invariants;
mod partial;
mod reassembly;
mod streams;
mod tsn_map;

use crate::api::Message;
use crate::config::Config;
use crate::faults::{Fault, Faults};
use crate::serial::Tsn;
use crate::types::{PathId, StreamId};
use crate::wire::Data;
pub use block::Block;
use bytes::Bytes;
use partial::Partial;
use reassembly::Reassembly;
use std::collections::VecDeque;
use streams::InboundStreams;
pub use tsn_map::TsnMap;

/// What a held chunk or message costs beyond its bytes: its place in a map, its run or message, and what
/// the allocator adds (house rule 9).
const OVERHEAD: usize = 192;

/// What became of a DATA chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// New, and taken.
    New,
    /// Came before.
    Duplicate,
    /// No room: the peer sends it again when the window opens.
    Dropped,
    /// The peer breaks the protocol.
    Violation(&'static str),
    /// A message larger than is received whole.
    TooLarge,
}

/// The receiving half of an association.
#[derive(Debug)]
pub struct Rx {
    pub map: TsnMap,
    fragments: Reassembly,
    streams: InboundStreams,
    ready: VecDeque<Message>,
    /// Bytes held, with overhead: in fragments and out of order, and ready to be read.
    held: usize,
    ready_bytes: usize,
    window: usize,
    /// The largest message that is received whole.
    max_message: usize,
    partial: Partial,
    /// The window as the peer was last told.
    announced: usize,
    /// A chunk was dropped since: the peer waits for the window to open.
    starved: bool,
    pub counters: RxCounters,
    faults: Faults,
}

/// See `stats::Counters`.
#[derive(Debug, Default, Clone, Copy)]
pub struct RxCounters {
    pub data_chunks: u64,
    pub bytes: u64,
    pub duplicates: u64,
    pub unordered_chunks: u64,
    pub out_of_sequence: u64,
    pub window_drops: u64,
    pub messages: u64,
}

impl Rx {
    pub fn new(peer_initial_tsn: Tsn, config: &Config) -> Self {
        Self {
            map: TsnMap::new(peer_initial_tsn.minus(1)),
            fragments: Reassembly::default(),
            streams: InboundStreams::default(),
            ready: VecDeque::new(),
            held: 0,
            ready_bytes: 0,
            window: config.receive_window as usize,
            max_message: config.largest_inbound_message(),
            partial: Partial::new(config.partial_delivery),
            announced: config.receive_window as usize,
            starved: false,
            counters: RxCounters::default(),
            faults: config.faults(),
        }
    }

    /// The peer restarted: what was complete stays readable, the rest is gone.
    pub fn restart(&mut self, peer_initial_tsn: Tsn, keep_streams: bool) {
        self.cut();
        self.map = TsnMap::new(peer_initial_tsn.minus(1));
        self.fragments = Reassembly::default();
        if !keep_streams {
            self.streams = InboundStreams::default();
        }
        self.held = 0;
    }

    /// It has ended: what is ready stays readable, and nothing else will ever be.
    pub fn close(&mut self) {
        self.cut();
        self.fragments = Reassembly::default();
        self.streams = InboundStreams::default();
        self.held = 0;
    }

    /// Takes a DATA chunk. Its stream has been checked. `block` is that of its packet, which has `rest` bytes from the
    /// chunk's user data on.
    pub fn on_data(&mut self, data: &Data<'_>, path: PathId, block: &mut Block, rest: usize) -> Received {
        self.counters.data_chunks += 1;
        let Some(offset) = self.map.offset_of(data.tsn) else {
            return self.on_duplicate(data, path);
        };
        let cost = data.payload.len() + OVERHEAD;
        if !self.make_room(offset, cost) {
            self.counters.window_drops += 1;
            self.starved = true;
            if self.faults.has(Fault::DroppedAcknowledged) {
                self.map.insert(offset);
            }
            return self.on_dropped(offset, path);
        }
        if data.flags.is_begin() && data.flags.is_end() {
            return self.on_whole(data, offset, cost, path, block, rest);
        }
        self.on_fragment(data, offset, path)
    }

    /// A part of a message, for which there is room.
    fn on_fragment(&mut self, data: &Data<'_>, offset: usize, path: PathId) -> Received {
        let max = if matches!(self.partial, Partial::Off) { self.max_message } else { usize::MAX };
        let at = self.map.extended(offset);
        match self.change_fragments(|fragments| fragments.insert(data, at, offset == 0, path, max)) {
            Ok(complete) => {
                self.counters.unordered_chunks += u64::from(data.flags.is_unordered());
                if let Err(violation) = self.arrived(data, offset) {
                    return violation;
                }
                match complete {
                    Some(complete) => self.deliver(complete, path),
                    None if self.held >= self.max_message && self.partial.is_possible() => self.consider_pieces(path),
                    None => Received::New,
                }
            }
            Err(reassembly::Refused::Violation(what)) => Received::Violation(what),
            Err(reassembly::Refused::TooLarge) => Received::TooLarge,
        }
    }

    #[cold]
    fn on_duplicate(&mut self, data: &Data<'_>, path: PathId) -> Received {
        if self.map.is_too_far(data.tsn) {
            self.counters.out_of_sequence += 1;
            return Received::Duplicate;
        }
        self.counters.duplicates += 1;
        self.map.note_duplicate(data.tsn);
        if self.faults.has(Fault::DuplicateDelivered) && data.flags.is_unordered() {
            self.ready.push_back(reassembly::message(data, path, Bytes::copy_from_slice(data.payload)));
        }
        Received::Duplicate
    }

    /// A message in one chunk, for which there is room.
    fn on_whole(
        &mut self,
        data: &Data<'_>,
        offset: usize,
        cost: usize,
        path: PathId,
        block: &mut Block,
        rest: usize,
    ) -> Received {
        if let Err(violation) = self.arrived(data, offset) {
            return violation;
        }
        let ordered = !data.flags.is_unordered();
        if ordered && !self.streams.is_next(data.stream, data.ssn, self.faults) {
            // What has to wait may wait for long: it keeps no block alive in which others were.
            let message = reassembly::message(data, path, Bytes::copy_from_slice(data.payload));
            return self.deliver(reassembly::Complete { message, fragments: 1, partial: false }, path);
        }
        self.ready_bytes += cost;
        self.ready.push_back(reassembly::message(data, path, block.copy(data.payload, cost, rest)));
        if ordered {
            self.deliver_next(data.stream);
        } else {
            self.counters.unordered_chunks += 1;
        }
        Received::New
    }

    /// A chunk that was taken has arrived.
    fn arrived(&mut self, data: &Data<'_>, offset: usize) -> Result<(), Received> {
        self.map.insert(offset);
        self.counters.bytes += data.payload.len() as u64;
        self.check_fragments()
    }

    /// A DATA chunk of which only the TSN is taken: its stream does not exist.
    pub fn on_unusable(&mut self, tsn: Tsn) -> Received {
        let Some(offset) = self.map.offset_of(tsn) else {
            self.map.note_duplicate(tsn);
            return Received::Duplicate;
        };
        self.map.insert(offset);
        self.check_fragments().err().unwrap_or(Received::New)
    }

    /// Nothing that is acknowledged waits for what can no longer come.
    fn check_fragments(&self) -> Result<(), Received> {
        let consistent = self.fragments.is_empty() || self.fragments.is_consistent(self.map.extended_cumulative());
        if consistent {
            Ok(())
        } else {
            Err(Received::Violation("a fragment whose message never begins or never ends"))
        }
    }

    /// A message is complete: it is ready, or waits for those before it.
    fn deliver(&mut self, complete: reassembly::Complete, path: PathId) -> Received {
        if complete.partial {
            return self.finish_pieces(complete, path);
        }
        let (stream, ordered, cost) = (complete.message.stream, !complete.message.unordered, complete.cost());
        let next = if ordered { self.streams.pass(complete, self.faults) } else { Ok(Some(complete)) };
        match next {
            Ok(Some(complete)) => self.put_ready(complete),
            Ok(None) => {
                self.held += cost;
                return Received::New;
            }
            Err(()) => return Received::Violation("a stream sequence number was used twice"),
        }
        if ordered {
            self.deliver_next(stream);
        }
        Received::New
    }

    /// A message of this stream has become ready: so do those that waited for it.
    fn deliver_next(&mut self, stream: StreamId) {
        while let Some(complete) = self.streams.next(stream) {
            self.held -= complete.cost();
            self.put_ready(complete);
        }
    }

    fn put_ready(&mut self, complete: reassembly::Complete) {
        self.ready_bytes += complete.cost();
        self.ready.push_back(complete.message);
    }

    /// Whether a chunk of this cost may be held. The chunk that the cumulative TSN waits for may exceed
    /// the window, since it sets free what waits behind it; at the hard bound, what came out of order is
    /// given up for it (RFC 9260 §6.2: reneging).
    fn make_room(&mut self, offset: usize, cost: usize) -> bool {
        // §6.2: a window that was announced as shut takes nothing new, though a rest of it would hold a small chunk.
        // (Fragments of a message that is still arriving are no such case: nothing but the rest sets them free, unless
        // they are handed over in pieces.)
        if self.announced == 0 && self.is_shut() && !self.faults.has(Fault::WindowNotEnforced) {
            return false;
        }
        // What was announced is honoured: a chunk that fits but for its overhead is taken, or its sender would see an
        // open window and send it again and again. It closes the window.
        // Whatever the window, one chunk can be held: a peer may probe with more than a small window.
        let fits = self.charged() + cost - OVERHEAD <= self.window;
        if fits || self.charged() == 0 || self.faults.has(Fault::WindowNotEnforced) {
            return true;
        }
        if offset > 0 {
            return false;
        }
        if self.waits_for_piece() {
            // Nothing else sets free what waits behind it, and there is no more of it than this chunk.
            return true;
        }
        if self.held == 0 {
            return false;
        }
        let hard_bound = self.window + self.window / 8;
        if self.charged() + cost <= hard_bound {
            return true;
        }
        self.renege();
        self.charged() + cost <= hard_bound
    }

    /// Whether the window is shut until the user reads.
    #[cold]
    fn is_shut(&self) -> bool {
        (self.held == 0 || self.partial.is_active()) && self.a_rwnd() == 0 && !self.map.has_gaps()
    }

    /// Gives up what was received out of order and is not delivered.
    fn renege(&mut self) {
        let before = self.fragments.cost();
        let map = &mut self.map;
        let mut give_up = |tsn: Tsn| map.remove(tsn);
        self.fragments.give_up(&mut give_up);
        let freed = self.streams.give_up(&mut give_up);
        self.held -= before - self.fragments.cost() + freed;
    }

    /// Gives back the room of what has been read, if nothing is held.
    pub fn compact(&mut self) {
        if self.charged() == 0 {
            self.ready = VecDeque::new();
        }
    }

    /// What [`Rx::pop`] would take, and how long it is: a piece is put together when it is taken.
    pub fn peek(&self) -> Option<(&Message, usize)> {
        let message = self.ready.front()?;
        if self.partial.is_next() {
            return Some((message, self.fragments.piece_len())).filter(|(_, len)| *len > 0);
        }
        Some((message, message.payload.len()))
    }

    /// The next message, or piece of one.
    #[inline]
    pub fn pop(&mut self) -> Option<Message> {
        if self.partial.is_active() {
            return self.pop_amid_pieces();
        }
        self.pop_ready()
    }

    #[inline]
    fn pop_ready(&mut self) -> Option<Message> {
        let message = self.ready.pop_front()?;
        self.ready_bytes -= message.payload.len() + OVERHEAD;
        self.counters.messages += 1;
        self.rewind();
        Some(message)
    }

    /// The next messages, at most `max`; says how many there were.
    pub fn pop_many(&mut self, max: usize, take: &mut dyn FnMut(Message)) -> usize {
        if self.partial.is_active() {
            return self.pop_many_amid_pieces(max, take);
        }
        let count = max.min(self.ready.len());
        for message in self.ready.drain(..count) {
            self.ready_bytes -= message.payload.len() + OVERHEAD;
            take(message);
        }
        self.counters.messages += count as u64;
        self.rewind();
        count
    }

    /// Empty, the queue begins at its beginning again, which is in the cache, instead of going round.
    fn rewind(&mut self) {
        if self.ready.is_empty() {
            self.ready.clear();
        }
    }

    /// Whether [`Rx::pop`] would take something.
    #[inline]
    pub fn is_readable(&self) -> bool {
        !self.ready.is_empty() && !self.waits_for_piece()
    }

    pub fn ready_messages(&self) -> usize {
        match self.partial {
            Partial::Active { ahead } => ahead as usize + usize::from(self.fragments.piece_len() > 0),
            Partial::Off | Partial::Possible => self.ready.len(),
        }
    }

    /// Takes what of a configuration can change.
    pub fn configure(&mut self, config: &Config) {
        self.max_message = config.largest_inbound_message();
    }

    /// Whether anything waits for the rest of its message, or for those before it in its stream.
    pub fn holds_undelivered(&self) -> bool {
        self.held > 0
    }

    /// Bytes held, with overhead.
    pub fn charged(&self) -> usize {
        self.held + self.ready_bytes
    }

    /// Whatever is changed in the fragments: what they take is part of what is held.
    fn change_fragments<R>(&mut self, change: impl FnOnce(&mut Reassembly) -> R) -> R {
        let before = self.fragments.cost();
        let result = change(&mut self.fragments);
        self.held = self.held + self.fragments.cost() - before;
        result
    }

    /// The window to announce (RFC 9260 §6.2).
    pub fn a_rwnd(&self) -> usize {
        let free = self.window.saturating_sub(self.charged());
        // §6.2 and RFC 1122 4.2.3.3: a sliver of a window is none.
        if free < (self.window / 16).min(1024) { 0 } else { free }
    }

    /// Whether the peer should be told that the window has opened: by a good part, and it knew of little.
    pub fn window_update_due(&self) -> bool {
        let now = self.a_rwnd();
        let knows = if self.starved { 0 } else { self.announced };
        knows < self.window / 2 && now >= knows + self.window / 4
    }

    /// Notes what a SACK announces.
    pub fn on_announced(&mut self, a_rwnd: usize) {
        // What was dropped keeps the peer waiting until a window that takes it is announced.
        self.starved &= a_rwnd < self.window / 2;
        self.announced = a_rwnd;
    }

    pub fn announced(&self) -> usize {
        self.announced
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
