//! What the kernel tells: notifications, parsed from the bytes that [`recv`](super::SctpSocket::recv) gives.

use super::abi::{self, sn_header};
use super::constants as c;
use super::{AssocId, address};
use crate::sys::{self, Plain};
use esock_proto::Address;

/// A notification (RFC 6458 §6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notification<'a> {
    /// An association came up, restarted, or ended.
    AssocChange {
        /// What happened.
        state: AssocState,
        /// The cause code of the ABORT that ended it, else 0 (RFC 9260 §3.3.10).
        error: u16,
        /// Streams that we may send on.
        outbound_streams: u16,
        /// Streams that the peer may send on.
        inbound_streams: u16,
        /// Which one.
        assoc_id: AssocId,
        /// The ABORT's causes, where there was one: Linux leaves the chunk's header out.
        info: &'a [u8],
    },
    /// A path changed its state.
    PeerAddrChange {
        /// The peer's address and port; `None` if the kernel named none.
        address: Option<(Address, u16)>,
        /// What happened.
        state: PathChange,
        /// Why: the kernel's `sctp_sn_error`.
        error: i32,
        /// Whose.
        assoc_id: AssocId,
    },
    /// The peer sent an ERROR chunk.
    RemoteError {
        /// The cause code (RFC 9260 §3.3.10).
        cause: u16,
        /// Whose peer.
        assoc_id: AssocId,
        /// What the cause carries, without its header.
        data: &'a [u8],
    },
    /// Data that was not delivered; comes after the notification that the association is lost. A
    /// message that was fragmented comes back in as many of these.
    SendFailed {
        /// Whether it was on the wire (then the peer may have it).
        sent: bool,
        /// The cause code of the ABORT that ended the association, else 0.
        error: u16,
        /// The message's stream.
        stream: u16,
        /// Its payload protocol identifier.
        ppid: u32,
        /// The number that it was sent with.
        context: u32,
        /// Flags of its DATA chunk: 2 for the first fragment, 1 for the last, 4 for unordered (RFC 9260 §3.3.1).
        flags: u16,
        /// Whose.
        assoc_id: AssocId,
        /// The data.
        data: &'a [u8],
    },
    /// The peer shuts down: nothing more can be sent.
    Shutdown {
        /// Which association.
        assoc_id: AssocId,
    },
    /// The peer's adaptation code point (RFC 5061 §4.2.6).
    Adaptation {
        /// The code point.
        indication: u32,
        /// Which association.
        assoc_id: AssocId,
    },
    /// A message that was delivered in part ends here: the rest will not come.
    PartialDelivery {
        /// What happened; 0 is the only value there is, aborted.
        indication: u32,
        /// Which association.
        assoc_id: AssocId,
        /// The message's stream; Linux says 0 without I-DATA.
        stream: u32,
        /// Its stream sequence number; Linux says 0 without I-DATA.
        sequence: u32,
    },
    /// A key of AUTH changed, or the peer has no AUTH.
    Authentication {
        /// The key.
        key: u16,
        /// What happened: 0 a new key is active, 1 it is not used any more, 2 the peer has no AUTH.
        indication: u32,
        /// Which association.
        assoc_id: AssocId,
    },
    /// All that was sent is acknowledged.
    SenderDry {
        /// Which association.
        assoc_id: AssocId,
    },
    /// Streams were reset (RFC 6525 §6.1.1).
    StreamReset {
        /// 1 incoming, 2 outgoing, 4 denied, 8 failed.
        flags: u16,
        /// Which association.
        assoc_id: AssocId,
        /// The streams' numbers, two bytes each in the host's order; none means all.
        streams: &'a [u8],
    },
    /// The association's sequence numbers were reset (RFC 6525 §6.1.2).
    AssocReset {
        /// 4 denied, 8 failed.
        flags: u16,
        /// Which association.
        assoc_id: AssocId,
        /// Our next TSN.
        local_tsn: u32,
        /// The peer's.
        remote_tsn: u32,
    },
    /// Streams were added (RFC 6525 §6.1.3).
    StreamChange {
        /// 4 denied, 8 failed.
        flags: u16,
        /// Which association.
        assoc_id: AssocId,
        /// Streams that the peer may send on.
        inbound_streams: u16,
        /// Streams that we may send on.
        outbound_streams: u16,
    },
    /// One that is not known here, or not well-formed.
    Unknown {
        /// The type that it claims to have, 0 if not even that is there.
        kind: u16,
        /// All of it.
        bytes: &'a [u8],
    },
}

