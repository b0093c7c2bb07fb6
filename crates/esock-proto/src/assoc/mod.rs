//! An association: its state, and which part handles which chunk.

mod close;
mod control;
mod events;
mod handshake;
mod inbound;
#[cfg(feature = "fuzzing")]
mod invariants;
mod outbound;
pub mod path;
mod restart;
pub mod rx;
mod shutdown;
mod stall;
mod timers;
pub mod tx;

use crate::api::{AssocEvent, Event, Message, Negotiated, SendOptions, State};
use crate::config::Config;
use crate::error::{NotFound, Rejected, SendError};
use crate::serial::Tsn;
use crate::stats::{AssociationStats, Counters, PathParameters};
use crate::time::{Time, earliest};
use crate::types::{Address, AssocId, EndpointId, PathId, VerificationTag};
use bytes::Bytes;
use control::{Queued, Reading};
pub use handshake::{Setup, check_init};
use path::{Path, Paths};
use rand::rngs::StdRng;
pub use restart::CookieAction;
use rx::Rx;
use rx::ack::Ack;
use std::collections::VecDeque;
use std::sync::Arc;
use timers::Timers;
use tx::Tx;

/// What the stack lends an association for one call.
pub struct Cx<'a> {
    pub now: Time,
    pub rng: &'a mut StdRng,
    pub events: &'a mut VecDeque<AssocEvent>,
}

/// Where an association stands (RFC 9260 §4), with what only that state needs.
#[derive(Debug)]
pub enum Phase {
    CookieWait(Box<Setup>),
    CookieEchoed(Box<Setup>),
    Established,
    ShutdownPending,
    ShutdownSent,
    ShutdownReceived,
    ShutdownAckSent,
    Closed,
}

/// The identity of an association on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub local_port: u16,
    pub peer_port: u16,
    pub local_tag: VerificationTag,
    pub peer_tag: VerificationTag,
    /// Our first TSN.
    pub local_tsn: Tsn,
    /// The peer's first TSN.
    pub peer_tsn: Tsn,
}

/// See the module.
#[derive(Debug)]
pub struct Association {
    pub id: AssocId,
    pub endpoint: EndpointId,
    pub identity: Identity,
    /// The Tie-Tags (RFC 9260 §5.2.2); zero until an INIT asks for them.
    ties: (VerificationTag, VerificationTag),
    /// Shared with the endpoint, until one of them changes its own.
    config: Arc<Config>,
    phase: Phase,
    negotiated: Negotiated,
    pub paths: Paths,
    tx: Tx,
    rx: Rx,
    ack: Ack,
    /// Control chunks to be sent, in order.
    control: VecDeque<Queued>,
    /// What the packet that is being read has brought about.
    reading: Reading,
    timers: Timers,
    /// Errors in a row, over all paths (RFC 9260 §8.1).
    error_count: u32,
    /// `Readable` was told and not all has been read since.
    readable_told: bool,
    /// `PathInUse` was told for this path.
    path_told: PathId,
    /// It stood still for ever when it was last at rest: see `stall`.
    stalled: bool,
    /// When data last came that was new.
    data_came: Time,
    counters: OwnCounters,
}

/// What is counted here, and not in the halves: see `stats::Counters`.
#[derive(Debug, Default, Clone, Copy)]
struct OwnCounters {
    packets_sent: u64,
    packets_received: u64,
    packets_discarded: u64,
    t3_timeouts: u64,
    control_chunks_sent: u64,
    control_chunks_received: u64,
    sacks_received: u64,
    heartbeats_sent: u64,
    heartbeat_acks: u64,
    restarts: u64,
    stalls: u64,
}

