//! Options of a socket and of associations, with their types. Errors are those of the kernel: EINVAL
//! for an association or an address that is not there, or a value that is not possible.

use super::abi;
use super::constants as c;
use super::{AssocId, SctpSocket, address};
use esock_proto::Address;
use std::io;
use std::time::Duration;

/// Bounds of the retransmission timeout (RFC 6458 §8.1.1), in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rto {
    /// RTO.Initial.
    pub initial: Duration,
    /// RTO.Min.
    pub min: Duration,
    /// RTO.Max.
    pub max: Duration,
}

/// Parameters of an association (RFC 6458 §8.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssocParams {
    /// Association.Max.Retrans; 0 leaves it.
    pub max_retransmissions: u16,
    /// How many addresses the peer has. Cannot be set.
    pub peer_destinations: u16,
    /// What the peer can still take, in bytes. Cannot be set.
    pub peer_rwnd_bytes: u32,
    /// What we can still take, in bytes. Cannot be set.
    pub local_rwnd_bytes: u32,
    /// Valid.Cookie.Life, in whole milliseconds; 0 leaves it.
    pub cookie_life: Duration,
}

/// What we ask for when an association is set up (RFC 6458 §8.1.3). Zeros leave what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InitMsg {
    /// Streams that we want to send on.
    pub outbound_streams: u16,
    /// Streams that the peer may send on, at most.
    pub max_inbound_streams: u16,
    /// Max.Init.Retransmits.
    pub max_attempts: u16,
    /// RTO.Max for INIT, in whole milliseconds, at most 65,535.
    pub max_timeout: Duration,
}

/// A kind of notification that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// [`AssocChange`](super::Notification::AssocChange).
    AssocChange,
    /// [`PeerAddrChange`](super::Notification::PeerAddrChange).
    PeerAddrChange,
    /// [`RemoteError`](super::Notification::RemoteError).
    RemoteError,
    /// [`SendFailed`](super::Notification::SendFailed).
    SendFailed,
    /// [`Shutdown`](super::Notification::Shutdown).
    Shutdown,
    /// [`Adaptation`](super::Notification::Adaptation).
    Adaptation,
    /// [`PartialDelivery`](super::Notification::PartialDelivery).
    PartialDelivery,
    /// [`Authentication`](super::Notification::Authentication).
    Authentication,
    /// [`SenderDry`](super::Notification::SenderDry).
    SenderDry,
    /// [`StreamReset`](super::Notification::StreamReset).
    StreamReset,
    /// [`AssocReset`](super::Notification::AssocReset).
    AssocReset,
    /// [`StreamChange`](super::Notification::StreamChange).
    StreamChange,
}

impl Event {
    fn number(self) -> u16 {
        match self {
            Self::AssocChange => c::SCTP_ASSOC_CHANGE,
            Self::PeerAddrChange => c::SCTP_PEER_ADDR_CHANGE,
            Self::RemoteError => c::SCTP_REMOTE_ERROR,
            Self::SendFailed => c::SCTP_SEND_FAILED_EVENT,
            Self::Shutdown => c::SCTP_SHUTDOWN_EVENT,
            Self::Adaptation => c::SCTP_ADAPTATION_INDICATION,
            Self::PartialDelivery => c::SCTP_PARTIAL_DELIVERY_EVENT,
            Self::Authentication => c::SCTP_AUTHENTICATION_EVENT,
            Self::SenderDry => c::SCTP_SENDER_DRY_EVENT,
            Self::StreamReset => c::SCTP_STREAM_RESET_EVENT,
            Self::AssocReset => c::SCTP_ASSOC_RESET_EVENT,
            Self::StreamChange => c::SCTP_STREAM_CHANGE_EVENT,
        }
    }
}

/// When received data is acknowledged (RFC 6458 §8.1.19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedAck {
    /// At the latest after this time, in whole milliseconds, at most 500; 0 leaves it.
    pub delay: Duration,
    /// After this many packets; 1 does not wait at all, 0 leaves it.
    pub frequency: u32,
}

/// Parameters of a path (RFC 6458 §8.1.12). `None` leaves what is; all are there when asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathParams {
    /// Whether heartbeats are sent.
    pub heartbeats: Option<bool>,
    /// HB.interval, in whole milliseconds. Switches heartbeats on.
    pub heartbeat_interval: Option<Duration>,
    /// Path.Max.Retrans; 0 leaves it.
    pub max_retransmissions: Option<u16>,
    /// Whether the path MTU is found out.
    pub pmtud: Option<bool>,
    /// The path MTU, in bytes, headers included. Switches its discovery off.
    pub mtu_bytes: Option<u32>,
    /// The flow label, of IPv6 paths. A value only if one was set.
    pub flow_label: Option<u32>,
    /// The DSCP, in the high six bits. A value only if one was set.
    pub dscp: Option<u8>,
}

/// After how many errors a path changes its state (RFC 7829 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Path.Max.Retrans: inactive. 0 leaves it.
    pub max_retransmissions: u16,
    /// PotentiallyFailed.Max.Retrans.
    pub potentially_failed: u16,
    /// Primary.Switchover.Max.Retrans; 65,535 is never.
    pub primary_switchover: u16,
}

