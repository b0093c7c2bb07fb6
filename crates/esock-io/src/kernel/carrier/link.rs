//! An association of the kernel: its socket, and what the kernel does not keep for us.

use super::super::{AssocId as KernelId, PathState as KernelPathState, SctpSocket, State as KernelState};
use crate::session::Session;
use bytes::Bytes;
use esock_proto::{AssociationStats, CloseReason, PathState, SendOptions, State, Time, Undelivered};
use std::collections::VecDeque;

/// What a message costs beside its bytes: more than with us, and less than with the kernel, so that what the kernel may
/// have is remembered.
const OVERHEAD: usize = 512;

/// A message that the kernel has taken and may give back in pieces.
#[derive(Debug)]
struct Retained {
    context: u32,
    options: SendOptions,
    payload: Bytes,
    /// It came back: whether any of it was sent.
    failed: Option<bool>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    /// None while it is being set up, on the endpoint's socket.
    pub socket: Option<SctpSocket>,
    pub kernel: KernelId,
    /// When it was begun.
    pub began: Time,
    /// The pieces of a message that is delivered in part.
    pub assembly: Vec<u8>,
    /// The rest of a message that was too large is not wanted.
    pub skipping: bool,
    /// It has ended: what comes after is read first.
    pub ending: Option<CloseReason>,
    /// The peer's adaptation indication.
    pub adaptation: Option<u32>,
    /// A path has failed: then an end without a cause is one of silence.
    pub path_failed: bool,
    /// Messages that the kernel may still have, oldest first: it has no more than its send buffer holds.
    retained: VecDeque<Retained>,
    retained_bytes: usize,
    /// How many of them came back.
    failed: usize,
    last_context: u32,
}

impl Link {
    pub fn connecting(kernel: KernelId, began: Time) -> Self {
        Self {
            socket: None,
            kernel,
            began,
            assembly: Vec::new(),
            skipping: false,
            ending: None,
            adaptation: None,
            path_failed: false,
            retained: VecDeque::new(),
            retained_bytes: 0,
            failed: 0,
            last_context: 0,
        }
    }

    pub fn up(socket: SctpSocket, kernel: KernelId, began: Time) -> Self {
        Self { socket: Some(socket), ..Self::connecting(kernel, began) }
    }

    /// It has ended; the first reason is the one.
    pub fn end(&mut self, reason: CloseReason) {
        self.ending.get_or_insert(reason);
    }

    /// Sends an ABORT.
    pub fn abort(&self, reason: &[u8]) {
        if let Some(socket) = &self.socket {
            // It may have ended already.
            let _ = socket.abort(self.kernel, reason);
        }
    }

    /// The number that the next message is sent with.
    pub fn next_context(&self) -> u32 {
        self.last_context.wrapping_add(1)
    }

    /// Remembers a message that the kernel has taken.
    pub fn retain(&mut self, context: u32, options: SendOptions, payload: Bytes, send_buffer: usize) {
        self.last_context = context;
        self.retained_bytes += payload.len();
        self.retained.push_back(Retained { context, options, payload, failed: None });
        // The kernel doubles the size that it is told for what it needs itself: it has no more than that, and
        // the message that did not quite fit.
        while self.retained.len() > 1
            && self.retained_bytes + self.retained.len() * OVERHEAD > 3 * send_buffer
            && let Some(oldest) = self.retained.pop_front()
        {
            self.retained_bytes -= oldest.payload.len();
            self.failed -= usize::from(oldest.failed.is_some());
        }
    }

    /// All was acknowledged.
    pub fn on_dry(&mut self) {
        if self.failed == 0 {
            self.retained = VecDeque::new();
            self.retained_bytes = 0;
        }
    }

    /// A piece of a message came back.
    pub fn on_failed(&mut self, context: u32, sent: bool) {
        let Some(first) = self.retained.front().map(|message| message.context) else { return };
        let known = self.retained.get_mut(context.wrapping_sub(first) as usize);
        // An empty one has come back before.
        let Some(message) = known.filter(|message| !message.payload.is_empty()) else { return };
        self.failed += usize::from(message.failed.is_none());
        let before = message.failed.unwrap_or(false);
        message.failed = Some(before || sent);
    }

    /// The messages that came back, oldest first, whole.
    pub fn take_failed(&mut self) -> Vec<Undelivered> {
        if self.failed == 0 {
            return Vec::new();
        }
        self.failed = 0;
        let mut back = Vec::new();
        for message in &mut self.retained {
            let Some(sent) = message.failed.take() else { continue };
            self.retained_bytes -= message.payload.len();
            back.push(Undelivered::new(sent, message.options, std::mem::take(&mut message.payload)));
        }
        // The others may fail yet. They are found by their distance from the first: what came back in between, which
        // is empty now as no message is, keeps its place.
        while self.retained.front().is_some_and(|message| message.payload.is_empty()) {
            self.retained.pop_front();
        }
        if self.retained.is_empty() {
            self.retained = VecDeque::new();
        }
        back
    }

    /// Bytes that are reserved for a message that is being put together.
    pub fn assemble(&mut self, piece: &[u8], limit: usize) -> Result<(), ()> {
        if self.assembly.len() + piece.len() > limit {
            self.assembly = Vec::new();
            return Err(());
        }
        self.assembly.extend_from_slice(piece);
        Ok(())
    }

