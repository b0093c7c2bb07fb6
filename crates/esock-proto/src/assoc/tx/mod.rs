//! Sending: what was taken from the user, what is on its way, what was lost.

#[cfg(feature = "fuzzing")]
mod invariants;
mod loss;
mod packetize;
mod sack;
mod send_queue;
mod sent;

use crate::api::{Negotiated, SendOptions, Undelivered};
use crate::bits::{BitRing, RareBits};
use crate::config::Config;
use crate::error::SendError;
use crate::faults::{Fault, Faults};
use crate::serial::{Ssn, Tsn};
use crate::streams::StreamTable;
use crate::time::Time;
use bytes::Bytes;
use loss::LossDetection;
pub use sack::SackOutcome;
use send_queue::SendQueue;
pub use sent::SentChunk;
use std::collections::VecDeque;

/// What a message costs beyond its bytes, so that many small ones are bounded too.
const MESSAGE_OVERHEAD: usize = 64;

/// A message of which at least one fragment has been sent.
#[derive(Debug)]
struct Outgoing {
    options: SendOptions,
    ssn: Ssn,
    payload: Bytes,
}

/// The sending half of an association.
#[derive(Debug)]
pub struct Tx {
    queue: SendQueue,
    /// Messages in the order of their first fragments; the first has serial `first_message`.
    messages: VecDeque<Outgoing>,
    first_message: u32,
    /// Bytes of the last message of `messages` that are not in chunks yet.
    unsent_of_last: usize,
    /// Chunks from `cumulative + 1` on.
    sent: VecDeque<SentChunk>,
    /// By offset into `sent`: gap-acked, marked for retransmission, counting miss indications.
    acked: RareBits,
    lost: RareBits,
    watched: BitRing,
    lost_chunks: usize,
    /// How many of `sent` are gap-acked.
    gap_acked: usize,
    /// Everything up to here was acknowledged (the RFC's Cumulative TSN Ack Point).
    cumulative: Tsn,
    ssns: StreamTable,
    outbound_streams: u16,
    /// The peer's window less what is in flight.
    rwnd: usize,
    /// User bytes in flight over all paths.
    flight: usize,
    /// Exit point of fast recovery (§7.2.4).
    fast_recovery: Option<Tsn>,
    /// §7.2.4 step 3: the first packet of a fast retransmit ignores cwnd.
    fast_retransmit_due: bool,
    /// User bytes taken and not acknowledged, and the same with overhead.
    buffered: usize,
    charged: usize,
    limit: usize,
    /// Somebody waits for room.
    blocked: bool,
    /// A message was taken that names its path: that of each is looked at from then on.
    routed: bool,
    /// Somebody wants to know when everything is acknowledged.
    pub drained_asked: bool,
    /// See `Config::max_segment`; no limit is a large one.
    max_segment: usize,
    /// When the cumulative TSN last moved, or data was first in flight.
    pub progress: Time,
    /// The peer's window as it was last told.
    a_rwnd: usize,
    /// What the peer said since data was last sent.
    heard: Heard,
    /// Transmissions in a row that were answered with what had been acknowledged before, and nothing else.
    contradicted: u8,
    /// The peer's closed window has been left alone for long enough (§6.1 A).
    pub probe_due: bool,
    /// The peer has answered a probe of the path MTU, which ends in a PAD chunk.
    pub peer_reads_pad: bool,
    /// There was more data at a time than one packet takes: a larger path MTU is of use.
    pub fills_packets: bool,
    pub counters: TxCounters,
    loss_detection: LossDetection,
    faults: Faults,
}

/// What the peer acknowledged since data was last sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Less than it had acknowledged before (§6.2.1 D i).
    Old,
    /// What it has, and its window.
    New,
}

/// See `stats::Counters`.
#[derive(Debug, Default, Clone, Copy)]
pub struct TxCounters {
    pub data_chunks: u64,
    pub unordered_chunks: u64,
    pub gap_blocks: u64,
    pub retransmissions: u64,
    pub fast_retransmissions: u64,
    pub bytes_acked: u64,
    pub messages: u64,
    pub reneged: u64,
    pub window_probes: u64,
}

fn max_segment(config: &Config) -> usize {
    // A chunk that is not a message's last is a multiple of four.
    if config.max_segment == 0 { usize::MAX } else { config.max_segment & !3 }
}