/// A time in the kernel's milliseconds.
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn from_milliseconds(time: u32) -> Duration {
    Duration::from_millis(time.into())
}

/// A path of an association, or all of them.
pub(super) fn path_storage(path: Option<(Address, u16)>) -> libc::sockaddr_storage {
    path.map_or_else(address::no_address, |(address, port)| address::to_storage(address, port))
}

/// Options that are integers: what sets one, and what asks for it.
macro_rules! integers {
    ($($(#[$doc:meta])* $set:ident $get:ident $option:ident $type:ty;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            /// What the kernel says.
            pub fn $set(&self, value: $type) -> io::Result<()> {
                self.set(c::$option, &(<u32>::from(value) as libc::c_int))
            }

            #[doc = concat!("What [`", stringify!($set), "`](Self::", stringify!($set), ") sets.")]
            ///
            /// # Errors
            /// What the kernel says.
            pub fn $get(&self) -> io::Result<$type> {
                self.get::<libc::c_int>(c::$option, 0).map(Integer::from_kernel)
            }
        )*
    };
}

/// What an option that is an integer means.
trait Integer {
    fn from_kernel(value: libc::c_int) -> Self;
}

impl Integer for bool {
    fn from_kernel(value: libc::c_int) -> Self {
        value != 0
    }
}

impl Integer for u32 {
    fn from_kernel(value: libc::c_int) -> Self {
        value as Self
    }
}

/// Options of the socket; those that concern associations concern its future ones, and that of a
/// socket that was peeled off.
impl SctpSocket {
    integers! {
        /// Whether small messages are sent at once instead of together with later ones. Off by default.
        set_nodelay nodelay SCTP_NODELAY bool;
        /// Whether messages of different associations (1), or of different streams too (2), may take
        /// turns in partial deliveries (RFC 6458 §8.1.20). 0 by default.
        set_fragment_interleave fragment_interleave SCTP_FRAGMENT_INTERLEAVE u32;
        /// From how many bytes on a message that is not complete is delivered in part; 0 by default,
        /// which is only when the receive buffer is full.
        set_partial_delivery_point partial_delivery_point SCTP_PARTIAL_DELIVERY_POINT u32;
        /// Whether what is received comes with [`RcvInfo`](super::RcvInfo). Off by default.
        set_receive_info receive_info SCTP_RECVRCVINFO bool;
        /// Whether what is received comes with [`NxtInfo`](super::NxtInfo). Off by default.
        set_next_info next_info SCTP_RECVNXTINFO bool;
        /// Whether an IPv6 socket shows IPv4 addresses as mapped ones. On by default, and of no matter
        /// here, where mapped addresses are IPv4 anyway.
        set_mapped_v4 mapped_v4 SCTP_I_WANT_MAPPED_V4_ADDR bool;
        /// The adaptation code point that the peer is told (RFC 5061 §4.2.6).
        set_adaptation_layer adaptation_layer SCTP_ADAPTATION_LAYER u32;
        /// After how many idle seconds an association is shut down; 0, the default, is never. Not for
        /// sockets that were peeled off.
        set_autoclose autoclose SCTP_AUTOCLOSE u32;
    }

    /// Sets what we ask for when an association is set up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_initmsg(&self, init: InitMsg) -> io::Result<()> {
        let value = abi::sctp_initmsg {
            sinit_num_ostreams: init.outbound_streams,
            sinit_max_instreams: init.max_inbound_streams,
            sinit_max_attempts: init.max_attempts,
            sinit_max_init_timeo: u16::try_from(init.max_timeout.as_millis()).unwrap_or(u16::MAX),
        };
        self.set(c::SCTP_INITMSG, &value)
    }

    /// What we ask for when an association is set up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn initmsg(&self) -> io::Result<InitMsg> {
        let zero = abi::sctp_initmsg {
            sinit_num_ostreams: 0,
            sinit_max_instreams: 0,
            sinit_max_attempts: 0,
            sinit_max_init_timeo: 0,
        };
        let value = self.get(c::SCTP_INITMSG, zero)?;
        Ok(InitMsg {
            outbound_streams: value.sinit_num_ostreams,
            max_inbound_streams: value.sinit_max_instreams,
            max_attempts: value.sinit_max_attempts,
            max_timeout: from_milliseconds(value.sinit_max_init_timeo.into()),
        })
    }
}

/// Options of an association, or of those to come ([`AssocId::FUTURE`]).
impl SctpSocket {
    /// Sets which notifications come.
    ///
    /// # Errors
    /// What the kernel says; some may be set then.
    pub fn set_events(&self, association: AssocId, events: &[Event], on: bool) -> io::Result<()> {
        for event in events {
            let (se_assoc_id, se_type) = (association.0, event.number());
            self.set(c::SCTP_EVENT, &abi::sctp_event { se_assoc_id, se_type, se_on: on.into() })?;
        }
        Ok(())
    }

