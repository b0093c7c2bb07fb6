//! The candidates.

pub mod bare_udp;
pub mod esock;
pub mod esock_async;
mod esock_crowd;
pub mod esock_shards;
pub mod raw_ip;
#[cfg(feature = "peers")]
pub mod rust;
pub mod tcp;
pub mod usrsctp;

use crate::{Bulk, Plan, Rate, RoundTrips};
use esock_async::Calls;

/// A candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// UDP with GSO and GRO, no protocol.
    Udp,
    /// The kernel's TCP.
    Tcp,
    /// esock over UDP encapsulation, on its `Driver`.
    Esock,
    /// esock's API for tokio, messages handed over in batches.
    EsockBatch,
    /// esock's API for tokio, messages handed over one by one.
    EsockSingle,
    /// esock's API for tokio, each end over two shards.
    EsockShards,
    /// esock, native on raw IP, on its `Driver`.
    EsockRaw,
    /// Raw IP sockets, no protocol.
    RawIp,
    /// usrsctp over UDP encapsulation.
    Usrsctp,
    /// dcsctp, with GSO and GRO.
    #[cfg(feature = "peers")]
    Dcsctp,
    /// sctp-proto, with GSO and GRO.
    #[cfg(feature = "peers")]
    SctpProto,
    /// quinn-proto, with GSO and GRO.
    #[cfg(feature = "peers")]
    Quinn,
    /// webrtc-sctp.
    #[cfg(feature = "peers")]
    WebrtcSctp,
}