impl Association {
    pub fn state(&self) -> State {
        match self.phase {
            Phase::CookieWait(_) => State::CookieWait,
            Phase::CookieEchoed(_) => State::CookieEchoed,
            Phase::Established => State::Established,
            Phase::ShutdownPending => State::ShutdownPending,
            Phase::ShutdownSent => State::ShutdownSent,
            Phase::ShutdownReceived => State::ShutdownReceived,
            Phase::ShutdownAckSent => State::ShutdownAckSent,
            Phase::Closed => State::Closed,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes a message to be sent. Says whether that has to be followed by [`Association::poll_transmit`].
    pub fn send(&mut self, cx: &mut Cx<'_>, options: SendOptions, payload: Bytes) -> Result<bool, Rejected> {
        if let Err(error) = self.check(&options, payload.len()) {
            return Err(Rejected { error, payload });
        }
        self.tx.push(cx.now, options, payload);
        Ok(self.has_taken(cx))
    }

    /// Takes messages to be sent, oldest first, until one cannot be taken: it stays at the front. Says whether that has
    /// to be followed by [`Association::poll_transmit`], and why the one at the front was not taken.
    pub fn send_many(
        &mut self,
        cx: &mut Cx<'_>,
        messages: &mut VecDeque<(SendOptions, Bytes)>,
    ) -> (bool, Result<(), SendError>) {
        let before = messages.len();
        let mut result = Ok(());
        while let Some((options, payload)) = messages.front() {
            result = self.check(options, payload.len());
            if result.is_err() {
                break;
            }
            if let Some((options, payload)) = messages.pop_front() {
                self.tx.push(cx.now, options, payload);
            }
        }
        (messages.len() < before && self.has_taken(cx), result)
    }

    /// Whether a message could be taken now.
    pub fn check(&mut self, options: &SendOptions, len: usize) -> Result<(), SendError> {
        match self.phase {
            Phase::Closed => Err(SendError::Closed),
            Phase::ShutdownPending | Phase::ShutdownSent | Phase::ShutdownReceived | Phase::ShutdownAckSent => {
                Err(SendError::ShuttingDown)
            }
            // Before the handshake is over the number of streams is not known: what we asked for counts.
            Phase::CookieWait(_) | Phase::CookieEchoed(_) | Phase::Established => self.tx.check(options, len),
        }
    }

    /// Messages were taken: says whether they can leave.
    fn has_taken(&mut self, cx: &mut Cx<'_>) -> bool {
        self.allow_burst();
        self.watch_window(cx.now);
        self.begins_turn()
    }

    /// The next message; and whether the peer is to be told that the window has opened.
    pub fn recv(&mut self) -> (Option<Message>, bool) {
        let Some(message) = self.rx.pop() else {
            self.readable_told = false;
            return (None, false);
        };
        // The last one was read: the next is news again, whether or not somebody asks once more.
        self.readable_told = self.rx.is_readable();
        (Some(message), self.tell_of_window())
    }

    /// The next messages, at most `max`: how many there were; and whether the peer is to be told that the window has opened.
    pub fn recv_many(&mut self, max: usize, take: &mut dyn FnMut(Message)) -> (usize, bool) {
        let count = self.rx.pop_many(max, take);
        self.readable_told = self.rx.is_readable();
        (count, self.tell_of_window())
    }

    /// Whether the peer is to be told that reading has opened the window.
    fn tell_of_window(&mut self) -> bool {
        let opened = !self.is_closed() && self.rx.window_update_due();
        if opened {
            self.ack.force();
        }
        opened
    }

    pub fn peek(&self) -> Option<(&Message, usize)> {
        self.rx.peek()
    }

    pub fn in_flight(&self) -> usize {
        self.tx.flight()
    }

    pub fn ready_messages(&self) -> usize {
        self.rx.ready_messages()
    }

    pub fn holds_undelivered(&self) -> bool {
        self.rx.holds_undelivered()
    }

    /// When data last left, or came that was new.
    pub fn last_data(&self) -> Time {
        let left = self.paths.list.iter().map(|path| path.last_data);
        left.fold(self.data_came, Time::max)
    }

    /// A new event: each path may send Max.Burst packets (RFC 9260 §6.1 D).
    pub(super) fn allow_burst(&mut self) {
        let max_burst = self.config.max_burst;
        self.paths.list.iter_mut().for_each(|path| path.allow_burst(path.flight, max_burst));
    }

    pub fn set_primary(&mut self, cx: &mut Cx<'_>, path: PathId) -> Result<(), NotFound> {
        self.paths.get(path).ok_or(NotFound)?;
        self.paths.primary = usize::from(path.0);
        self.choose_path(cx);
        Ok(())
    }

    pub fn set_path_parameters(
        &mut self,
        cx: &mut Cx<'_>,
        id: PathId,
        parameters: PathParameters,
    ) -> Result<(), NotFound> {
        let path = self.paths.get_mut(id).ok_or(NotFound)?;
        let interval = path.heartbeat_interval;
        path.set_parameters(parameters);
        let resumed = parameters.pmtud == Some(true) && path.change_mtu(|pmtud| pmtud.resume(cx.now));
        let beats_otherwise = path.heartbeat_interval != interval;
        if matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_) | Phase::Closed) {
            return Ok(());
        }
        if beats_otherwise {
            self.schedule_heartbeat(cx, usize::from(id.0));
        }
        if resumed {
            self.send_mtu_probe(cx, usize::from(id.0));
        }
        Ok(())
    }

