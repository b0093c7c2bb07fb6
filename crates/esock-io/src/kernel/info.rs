//! What can only be asked: addresses, states, counters.

use super::abi;
use super::constants as c;
use super::options::path_storage;
use super::{AssocId, SctpSocket, address};
use esock_proto::Address;
use std::io;
use std::time::Duration;

/// The state of an association (RFC 6458 §8.2.1; RFC 9260 §4 has no EMPTY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// There is none yet.
    Empty,
    /// CLOSED.
    Closed,
    /// COOKIE-WAIT.
    CookieWait,
    /// COOKIE-ECHOED.
    CookieEchoed,
    /// ESTABLISHED.
    Established,
    /// SHUTDOWN-PENDING.
    ShutdownPending,
    /// SHUTDOWN-SENT.
    ShutdownSent,
    /// SHUTDOWN-RECEIVED.
    ShutdownReceived,
    /// SHUTDOWN-ACK-SENT.
    ShutdownAckSent,
    /// Something newer than this program.
    Other(i32),
}

/// The state of a path (RFC 6458 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathState {
    /// It failed.
    Inactive,
    /// It may have failed (RFC 7829).
    PotentiallyFailed,
    /// It works.
    Active,
    /// It is not confirmed yet (RFC 9260 §5.4).
    Unconfirmed,
    /// Nothing is known of it.
    Unknown,
    /// Something newer than this program.
    Other(i32),
}

/// An association, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its number.
    pub association: AssocId,
    /// Its state.
    pub state: State,
    /// What the peer can still take, in bytes.
    pub peer_rwnd_bytes: u32,
    /// DATA chunks that are not acknowledged.
    pub unacknowledged: u16,
    /// DATA chunks that wait to be received.
    pub pending: u16,
    /// Streams that the peer may send on.
    pub inbound_streams: u16,
    /// Streams that we may send on.
    pub outbound_streams: u16,
    /// From how many bytes on a message is fragmented.
    pub fragmentation_point_bytes: u32,
    /// The primary path.
    pub primary: PathInfo,
}

/// A path, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathInfo {
    /// Its association.
    pub association: AssocId,
    /// The peer's address and port; `None` if the kernel named none.
    pub address: Option<(Address, u16)>,
    /// Its state.
    pub state: PathState,
    /// The congestion window.
    pub cwnd_bytes: u32,
    /// The smoothed round-trip time, in whole milliseconds.
    pub srtt: Duration,
    /// The retransmission timeout, in whole milliseconds.
    pub rto: Duration,
    /// The path MTU, headers included.
    pub mtu_bytes: u32,
}

/// Counters of an association, since it began, but for the first two. Linux only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssocStats {
    /// The largest retransmission timeout since the last question; zero if there was none.
    pub max_rto: Duration,
    /// Where it was.
    pub max_rto_address: Option<(Address, u16)>,
    /// SACKs received.
    pub sacks_received: u64,
    /// SACKs sent.
    pub sacks_sent: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Chunks sent again.
    pub retransmitted_chunks: u64,
    /// TSNs received out of order.
    pub out_of_order_tsns: u64,
    /// Chunks received twice.
    pub duplicate_chunks: u64,
    /// Gap acknowledgements received.
    pub gaps: u64,
    /// Unordered DATA chunks sent.
    pub unordered_chunks_sent: u64,
    /// Unordered DATA chunks received.
    pub unordered_chunks_received: u64,
    /// Ordered DATA chunks sent.
    pub ordered_chunks_sent: u64,
    /// Ordered DATA chunks received.
    pub ordered_chunks_received: u64,
    /// Control chunks sent.
    pub control_chunks_sent: u64,
    /// Control chunks received.
    pub control_chunks_received: u64,
}

impl From<i32> for State {
    fn from(state: i32) -> Self {
        match state {
            c::SCTP_EMPTY => Self::Empty,
            c::SCTP_CLOSED => Self::Closed,
            c::SCTP_COOKIE_WAIT => Self::CookieWait,
            c::SCTP_COOKIE_ECHOED => Self::CookieEchoed,
            c::SCTP_ESTABLISHED => Self::Established,
            c::SCTP_SHUTDOWN_PENDING => Self::ShutdownPending,
            c::SCTP_SHUTDOWN_SENT => Self::ShutdownSent,
            c::SCTP_SHUTDOWN_RECEIVED => Self::ShutdownReceived,
            c::SCTP_SHUTDOWN_ACK_SENT => Self::ShutdownAckSent,
            other => Self::Other(other),
        }
    }
}

impl From<i32> for PathState {
    fn from(state: i32) -> Self {
        match state {
            c::SCTP_INACTIVE => Self::Inactive,
            c::SCTP_PF => Self::PotentiallyFailed,
            c::SCTP_ACTIVE => Self::Active,
            c::SCTP_UNCONFIRMED => Self::Unconfirmed,
            c::SCTP_UNKNOWN => Self::Unknown,
            other => Self::Other(other),
        }
    }
}