    /// Whether a notification comes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn event(&self, association: AssocId, event: Event) -> io::Result<bool> {
        let question = abi::sctp_event { se_assoc_id: association.0, se_type: event.number(), se_on: 0 };
        Ok(self.get(c::SCTP_EVENT, question)?.se_on != 0)
    }

    /// Sets the bounds of the retransmission timeout. Zeros leave what is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_rto(&self, association: AssocId, rto: Rto) -> io::Result<()> {
        let value = abi::sctp_rtoinfo {
            srto_assoc_id: association.0,
            srto_initial: milliseconds(rto.initial),
            srto_max: milliseconds(rto.max),
            srto_min: milliseconds(rto.min),
        };
        self.set(c::SCTP_RTOINFO, &value)
    }

    /// The bounds of the retransmission timeout.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn rto(&self, association: AssocId) -> io::Result<Rto> {
        let question = abi::sctp_rtoinfo { srto_assoc_id: association.0, srto_initial: 0, srto_max: 0, srto_min: 0 };
        let value = self.get(c::SCTP_RTOINFO, question)?;
        Ok(Rto {
            initial: from_milliseconds(value.srto_initial),
            min: from_milliseconds(value.srto_min),
            max: from_milliseconds(value.srto_max),
        })
    }

    /// Sets parameters of an association.
    ///
    /// # Errors
    /// What the kernel says: among others, EINVAL for more retransmissions than all paths together have.
    pub fn set_assoc_params(&self, association: AssocId, params: AssocParams) -> io::Result<()> {
        let value = abi::sctp_assocparams {
            sasoc_assoc_id: association.0,
            sasoc_asocmaxrxt: params.max_retransmissions,
            sasoc_number_peer_destinations: 0,
            sasoc_peer_rwnd: 0,
            sasoc_local_rwnd: 0,
            sasoc_cookie_life: milliseconds(params.cookie_life),
        };
        self.set(c::SCTP_ASSOCINFO, &value)
    }

    /// Parameters of an association.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn assoc_params(&self, association: AssocId) -> io::Result<AssocParams> {
        let question = abi::sctp_assocparams {
            sasoc_assoc_id: association.0,
            sasoc_asocmaxrxt: 0,
            sasoc_number_peer_destinations: 0,
            sasoc_peer_rwnd: 0,
            sasoc_local_rwnd: 0,
            sasoc_cookie_life: 0,
        };
        let value = self.get(c::SCTP_ASSOCINFO, question)?;
        Ok(AssocParams {
            max_retransmissions: value.sasoc_asocmaxrxt,
            peer_destinations: value.sasoc_number_peer_destinations,
            peer_rwnd_bytes: value.sasoc_peer_rwnd,
            local_rwnd_bytes: value.sasoc_local_rwnd,
            cookie_life: from_milliseconds(value.sasoc_cookie_life),
        })
    }

    /// Sets when received data is acknowledged.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_delayed_ack(&self, association: AssocId, ack: DelayedAck) -> io::Result<()> {
        let value = abi::sctp_sack_info {
            sack_assoc_id: association.0,
            sack_delay: milliseconds(ack.delay),
            sack_freq: ack.frequency,
        };
        self.set(c::SCTP_DELAYED_SACK, &value)
    }

    /// When received data is acknowledged.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn delayed_ack(&self, association: AssocId) -> io::Result<DelayedAck> {
        let question = abi::sctp_sack_info { sack_assoc_id: association.0, sack_delay: 0, sack_freq: 0 };
        let value = self.get(c::SCTP_DELAYED_SACK, question)?;
        Ok(DelayedAck { delay: from_milliseconds(value.sack_delay), frequency: value.sack_freq })
    }

    /// Sets how many packets may leave at once (RFC 6458 §8.1.24).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_max_burst(&self, association: AssocId, packets: u32) -> io::Result<()> {
        self.set_value(c::SCTP_MAX_BURST, association, packets)
    }

    /// How many packets may leave at once.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn max_burst(&self, association: AssocId) -> io::Result<u32> {
        self.value(c::SCTP_MAX_BURST, association)
    }

    /// Sets how large, in bytes, a DATA chunk's data may be (RFC 6458 §8.1.16); 0, the default: as
    /// large as the path allows.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_max_segment(&self, association: AssocId, bytes: u32) -> io::Result<()> {
        self.set_value(c::SCTP_MAXSEG, association, bytes)
    }

    /// How large, in bytes, a DATA chunk's data may be.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn max_segment(&self, association: AssocId) -> io::Result<u32> {
        self.value(c::SCTP_MAXSEG, association)
    }

    fn set_value(&self, option: libc::c_int, association: AssocId, assoc_value: u32) -> io::Result<()> {
        self.set(option, &abi::sctp_assoc_value { assoc_id: association.0, assoc_value })
    }

    fn value(&self, option: libc::c_int, association: AssocId) -> io::Result<u32> {
        let question = abi::sctp_assoc_value { assoc_id: association.0, assoc_value: 0 };
        self.get(option, question).map(|value| value.assoc_value)
    }
}