/// What happened to an association (RFC 6458 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssocState {
    /// It is up.
    Up,
    /// It failed, or was aborted by either side.
    Lost,
    /// The peer restarted (RFC 9260 §5.2).
    Restart,
    /// It was shut down in order.
    ShutDown,
    /// It could not be set up.
    CannotStart,
    /// Something newer than this program.
    Other(u16),
}

/// What happened to a path (RFC 6458 §6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathChange {
    /// It works again.
    Available,
    /// It failed.
    Unreachable,
    /// The peer removed the address.
    Removed,
    /// The peer added the address.
    Added,
    /// It is the primary path now.
    MadePrimary,
    /// It is confirmed (RFC 9260 §5.4).
    Confirmed,
    /// It may have failed (RFC 7829).
    PotentiallyFailed,
    /// Something newer than this program.
    Other(i32),
}

impl From<u16> for AssocState {
    fn from(state: u16) -> Self {
        match state {
            c::SCTP_COMM_UP => Self::Up,
            c::SCTP_COMM_LOST => Self::Lost,
            c::SCTP_RESTART => Self::Restart,
            c::SCTP_SHUTDOWN_COMP => Self::ShutDown,
            c::SCTP_CANT_STR_ASSOC => Self::CannotStart,
            other => Self::Other(other),
        }
    }
}

impl From<i32> for PathChange {
    fn from(state: i32) -> Self {
        match state {
            c::SCTP_ADDR_AVAILABLE => Self::Available,
            c::SCTP_ADDR_UNREACHABLE => Self::Unreachable,
            c::SCTP_ADDR_REMOVED => Self::Removed,
            c::SCTP_ADDR_ADDED => Self::Added,
            c::SCTP_ADDR_MADE_PRIM => Self::MadePrimary,
            c::SCTP_ADDR_CONFIRMED => Self::Confirmed,
            c::SCTP_ADDR_POTENTIALLY_FAILED => Self::PotentiallyFailed,
            other => Self::Other(other),
        }
    }
}

/// The fixed part of a notification and what follows it.
fn split<T: Plain>(bytes: &[u8]) -> Option<(T, &[u8])> {
    Some((sys::read(bytes)?, bytes.get(size_of::<T>()..)?))
}

/// A cause code, which the kernel hands on in network byte order wherever it came from the wire, even
/// in fields of 32 bits.
fn cause(error: impl Into<u32>) -> u16 {
    u16::from_be(error.into() as u16)
}

impl<'a> Notification<'a> {
    /// Whose it is; `None` of one that is not known here.
    pub fn association(&self) -> Option<AssocId> {
        match self {
            Self::AssocChange { assoc_id, .. }
            | Self::PeerAddrChange { assoc_id, .. }
            | Self::RemoteError { assoc_id, .. }
            | Self::SendFailed { assoc_id, .. }
            | Self::Shutdown { assoc_id }
            | Self::Adaptation { assoc_id, .. }
            | Self::PartialDelivery { assoc_id, .. }
            | Self::Authentication { assoc_id, .. }
            | Self::SenderDry { assoc_id }
            | Self::StreamReset { assoc_id, .. }
            | Self::AssocReset { assoc_id, .. }
            | Self::StreamChange { assoc_id, .. } => Some(*assoc_id),
            Self::Unknown { .. } => None,
        }
    }

    /// Takes a whole notification apart: all the bytes up to the end of the record. One that is cut
    /// short is [`Unknown`](Self::Unknown).
    pub fn parse(bytes: &'a [u8]) -> Self {
        let header: Option<sn_header> = sys::read(bytes);
        let known = header.and_then(|header| {
            // More bytes than the notification says it has would be padding.
            let whole = bytes.get(..usize::try_from(header.sn_length).ok()?)?;
            Self::known(header.sn_type, whole)
        });
        known.unwrap_or_else(|| Self::Unknown {
            kind: bytes.first_chunk().map_or(0, |kind| u16::from_ne_bytes(*kind)),
            bytes,
        })
    }