impl From<abi::sctp_paddrinfo> for PathInfo {
    fn from(info: abi::sctp_paddrinfo) -> Self {
        Self {
            association: AssocId(info.spinfo_assoc_id),
            address: address::from_storage(info.spinfo_address),
            state: info.spinfo_state.into(),
            cwnd_bytes: info.spinfo_cwnd,
            srtt: Duration::from_millis(info.spinfo_srtt.into()),
            rto: Duration::from_millis(info.spinfo_rto.into()),
            mtu_bytes: info.spinfo_mtu,
        }
    }
}

impl From<abi::sctp_assoc_stats> for AssocStats {
    fn from(stats: abi::sctp_assoc_stats) -> Self {
        Self {
            max_rto: Duration::from_millis(stats.sas_maxrto),
            max_rto_address: address::from_storage(stats.sas_obs_rto_ipaddr),
            sacks_received: stats.sas_isacks,
            sacks_sent: stats.sas_osacks,
            packets_sent: stats.sas_opackets,
            packets_received: stats.sas_ipackets,
            retransmitted_chunks: stats.sas_rtxchunks,
            out_of_order_tsns: stats.sas_outofseqtsns,
            duplicate_chunks: stats.sas_idupchunks,
            gaps: stats.sas_gapcnt,
            unordered_chunks_sent: stats.sas_ouodchunks,
            unordered_chunks_received: stats.sas_iuodchunks,
            ordered_chunks_sent: stats.sas_oodchunks,
            ordered_chunks_received: stats.sas_iodchunks,
            control_chunks_sent: stats.sas_octrlchunks,
            control_chunks_received: stats.sas_ictrlchunks,
        }
    }
}

/// A question about a path.
fn path_of(association: AssocId, path: Option<(Address, u16)>) -> abi::sctp_paddrinfo {
    abi::sctp_paddrinfo {
        spinfo_assoc_id: association.0,
        spinfo_address: path_storage(path),
        spinfo_state: 0,
        spinfo_cwnd: 0,
        spinfo_srtt: 0,
        spinfo_rto: 0,
        spinfo_mtu: 0,
    }
}

impl SctpSocket {
    /// The peer's addresses in an association.
    ///
    /// # Errors
    /// EINVAL if there is no such association.
    pub fn peer_addresses(&self, association: AssocId) -> io::Result<Vec<(Address, u16)>> {
        self.get_addresses(c::SCTP_GET_PEER_ADDRS, association)
    }

    /// Our addresses in an association, or, with [`AssocId::FUTURE`], those that the socket is bound to.
    /// Bound to the wildcard, they are all of the host's.
    ///
    /// # Errors
    /// EINVAL if there is no such association.
    pub fn local_addresses(&self, association: AssocId) -> io::Result<Vec<(Address, u16)>> {
        self.get_addresses(c::SCTP_GET_LOCAL_ADDRS, association)
    }

    /// How an association is.
    ///
    /// # Errors
    /// EINVAL if there is no such association.
    pub fn status(&self, association: AssocId) -> io::Result<Status> {
        let question = abi::sctp_status {
            sstat_assoc_id: association.0,
            sstat_state: 0,
            sstat_rwnd: 0,
            sstat_unackdata: 0,
            sstat_penddata: 0,
            sstat_instrms: 0,
            sstat_outstrms: 0,
            sstat_fragmentation_point: 0,
            sstat_primary: path_of(association, None),
        };
        let status = self.get(c::SCTP_STATUS, question)?;
        Ok(Status {
            association: AssocId(status.sstat_assoc_id),
            state: status.sstat_state.into(),
            peer_rwnd_bytes: status.sstat_rwnd,
            unacknowledged: status.sstat_unackdata,
            pending: status.sstat_penddata,
            inbound_streams: status.sstat_instrms,
            outbound_streams: status.sstat_outstrms,
            fragmentation_point_bytes: status.sstat_fragmentation_point,
            primary: status.sstat_primary.into(),
        })
    }

    /// How a path is.
    ///
    /// # Errors
    /// EINVAL if there is no such association or path.
    pub fn path_info(&self, association: AssocId, path: (Address, u16)) -> io::Result<PathInfo> {
        self.get(c::SCTP_GET_PEER_ADDR_INFO, path_of(association, Some(path))).map(PathInfo::from)
    }

    /// Counters of an association.
    ///
    /// # Errors
    /// EINVAL if there is no such association.
    pub fn stats(&self, association: AssocId) -> io::Result<AssocStats> {
        let question = abi::sctp_assoc_stats {
            sas_assoc_id: association.0,
            sas_obs_rto_ipaddr: address::no_address(),
            sas_maxrto: 0,
            sas_isacks: 0,
            sas_osacks: 0,
            sas_opackets: 0,
            sas_ipackets: 0,
            sas_rtxchunks: 0,
            sas_outofseqtsns: 0,
            sas_idupchunks: 0,
            sas_gapcnt: 0,
            sas_ouodchunks: 0,
            sas_iuodchunks: 0,
            sas_oodchunks: 0,
            sas_iodchunks: 0,
            sas_octrlchunks: 0,
            sas_ictrlchunks: 0,
        };
        self.get(c::SCTP_GET_ASSOC_STATS, question).map(AssocStats::from)
    }
}