impl Tx {
    pub fn new(now: Time, initial_tsn: Tsn, negotiated: &Negotiated, config: &Config) -> Self {
        Self {
            queue: SendQueue::default(),
            messages: VecDeque::new(),
            first_message: 0,
            unsent_of_last: 0,
            sent: VecDeque::new(),
            acked: RareBits::default(),
            lost: RareBits::default(),
            watched: BitRing::default(),
            lost_chunks: 0,
            gap_acked: 0,
            cumulative: initial_tsn.minus(1),
            ssns: StreamTable::default(),
            outbound_streams: negotiated.outbound_streams,
            rwnd: negotiated.peer_rwnd as usize,
            flight: 0,
            fast_recovery: None,
            fast_retransmit_due: false,
            buffered: 0,
            charged: 0,
            limit: config.send_buffer,
            blocked: false,
            routed: false,
            drained_asked: false,
            max_segment: max_segment(config),
            progress: now,
            a_rwnd: negotiated.peer_rwnd as usize,
            heard: Heard::Nothing,
            contradicted: 0,
            probe_due: false,
            peer_reads_pad: false,
            fills_packets: false,
            counters: TxCounters::default(),
            loss_detection: LossDetection::new(config.loss_recovery),
            faults: config.faults(),
        }
    }

    /// The handshake is over: what the peer said.
    pub fn negotiate(&mut self, negotiated: &Negotiated) {
        self.outbound_streams = negotiated.outbound_streams;
        self.rwnd = negotiated.peer_rwnd as usize;
        self.a_rwnd = self.rwnd;
    }