    /// Takes the values of a configuration that can change while an association lives, see `Stack::configure`.
    pub fn configure(&mut self, wanted: &Config) {
        let config = Arc::make_mut(&mut self.config);
        (config.rto_initial, config.rto_min, config.rto_max) = (wanted.rto_initial, wanted.rto_min, wanted.rto_max);
        (config.sack_delay, config.sack_frequency) = (wanted.sack_delay, wanted.sack_frequency);
        config.assoc_max_retrans = wanted.assoc_max_retrans;
        config.max_init_retransmits = wanted.max_init_retransmits;
        config.max_burst = wanted.max_burst;
        (config.max_segment, config.send_buffer) = (wanted.max_segment, wanted.send_buffer);
        config.max_message = wanted.max_message;
        self.rx.configure(&self.config);
        self.tx.configure(wanted);
        for path in &mut self.paths.list {
            path.rto.set_bounds(wanted.rto_min, wanted.rto_max);
        }
    }

    /// The path that new data goes over from now on.
    fn choose_path(&mut self, cx: &mut Cx<'_>) {
        let current = self.paths.select_for_data();
        self.paths.current = current;
        self.allow_burst();
        if PathId(current as u16) != self.path_told
            && matches!(self.phase, Phase::Established | Phase::ShutdownPending | Phase::ShutdownReceived)
        {
            self.path_told = PathId(current as u16);
            let path = &self.paths.list[current];
            let event = Event::PathInUse { path: path.id, remote: path.remote };
            self.tell(cx, event);
        }
    }

    fn add_path(&mut self, now: Time, remote: Address, local: crate::transmit::Local, encap_port: Option<u16>) {
        let id = PathId(self.paths.list.len() as u16);
        // Paths are few and large, and come once: no room is kept for more of them.
        self.paths.list.reserve_exact(1);
        self.paths.list.push(Path::new(id, remote, local, encap_port, &self.config, now));
    }

    pub fn stats(&self, now: Time) -> AssociationStats {
        let (own, tx, rx) = (&self.counters, &self.tx.counters, &self.rx.counters);
        AssociationStats {
            endpoint: self.endpoint,
            state: self.state(),
            local_port: self.identity.local_port,
            peer_port: self.identity.peer_port,
            negotiated: self.negotiated,
            primary: PathId(self.paths.primary as u16),
            peer_rwnd: self.tx.rwnd() as u32,
            a_rwnd: self.rx.announced() as u32,
            in_flight: self.tx.flight(),
            unacked_chunks: self.tx.unacked_chunks(),
            missing_chunks: self.rx.map.missing(),
            queued: self.tx.queued(),
            send_buffered: self.tx.buffered(),
            receive_buffered: self.rx.charged(),
            ready_messages: self.rx.ready_messages(),
            error_count: self.error_count,
            stalled_for: self.tx.stalled_for(now),
            waiting: self.waiting(),
            counters: Counters {
                packets_sent: own.packets_sent,
                packets_received: own.packets_received,
                packets_discarded: own.packets_discarded,
                t3_timeouts: own.t3_timeouts,
                control_chunks_sent: own.control_chunks_sent + self.ack.sent,
                control_chunks_received: own.control_chunks_received,
                sacks_received: own.sacks_received,
                heartbeats_sent: own.heartbeats_sent,
                heartbeat_acks: own.heartbeat_acks,
                restarts: own.restarts,
                stalls: own.stalls,
                data_chunks_sent: tx.data_chunks,
                data_chunks_received: rx.data_chunks,
                bytes_acked: tx.bytes_acked,
                bytes_received: rx.bytes,
                messages_sent: tx.messages,
                messages_received: rx.messages,
                retransmissions: tx.retransmissions,
                fast_retransmissions: tx.fast_retransmissions,
                duplicates_received: rx.duplicates,
                window_drops: rx.window_drops,
                sacks_sent: self.ack.sent,
                unordered_chunks_sent: tx.unordered_chunks,
                unordered_chunks_received: rx.unordered_chunks,
                out_of_sequence: rx.out_of_sequence,
                gap_blocks_received: tx.gap_blocks,
                reneged: tx.reneged,
                window_probes: tx.window_probes,
            },
            paths: self.paths.list.iter().enumerate().map(|(at, path)| path.stats(at == self.paths.primary)).collect(),
        }
    }

    /// When it wants to be called.
    pub fn deadline(&self) -> Option<Time> {
        if self.is_closed() {
            return None;
        }
        earliest([self.timers.deadline(), self.ack.deadline, self.paths.deadline()])
    }
}

#[cfg(all(test, target_pointer_width = "64", not(feature = "faults")))]
mod tests {
    use super::*;

    /// Of what is kept of an idle association, these are most. From 1,024 bytes on, its own header included, glibc's
    /// allocator puts together all small pieces that are free first, each time.
    #[test]
    fn an_association_is_below_the_size_that_is_allocated_slowly() {
        assert!(size_of::<Association>() <= 1000, "{}", size_of::<Association>());
        assert!(size_of::<Path>() <= 416, "{}", size_of::<Path>());
    }
}