    /// `None` for types that are not known, and bytes that are too few.
    fn known(kind: u16, bytes: &'a [u8]) -> Option<Self> {
        Some(match kind {
            c::SCTP_ASSOC_CHANGE => {
                let (change, info) = split::<abi::sctp_assoc_change>(bytes)?;
                Self::AssocChange {
                    state: change.sac_state.into(),
                    error: cause(change.sac_error),
                    outbound_streams: change.sac_outbound_streams,
                    inbound_streams: change.sac_inbound_streams,
                    assoc_id: AssocId(change.sac_assoc_id),
                    info,
                }
            }
            c::SCTP_PEER_ADDR_CHANGE => {
                let (change, _) = split::<abi::sctp_paddr_change>(bytes)?;
                Self::PeerAddrChange {
                    address: address::from_storage(change.spc_aaddr),
                    state: change.spc_state.into(),
                    error: change.spc_error,
                    assoc_id: AssocId(change.spc_assoc_id),
                }
            }
            c::SCTP_REMOTE_ERROR => {
                let (error, data) = split::<abi::sctp_remote_error>(bytes)?;
                let assoc_id = AssocId(error.sre_assoc_id);
                Self::RemoteError { cause: cause(error.sre_error), assoc_id, data }
            }
            c::SCTP_SEND_FAILED => Self::send_failed(bytes)?,
            c::SCTP_SEND_FAILED_EVENT => Self::send_failed_event(bytes)?,
            c::SCTP_SHUTDOWN_EVENT => {
                let (shutdown, _) = split::<abi::sctp_shutdown_event>(bytes)?;
                Self::Shutdown { assoc_id: AssocId(shutdown.sse_assoc_id) }
            }
            c::SCTP_ADAPTATION_INDICATION => {
                let (told, _) = split::<abi::sctp_adaptation_event>(bytes)?;
                Self::Adaptation { indication: told.sai_adaptation_ind, assoc_id: AssocId(told.sai_assoc_id) }
            }
            c::SCTP_PARTIAL_DELIVERY_EVENT => {
                let (told, _) = split::<abi::sctp_pdapi_event>(bytes)?;
                Self::PartialDelivery {
                    indication: told.pdapi_indication,
                    assoc_id: AssocId(told.pdapi_assoc_id),
                    stream: told.pdapi_stream,
                    sequence: told.pdapi_seq,
                }
            }
            c::SCTP_AUTHENTICATION_EVENT => {
                let (told, _) = split::<abi::sctp_authkey_event>(bytes)?;
                Self::Authentication {
                    key: told.auth_keynumber,
                    indication: told.auth_indication,
                    assoc_id: AssocId(told.auth_assoc_id),
                }
            }
            c::SCTP_SENDER_DRY_EVENT => {
                let (dry, _) = split::<abi::sctp_sender_dry_event>(bytes)?;
                Self::SenderDry { assoc_id: AssocId(dry.sender_dry_assoc_id) }
            }
            _ => Self::reconfiguration(kind, bytes)?,
        })
    }

    fn reconfiguration(kind: u16, bytes: &'a [u8]) -> Option<Self> {
        Some(match kind {
            c::SCTP_STREAM_RESET_EVENT => {
                let (reset, streams) = split::<abi::sctp_stream_reset_event>(bytes)?;
                let assoc_id = AssocId(reset.strreset_assoc_id);
                Self::StreamReset { flags: reset.strreset_flags, assoc_id, streams }
            }
            c::SCTP_ASSOC_RESET_EVENT => {
                let (reset, _) = split::<abi::sctp_assoc_reset_event>(bytes)?;
                Self::AssocReset {
                    flags: reset.assocreset_flags,
                    assoc_id: AssocId(reset.assocreset_assoc_id),
                    local_tsn: reset.assocreset_local_tsn,
                    remote_tsn: reset.assocreset_remote_tsn,
                }
            }
            c::SCTP_STREAM_CHANGE_EVENT => {
                let (change, _) = split::<abi::sctp_stream_change_event>(bytes)?;
                Self::StreamChange {
                    flags: change.strchange_flags,
                    assoc_id: AssocId(change.strchange_assoc_id),
                    inbound_streams: change.strchange_instrms,
                    outbound_streams: change.strchange_outstrms,
                }
            }
            _ => return None,
        })
    }

    fn send_failed(bytes: &'a [u8]) -> Option<Self> {
        let (failed, data) = split::<abi::sctp_send_failed>(bytes)?;
        let info = failed.ssf_info;
        Some(Self::SendFailed {
            sent: failed.ssf_flags == c::SCTP_DATA_SENT,
            error: cause(failed.ssf_error),
            stream: info.sinfo_stream,
            ppid: u32::from_be(info.sinfo_ppid),
            context: info.sinfo_context,
            flags: info.sinfo_flags,
            assoc_id: AssocId(failed.ssf_assoc_id),
            data,
        })
    }

    fn send_failed_event(bytes: &'a [u8]) -> Option<Self> {
        let (failed, data) = split::<abi::sctp_send_failed_event>(bytes)?;
        let info = failed.ssfe_info;
        Some(Self::SendFailed {
            sent: failed.ssf_flags == c::SCTP_DATA_SENT,
            error: cause(failed.ssf_error),
            stream: info.snd_sid,
            ppid: u32::from_be(info.snd_ppid),
            context: info.snd_context,
            flags: info.snd_flags,
            assoc_id: AssocId(failed.ssf_assoc_id),
            data,
        })
    }
}