    /// Whether a message could be taken now.
    pub fn check(&mut self, options: &SendOptions, len: usize) -> Result<(), SendError> {
        if len == 0 {
            return Err(SendError::Empty);
        }
        if options.stream.0 >= self.outbound_streams {
            return Err(SendError::BadStream { stream: options.stream, count: self.outbound_streams });
        }
        if len > self.limit {
            return Err(SendError::TooLarge { len, limit: self.limit });
        }
        // An empty buffer takes whatever is allowed at all.
        if self.charged > 0 && self.charged + len + MESSAGE_OVERHEAD > self.limit {
            self.blocked = true;
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Takes a message that [`Tx::check`] let pass.
    pub fn push(&mut self, now: Time, options: SendOptions, payload: Bytes) {
        self.buffered += payload.len();
        self.charged += payload.len() + MESSAGE_OVERHEAD;
        self.counters.messages += 1;
        self.routed |= options.path.is_some();
        self.queue.push(now, options, payload);
    }

    /// Takes what of a configuration can change.
    pub fn configure(&mut self, config: &Config) {
        self.limit = config.send_buffer;
        self.max_segment = max_segment(config);
    }

    /// Whether the message that is next is not worth sending any more. One that has begun to leave is.
    pub fn next_is_expired(&self, now: Time) -> bool {
        self.unsent_of_last == 0 && self.queue.next_is_expired(now)
    }

    /// When the message that is next is not worth sending any more; none if it always is, or has begun to leave.
    pub fn next_expiry(&self) -> Option<Time> {
        self.queue.next_expiry().filter(|_| self.unsent_of_last == 0)
    }

    /// Takes such a message back.
    pub fn take_expired(&mut self, now: Time) -> Option<Undelivered> {
        let (options, payload) = if self.next_is_expired(now) { self.queue.pop()? } else { return None };
        self.buffered -= payload.len();
        self.charged -= payload.len() + MESSAGE_OVERHEAD;
        Some(Undelivered { maybe_received: false, options, payload })
    }

    /// Whether everything is acknowledged and somebody waits for that; told once.
    pub fn take_drained(&mut self) -> bool {
        self.is_drained() && std::mem::take(&mut self.drained_asked)
    }

    /// Chunks of which the peer has reported nothing.
    pub fn unacked_chunks(&self) -> usize {
        self.sent.len() - self.gap_acked
    }

    /// Whether somebody who was told `Full` should try again; told once.
    pub fn take_writable(&mut self) -> bool {
        // A quarter free: a wake-up is worth a batch.
        let writable = self.blocked && self.charged <= self.limit - self.limit / 4;
        if writable {
            self.blocked = false;
        }
        writable
    }

    /// Whether the peer has no room for the oldest chunk that it lacks: what is in flight probes its window.
    pub(super) fn window_is_closed(&self) -> bool {
        self.sent.front().is_some_and(|oldest| self.a_rwnd < usize::from(oldest.len))
    }

    /// Whether new data waits for a window that is shut, with nothing on its way that would tell when it opens.
    pub fn waits_for_window(&self) -> bool {
        self.rwnd == 0 && self.flight == 0 && self.lost_chunks == 0 && self.next_len() > 0
    }

    /// Whether the peer is there and merely takes nothing: its window is closed, and it said so since data
    /// was last sent (RFC 9260 §6.1 A: no reason to count errors).
    pub fn is_held_off(&self) -> bool {
        self.heard == Heard::New && self.window_is_closed()
    }

    /// Whether a peer that acknowledges nothing may merely have no room for it. Not if it says again and again that it
    /// lacks what it had acknowledged: it will never acknowledge what comes behind. Once may be a SACK that was late.
    pub fn may_be_held_off(&self) -> bool {
        self.contradicted < 2 && self.window_is_closed()
    }

    /// Whether it is the peer's window that keeps data from leaving, or from being taken.
    pub fn is_held_by_window(&self, max_payload: usize) -> bool {
        self.window_is_closed() || self.rwnd < self.next_len().min(max_payload)
    }

    /// Whether everything taken was acknowledged.
    pub fn is_drained(&self) -> bool {
        self.buffered == 0
    }

    /// Whether anything was sent that is not acknowledged.
    pub fn has_outstanding(&self) -> bool {
        !self.sent.is_empty()
    }

    pub fn flight(&self) -> usize {
        self.flight
    }

    pub fn rwnd(&self) -> usize {
        self.rwnd
    }

    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// User bytes that are not in chunks yet.
    pub fn queued(&self) -> usize {
        self.unsent_of_last + self.queue.bytes()
    }

    pub fn cumulative(&self) -> Tsn {
        self.cumulative
    }

    /// The TSN of the next new chunk.
    pub fn next_tsn(&self) -> Tsn {
        self.cumulative.plus(self.sent.len() as u32 + 1)
    }

    /// Takes everything back that was not acknowledged, oldest first.
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        let lies = self.faults.has(Fault::MaybeReceivedLies);
        if self.faults.has(Fault::UndeliveredSwallowed) {
            self.messages.pop_back();
        }
        let whole = std::mem::take(&mut self.messages).into_iter();
        let started = whole.map(|message| Undelivered {
            maybe_received: !lies,
            options: message.options,
            payload: message.payload,
        });
        let waiting =
            self.queue.drain().map(|(options, payload)| Undelivered { maybe_received: false, options, payload });
        let all = started.chain(waiting).collect();
        self.sent = VecDeque::new();
        self.acked.reset();
        self.lost.reset();
        self.watched.reset();
        (self.lost_chunks, self.gap_acked, self.unsent_of_last, self.flight) = (0, 0, 0, 0);
        (self.buffered, self.charged) = (0, 0);
        all
    }

    /// Gives back the room of what has been acknowledged, if nothing is outstanding.
    pub fn compact(&mut self) {
        if self.is_drained() {
            self.queue.compact();
            (self.messages, self.sent) = (VecDeque::new(), VecDeque::new());
            self.acked.reset();
            self.lost.reset();
            self.watched.reset();
        }
    }

    /// The peer allows fewer streams than were asked for: messages that were taken for the others go back.
    pub fn take_impossible(&mut self) -> Vec<Undelivered> {
        let gone = self.queue.take_beyond(self.outbound_streams);
        self.buffered -= gone.iter().map(|(_, payload)| payload.len()).sum::<usize>();
        self.charged -= gone.iter().map(|(_, payload)| payload.len() + MESSAGE_OVERHEAD).sum::<usize>();
        gone.into_iter().map(|(options, payload)| Undelivered { maybe_received: false, options, payload }).collect()
    }

    /// Recounts what is kept incrementally.
    pub fn check_invariants(&self) {
        if cfg!(debug_assertions) && self.sent.len() < 64 {
            let in_flight = |at: &usize| !self.acked.get(*at) && !self.lost.get(*at);
            let flight: usize = (0..self.sent.len()).filter(in_flight).map(|at| usize::from(self.sent[at].len)).sum();
            debug_assert_eq!(flight, self.flight, "flight size");
            let lost = (0..self.sent.len()).filter(|at| self.lost.get(*at)).count();
            debug_assert_eq!(lost, self.lost_chunks, "chunks marked for retransmission");
            let acked = (0..self.sent.len()).filter(|at| self.acked.get(*at)).count();
            debug_assert_eq!(acked, self.gap_acked, "gap-acked chunks");
        }
    }
}
