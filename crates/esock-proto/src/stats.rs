//! What can be seen of a stack, an association and a path.

use crate::api::{Negotiated, PathState, State};
use crate::types::{Address, EndpointId, PathId};
use std::fmt;
use std::time::Duration;

/// Counters of an association, all since it came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received and taken.
    pub packets_received: u64,
    /// Packets discarded: bad tag, bad chunk, unexpected.
    pub packets_discarded: u64,
    /// DATA chunks sent, retransmissions included.
    pub data_chunks_sent: u64,
    /// DATA chunks received, duplicates included.
    pub data_chunks_received: u64,
    /// User bytes acknowledged by the peer.
    pub bytes_acked: u64,
    /// User bytes received in new DATA chunks.
    pub bytes_received: u64,
    /// Messages taken from the user.
    pub messages_sent: u64,
    /// Messages handed to the user.
    pub messages_received: u64,
    /// DATA chunks sent again.
    pub retransmissions: u64,
    /// Of these, by fast retransmit (RFC 9260 §7.2.4).
    pub fast_retransmissions: u64,
    /// T3-rtx expirations.
    pub t3_timeouts: u64,
    /// Duplicate DATA chunks received.
    pub duplicates_received: u64,
    /// DATA chunks dropped because the window was full.
    pub window_drops: u64,
    /// Of the DATA chunks sent, those of unordered messages, each counted once.
    pub unordered_chunks_sent: u64,
    /// Of the DATA chunks received and taken, those of unordered messages.
    pub unordered_chunks_received: u64,
    /// DATA chunks received whose TSN lies too far ahead to be acknowledged.
    pub out_of_sequence: u64,
    /// Control chunks sent, SACKs included.
    pub control_chunks_sent: u64,
    /// Control chunks received, SACKs included.
    pub control_chunks_received: u64,
    /// Gap ack blocks in SACKs that were taken.
    pub gap_blocks_received: u64,
    /// SACK chunks sent.
    pub sacks_sent: u64,
    /// SACK chunks received.
    pub sacks_received: u64,
    /// TSNs that the peer took back after a gap report (RFC 9260 §6.2.1 C iii).
    pub reneged: u64,
    /// HEARTBEAT chunks sent.
    pub heartbeats_sent: u64,
    /// HEARTBEAT ACK chunks that matched.
    pub heartbeat_acks: u64,
    /// Probes of a closed window.
    pub window_probes: u64,
    /// Restarts by the peer.
    pub restarts: u64,
    /// Times that data waited and nothing was going to move it: a fault of this stack. Zero.
    pub stalls: u64,
}

/// What outstanding data waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Waiting {
    /// The association is being set up.
    Setup,
    /// No path is active: what is unanswered is sent again, ever more slowly.
    Path,
    /// The peer's receive window is closed: its user does not read. It is probed.
    PeerWindow,
    /// As much is in flight as the path bears.
    CongestionWindow,
    /// The peer's answer: everything that was taken is on its way.
    Acknowledgement,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setup => "the association to come up",
            Self::Path => "a path that works",
            Self::PeerWindow => "the peer's window to open",
            Self::CongestionWindow => "room in the congestion window",
            Self::Acknowledgement => "the peer's acknowledgement",
        })
    }
}

/// An association at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssociationStats {
    /// Whose it is.
    pub endpoint: EndpointId,
    /// Its state.
    pub state: State,
    /// Our SCTP port.
    pub local_port: u16,
    /// The peer's SCTP port.
    pub peer_port: u16,
    /// What was agreed on.
    pub negotiated: Negotiated,
    /// The primary path.
    pub primary: PathId,
    /// The peer's receive window as we see it, in bytes.
    pub peer_rwnd: u32,
    /// Our receive window as last announced, in bytes.
    pub a_rwnd: u32,
    /// User bytes in flight.
    pub in_flight: usize,
    /// DATA chunks sent of which the peer has reported nothing.
    pub unacked_chunks: usize,
    /// TSNs that are missing below one that has arrived.
    pub missing_chunks: usize,
    /// User bytes taken and not yet sent.
    pub queued: usize,
    /// User bytes taken and not yet acknowledged: what the send buffer counts.
    pub send_buffered: usize,
    /// Bytes received and not yet read, overhead included.
    pub receive_buffered: usize,
    /// Messages ready to be read.
    pub ready_messages: usize,
    /// Errors in a row, over all paths.
    pub error_count: u32,
    /// How long data has been outstanding without the cumulative TSN moving, whatever else the peer
    /// answers; zero when none is.
    pub stalled_for: Duration,
    /// What outstanding data waits for; `None` when there is none.
    pub waiting: Option<Waiting>,
    /// Counters.
    pub counters: Counters,
    /// Its paths.
    pub paths: Vec<PathStats>,
}