impl Peer {
    /// All there are in this build.
    pub const ALL: &[Self] = &[
        Self::Udp,
        Self::Tcp,
        Self::Esock,
        Self::EsockBatch,
        Self::EsockSingle,
        Self::EsockShards,
        Self::EsockRaw,
        Self::RawIp,
        Self::Usrsctp,
        #[cfg(feature = "peers")]
        Self::Dcsctp,
        #[cfg(feature = "peers")]
        Self::SctpProto,
        #[cfg(feature = "peers")]
        Self::Quinn,
        #[cfg(feature = "peers")]
        Self::WebrtcSctp,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Esock => "esock",
            Self::EsockBatch => "esock-batch",
            Self::EsockSingle => "esock-single",
            Self::EsockShards => "esock-shards",
            Self::EsockRaw => "esock-raw",
            Self::RawIp => "raw-ip",
            Self::Usrsctp => "usrsctp",
            #[cfg(feature = "peers")]
            Self::Dcsctp => "dcsctp",
            #[cfg(feature = "peers")]
            Self::SctpProto => "sctp-proto",
            #[cfg(feature = "peers")]
            Self::Quinn => "quinn",
            #[cfg(feature = "peers")]
            Self::WebrtcSctp => "webrtc-sctp",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Udp => "UDP with GSO and GRO, no protocol",
            Self::Tcp => "kernel TCP (write size)",
            Self::Esock => "esock, driver",
            Self::EsockBatch => "esock, tokio API, batches",
            Self::EsockSingle => "esock, tokio API, one by one",
            Self::EsockShards => "esock, tokio API, two shards an end",
            Self::EsockRaw => "esock, raw IP",
            Self::RawIp => "raw IP with sendmmsg, no protocol",
            Self::Usrsctp => "usrsctp 0.9.5",
            #[cfg(feature = "peers")]
            Self::Dcsctp => "dcsctp 0.1.16",
            #[cfg(feature = "peers")]
            Self::SctpProto => "sctp-proto 0.10.8",
            #[cfg(feature = "peers")]
            Self::Quinn => "quinn-proto 0.11.19, AES-128-GCM",
            #[cfg(feature = "peers")]
            Self::WebrtcSctp => "webrtc-sctp 0.17.2",
        }
    }

    /// Whether a ping-pong says something of its own.
    pub fn plays_ping_pong(self) -> bool {
        !matches!(self, Self::EsockBatch | Self::EsockShards | Self::EsockRaw | Self::RawIp)
    }

    /// Whether it can do without sleeping.
    pub fn spins(self) -> bool {
        matches!(self, Self::Udp | Self::Esock | Self::EsockSingle)
    }

    /// Whether several associations of it say something of their own.
    pub fn spreads(self) -> bool {
        matches!(self, Self::EsockBatch | Self::EsockShards)
    }

    /// Whether many associations of it say something of their own.
    pub fn crowds(self) -> bool {
        matches!(self, Self::Esock | Self::EsockSingle)
    }

    /// Whether it has associations.
    pub fn sets_up(self) -> bool {
        matches!(self, Self::EsockSingle | Self::Usrsctp)
    }

    /// Whether it can do without sockets and a clock, so that two are joined in memory.
    pub fn lives_in_memory(self) -> bool {
        match self {
            Self::Esock => true,
            #[cfg(feature = "peers")]
            Self::Dcsctp | Self::SctpProto => true,
            _ => false,
        }
    }

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Esock | Self::EsockBatch | Self::EsockSingle | Self::EsockShards | Self::EsockRaw)
    }

    /// The candidate with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|peer| peer.name() == name)
    }

    /// Whether it can be measured on this machine, and if not, why.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Usrsctp => usrsctp::check(),
            _ => Ok(()),
        }
    }

    /// One end sends messages, the other reads them.
    pub fn bulk(self, plan: &Plan, message_bytes: usize) -> Result<Bulk, String> {
        match self {
            Self::Udp => Ok(bare_udp::bulk(*plan, message_bytes)),
            Self::Tcp => Ok(tcp::bulk(*plan, message_bytes)),
            Self::Esock => Ok(esock::bulk(*plan, message_bytes, esock::Backend::Udp)),
            Self::EsockBatch => Ok(esock_async::bulk(plan, message_bytes, Calls::Batch)),
            Self::EsockSingle => Ok(esock_async::bulk(plan, message_bytes, Calls::Single)),
            Self::EsockShards => Err("that is measured of several associations".to_owned()),
            Self::EsockRaw => {
                raw_ip::enter_namespace()?;
                Ok(esock::bulk(*plan, message_bytes, esock::Backend::Raw))
            }
            Self::RawIp => {
                raw_ip::enter_namespace()?;
                raw_ip::bulk(plan)
            }
            Self::Usrsctp => usrsctp::bulk(plan, message_bytes),
            #[cfg(feature = "peers")]
            Self::Dcsctp => Ok(rust::bulk::<rust::dcsctp::Dcsctp>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::SctpProto => Ok(rust::bulk::<rust::sctp_proto::SctpProto>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::Quinn => Ok(rust::bulk::<rust::quinn::Quinn>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::WebrtcSctp => Ok(rust::webrtc_sctp::bulk(plan, message_bytes)),
        }
    }

    /// A message back and forth.
    pub fn ping_pong(self, plan: &Plan, message_bytes: usize) -> Result<RoundTrips, String> {
        match self {
            Self::Udp => Ok(bare_udp::ping_pong(*plan, message_bytes)),
            Self::Tcp => Ok(tcp::ping_pong(*plan, message_bytes)),
            Self::Esock => Ok(esock::ping_pong(*plan, message_bytes)),
            Self::EsockBatch | Self::EsockSingle => Ok(esock_async::ping_pong(plan, message_bytes)),
            Self::EsockShards => Err("one association is in one shard".to_owned()),
            Self::EsockRaw | Self::RawIp => Err("only bulk is measured on raw IP".to_owned()),
            Self::Usrsctp => usrsctp::ping_pong(plan, message_bytes),
            #[cfg(feature = "peers")]
            Self::Dcsctp => Ok(rust::ping_pong::<rust::dcsctp::Dcsctp>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::SctpProto => Ok(rust::ping_pong::<rust::sctp_proto::SctpProto>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::Quinn => Ok(rust::ping_pong::<rust::quinn::Quinn>(plan, message_bytes)),
            #[cfg(feature = "peers")]
            Self::WebrtcSctp => Ok(rust::webrtc_sctp::ping_pong(plan, message_bytes)),
        }
    }

    /// A message back and forth, and 16 KiB messages one way on another association.
    pub fn beside_bulk(self, plan: &Plan, message_bytes: usize) -> Result<(RoundTrips, Bulk), String> {
        match self {
            Self::EsockSingle => Ok(esock_async::beside_bulk(plan, message_bytes)),
            _ => Err("it is measured of the API for tokio".to_owned()),
        }
    }

    /// 16 KiB messages of so many associations at once.
    pub fn several(self, plan: &Plan, associations: usize) -> Result<Bulk, String> {
        match self {
            Self::EsockBatch => Ok(esock_shards::bulk(plan, associations, 1)),
            Self::EsockShards => Ok(esock_shards::bulk(plan, associations, 2)),
            _ => Err("it is measured of the API for tokio".to_owned()),
        }
    }

    /// A message back and forth on so many associations at once.
    pub fn crowd(self, plan: &Plan, message_bytes: usize, associations: usize) -> Result<(Rate, RoundTrips), String> {
        match self {
            Self::Esock => Ok(esock_crowd::on_driver(plan, message_bytes, associations)),
            Self::EsockSingle => Ok(esock_crowd::on_tokio(plan, message_bytes, associations)),
            _ => Err("it is measured of esock".to_owned()),
        }
    }

    /// Associations set up, `at_once` at a time.
    pub fn setup(self, plan: &Plan, at_once: usize) -> Result<Rate, String> {
        match self {
            Self::EsockSingle => Ok(esock_async::setup(plan, at_once)),
            Self::Usrsctp => usrsctp::setup(plan, at_once),
            _ => Err("there is nothing to set up".to_owned()),
        }
    }

    /// The same 64 at a time, where there are `existing` ones already.
    pub fn setup_among(self, plan: &Plan, existing: usize) -> Result<Rate, String> {
        match self {
            Self::EsockSingle => Ok(esock_async::setup_among(plan, existing)),
            Self::Usrsctp => usrsctp::setup_among(plan, existing),
            _ => Err("there is nothing to set up".to_owned()),
        }
    }
}