    /// What the kernel says of it.
    pub fn describe(&self, session: &Session<Self>, stats: &mut AssociationStats) {
        let Some(socket) = &self.socket else { return };
        if let Ok(status) = socket.status(self.kernel) {
            stats.state = state(status.state).unwrap_or(stats.state);
            stats.peer_rwnd = status.peer_rwnd_bytes;
            let primary = status.primary.address.map(|(address, _)| address);
            for path in stats.paths.iter_mut().filter(|path| Some(path.remote) == primary) {
                path.primary = true;
                stats.primary = path.id;
            }
        }
        if let Ok(counted) = socket.stats(self.kernel) {
            let counters = &mut stats.counters;
            counters.packets_sent = counted.packets_sent;
            counters.packets_received = counted.packets_received;
            counters.data_chunks_sent = counted.ordered_chunks_sent + counted.unordered_chunks_sent;
            counters.data_chunks_received = counted.ordered_chunks_received + counted.unordered_chunks_received;
            counters.retransmissions = counted.retransmitted_chunks;
            counters.duplicates_received = counted.duplicate_chunks;
            counters.sacks_sent = counted.sacks_sent;
            counters.sacks_received = counted.sacks_received;
            counters.control_chunks_sent = counted.control_chunks_sent;
            counters.control_chunks_received = counted.control_chunks_received;
            counters.unordered_chunks_sent = counted.unordered_chunks_sent;
            counters.unordered_chunks_received = counted.unordered_chunks_received;
            counters.out_of_sequence = counted.out_of_order_tsns;
            counters.gap_blocks_received = counted.gaps;
        }
        for path in &mut stats.paths {
            let Ok(info) = socket.path_info(self.kernel, (path.remote, session.peer_port)) else { continue };
            path.state = path_state(info.state);
            path.srtt = (!info.srtt.is_zero()).then_some(info.srtt);
            path.rto = info.rto;
            path.cwnd = info.cwnd_bytes as usize;
            path.mtu = u16::try_from(info.mtu_bytes).unwrap_or(u16::MAX);
            let udp_port = socket.encap_port(self.kernel, Some((path.remote, session.peer_port)));
            path.encap_port = udp_port.ok().filter(|port| *port != 0);
        }
    }
}

fn state(state: KernelState) -> Option<State> {
    Some(match state {
        KernelState::CookieWait => State::CookieWait,
        KernelState::CookieEchoed => State::CookieEchoed,
        KernelState::Established => State::Established,
        KernelState::ShutdownPending => State::ShutdownPending,
        KernelState::ShutdownSent => State::ShutdownSent,
        KernelState::ShutdownReceived => State::ShutdownReceived,
        KernelState::ShutdownAckSent => State::ShutdownAckSent,
        KernelState::Empty | KernelState::Closed => State::Closed,
        KernelState::Other(_) => return None,
    })
}

fn path_state(state: KernelPathState) -> PathState {
    match state {
        KernelPathState::Active => PathState::Active,
        KernelPathState::PotentiallyFailed => PathState::PotentiallyFailed,
        KernelPathState::Unconfirmed | KernelPathState::Unknown => PathState::Unconfirmed,
        KernelPathState::Inactive | KernelPathState::Other(_) => PathState::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esock_proto::Time;

    fn with_messages(count: u32) -> Link {
        let mut link = Link::connecting(KernelId(1), Time::ZERO);
        for number in 1..=count {
            assert_eq!(link.next_context(), number);
            link.retain(number, SendOptions::default(), vec![number as u8; 10].into(), 10 * (10 + OVERHEAD));
        }
        link
    }

    #[test]
    fn a_message_comes_back_once_and_whole_whatever_its_pieces_were() {
        let mut link = with_messages(3);
        link.on_failed(3, false);
        link.on_failed(2, true);
        link.on_failed(2, false);
        let back = link.take_failed();
        let said: Vec<_> = back.iter().map(|back| (back.payload[0], back.payload.len(), back.maybe_received)).collect();
        assert_eq!(said, [(2, 10, true), (3, 10, false)]);
        assert!(link.take_failed().is_empty());
        // The first may still fail; the others do not come back twice.
        link.on_failed(3, true);
        link.on_failed(1, true);
        let back = link.take_failed();
        assert!(back.len() == 1 && back[0].payload[0] == 1 && link.retained_bytes == 0 && link.retained.is_empty());
    }

    #[test]
    fn what_the_kernel_cannot_have_any_more_is_forgotten() {
        let mut link = with_messages(200);
        assert_eq!((link.retained.len(), link.retained_bytes), (30, 300));
        link.on_failed(1, true);
        link.on_failed(200, true);
        assert_eq!(link.take_failed().len(), 1);
        let mut link = with_messages(2);
        link.on_dry();
        link.on_failed(1, true);
        assert!(link.take_failed().is_empty() && link.retained.is_empty());
        // However small the buffer, the last is kept.
        let mut link = Link::connecting(KernelId(1), Time::ZERO);
        for number in 1..=3 {
            link.retain(number, SendOptions::default(), vec![7; 10].into(), 1);
        }
        assert_eq!((link.retained.len(), link.retained_bytes), (1, 10));
    }

    #[test]
    fn tiny_messages_are_counted_with_what_they_cost() {
        let mut link = Link::connecting(KernelId(1), Time::ZERO);
        for number in 1..=100_000 {
            link.retain(number, SendOptions::default(), vec![7].into(), 1 << 20);
        }
        assert_eq!(link.retained.len(), (3 << 20) / (1 + OVERHEAD));
    }
}