impl AssociationStats {
    /// An association of which nothing else is known.
    pub fn new(endpoint: EndpointId, state: State) -> Self {
        Self {
            endpoint,
            state,
            local_port: 0,
            peer_port: 0,
            negotiated: Negotiated::default(),
            primary: PathId(0),
            peer_rwnd: 0,
            a_rwnd: 0,
            in_flight: 0,
            unacked_chunks: 0,
            missing_chunks: 0,
            queued: 0,
            send_buffered: 0,
            receive_buffered: 0,
            ready_messages: 0,
            error_count: 0,
            stalled_for: Duration::ZERO,
            waiting: None,
            counters: Counters::default(),
            paths: Vec::new(),
        }
    }
}

impl PathStats {
    /// A path of which nothing else is known.
    pub fn new(id: PathId, remote: Address, state: PathState) -> Self {
        Self {
            id,
            remote,
            local: None,
            encap_port: None,
            state,
            primary: false,
            srtt: None,
            rttvar: Duration::ZERO,
            rto: Duration::ZERO,
            cwnd: 0,
            ssthresh: 0,
            in_flight: 0,
            mtu: 0,
            error_count: 0,
            data_packets_sent: 0,
            packets_received: 0,
            bytes_sent: 0,
        }
    }
}

/// A path at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// Which.
    pub id: PathId,
    /// The peer's address.
    pub remote: Address,
    /// Our address, where known.
    pub local: Option<Address>,
    /// The peer's UDP port, `None` for native SCTP.
    pub encap_port: Option<u16>,
    /// Its state.
    pub state: PathState,
    /// Whether it is the primary path.
    pub primary: bool,
    /// Smoothed round-trip time, `None` before the first measurement.
    pub srtt: Option<Duration>,
    /// Its variation.
    pub rttvar: Duration,
    /// The retransmission timeout.
    pub rto: Duration,
    /// Congestion window, in bytes.
    pub cwnd: usize,
    /// Slow-start threshold, in bytes.
    pub ssthresh: usize,
    /// Bytes of DATA chunks in flight, header and padding included.
    pub in_flight: usize,
    /// Path MTU in bytes, IP header included.
    pub mtu: u16,
    /// Errors in a row.
    pub error_count: u32,
    /// Packets with new or retransmitted data sent over it.
    pub data_packets_sent: u64,
    /// Packets received from it.
    pub packets_received: u64,
    /// User bytes sent over it, retransmissions included.
    pub bytes_sent: u64,
}

/// Counters of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StackStats {
    /// Packets handed in.
    pub packets_received: u64,
    /// Packets handed out.
    pub packets_sent: u64,
    /// Too short, bad checksum, or nonsense in the common header.
    pub malformed: u64,
    /// Of these: bad checksum.
    pub bad_checksum: u64,
    /// Packets that belong to no association.
    pub out_of_the_blue: u64,
    /// Replies to such packets.
    pub ootb_replies: u64,
    /// Replies that the rate limits held back.
    pub rate_limited: u64,
    /// INITs answered.
    pub init_acks_sent: u64,
    /// COOKIE ECHOs with a bad cookie (forged, altered, or for somebody else).
    pub bad_cookies: u64,
    /// COOKIE ECHOs with a cookie that was too old.
    pub stale_cookies: u64,
    /// Associations now.
    pub associations: usize,
    /// Associations ever.
    pub associations_total: u64,
}

/// Parameters of one path that can change while it runs; `None` leaves a value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PathParameters {
    /// Heartbeat interval; `Some(None)` switches heartbeats off.
    pub heartbeat_interval: Option<Option<Duration>>,
    /// Path.Max.Retrans; `Some(None)`: never inactive.
    pub path_max_retrans: Option<Option<u32>>,
    /// PF threshold; `Some(None)` switches the state off.
    pub pf_threshold: Option<Option<u32>>,
    /// Whether to search the path MTU; what was switched off is taken up again, and what waits for data begins at once.
    pub pmtud: Option<bool>,
    /// A fixed path MTU in bytes, IP header included; switches discovery off for this path.
    pub mtu: Option<u16>,
    /// The peer's UDP port (RFC 6951 §5.4); `Some(None)`: native SCTP. A packet from the peer may change it again.
    pub encap_port: Option<Option<u16>>,
}
