//! Socket options: what a socket is told of how to behave, and what it is asked (RFC 6458 §8, socket(7)).

mod addresses;
mod association;
mod extensions;
mod messages;
mod parameters;
mod paths;
mod scope;
mod sctp;
mod system;

use crate::engine::{AssocSettings, Engine, SendDefaults, SocketId};
use crate::errno::Errno;
use crate::stamp::Stamps;
use crate::sysctl::Sysctl;
use esock_io::kernel::abi::{self, Structure};
use esock_proto::{Address, Config, Encapsulation};
pub use parameters::{Parameters, PathSettings};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How a call ends.
type Outcome = Result<crate::engine::Reply, Errno>;

/// What a socket has been told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For associations to come; each begins with a copy.
    pub association: AssocSettings,
    /// SCTP_INITMSG.
    pub init: abi::sctp_initmsg,
    /// SO_RCVBUF and SO_SNDBUF as they are told: twice what was asked for.
    pub receive_buffer: usize,
    /// See `receive_buffer`.
    pub send_buffer: usize,
    /// SO_RCVBUF was set.
    pub receive_buffer_set: bool,
    /// SO_RCVTIMEO and SO_SNDTIMEO; none is for ever.
    pub receive_timeout: Option<Duration>,
    /// See `receive_timeout`.
    pub send_timeout: Option<Duration>,
    /// SO_LINGER.
    pub linger: Option<Duration>,
    /// SO_REUSEADDR.
    pub reuse: bool,
    /// SO_TIMESTAMP, SO_TIMESTAMPNS.
    pub stamps: Stamps,
    /// IP_FREEBIND.
    pub freebind: bool,
    /// IPV6_V6ONLY.
    pub v6_only: bool,
    /// SCTP_I_WANT_MAPPED_V4_ADDR.
    pub mapped: bool,
    /// SCTP_DISABLE_FRAGMENTS.
    pub no_fragments: bool,
    /// SCTP_NODELAY: kept and told, messages are never held back.
    pub no_delay: bool,
    /// SCTP_FRAGMENT_INTERLEAVE.
    pub fragment_interleave: bool,
    /// SCTP_PARTIAL_DELIVERY_POINT; 0 is none.
    pub partial_delivery_point: u32,
    /// SCTP_ADAPTATION_LAYER.
    pub adaptation: u32,
    /// SCTP_AUTO_ASCONF: kept and told.
    pub auto_asconf: bool,
    /// SCTP_REUSE_PORT: as SO_REUSEADDR (Linux).
    pub reuse_port: bool,
    /// SCTP_RECVRCVINFO.
    pub tell_received: bool,
    /// SCTP_RECVNXTINFO.
    pub tell_next: bool,
    /// SCTP_REMOTE_UDP_ENCAPS_PORT.
    pub encapsulation: Option<Encapsulation>,
    /// Integers that are kept and told, and change nothing: IP_TOS, SO_KEEPALIVE and their like.
    pub kept: HashMap<(i32, i32), i32>,
}

impl Settings {
    /// What a socket begins with.
    pub fn new(sysctl: &Sysctl) -> Self {
        let config = sysctl.config();
        let init = abi::sctp_initmsg {
            sinit_num_ostreams: 10,
            sinit_max_instreams: u16::MAX,
            sinit_max_attempts: u16::try_from(config.max_init_retransmits).unwrap_or(u16::MAX),
            sinit_max_init_timeo: u16::try_from(config.rto_max.as_millis()).unwrap_or(u16::MAX),
        };
        let size = |name| usize::try_from(sysctl.get(name)).unwrap_or(0);
        let association = AssocSettings {
            events: 0,
            send: SendDefaults::default(),
            context: 0,
            parameters: Parameters::new(sysctl),
            paths: BTreeMap::new(),
            resets: 0,
            config,
            autoclose: None,
        };
        Self {
            association,
            init,
            receive_buffer: size("rmem_default"),
            send_buffer: size("wmem_default"),
            receive_buffer_set: false,
            receive_timeout: None,
            send_timeout: None,
            linger: None,
            reuse: false,
            stamps: Stamps::Off,
            freebind: false,
            v6_only: false,
            mapped: true,
            no_fragments: false,
            no_delay: false,
            fragment_interleave: false,
            partial_delivery_point: 0,
            adaptation: 0,
            auto_asconf: false,
            reuse_port: false,
            tell_received: false,
            tell_next: false,
            encapsulation: None,
            kept: HashMap::new(),
        }
    }

    /// The stack's configuration for an association to come.
    pub fn config(&self) -> Config {
        let mut config = self.association.config.clone();
        self.association.parameters.apply(&mut config);
        crate::engine::apply_init(&self.init, &mut config);
        // Linux tells the peer of none that is 0.
        config.adaptation = Some(self.adaptation).filter(|indication| *indication != 0);
        config.send_buffer = self.stack_send_buffer();
        // Until somebody asks for less, the window is larger than Linux's.
        config.receive_window = if self.receive_buffer_set {
            u32::try_from(self.receive_buffer / 2).unwrap_or(u32::MAX).clamp(4096, 1 << 30)
        } else {
            DEFAULT_WINDOW
        };
        (config.partial_delivery, config.max_message) = (true, self.largest_whole());
        config
    }

    /// The largest message that is delivered whole: without a point, one that is not too large for the window.
    pub(crate) fn largest_whole(&self) -> usize {
        if self.partial_delivery_point == 0 { usize::MAX } else { self.partial_delivery_point as usize }
    }

    /// Whether an address need not be the host's: IP_FREEBIND, and of IPv6 also IP_TRANSPARENT, as on Linux 6.1.
    pub fn binds_elsewhere(&self, address: Address) -> bool {
        let transparent = self.kept.get(&(libc::IPPROTO_IP, libc::IP_TRANSPARENT));
        self.freebind || (!address.is_ipv4() && transparent.is_some_and(|on| *on != 0))
    }

    /// SO_REUSEPORT.
    pub fn shares_listening(&self) -> bool {
        self.kept.get(&(libc::SOL_SOCKET, libc::SO_REUSEPORT)).is_some_and(|on| *on != 0)
    }

    /// The stack's send buffer.
    pub(crate) fn stack_send_buffer(&self) -> usize {
        self.send_buffer.max(4096)
    }
}

/// The receive window of a socket whose SO_RCVBUF nobody has set, in bytes.
const DEFAULT_WINDOW: u32 = 1 << 20;

/// An option that is set to a value: an integer of at least four bytes.
fn integer(value: &[u8]) -> Result<i32, Errno> {
    i32::parse(value).ok_or(Errno::EINVAL)
}

/// An option's value that is at least as long as its structure.
fn structure<T: Structure>(value: &[u8]) -> Result<T, Errno> {
    T::parse(value).ok_or(Errno::EINVAL)
}

/// An option's value that is exactly as long as its structure.
fn exact<T: Structure>(value: &[u8]) -> Result<T, Errno> {
    if value.len() == T::BYTES { structure(value) } else { Err(Errno::EINVAL) }
}

/// An answer of four bytes, for which there must be room.
fn word(value: u32, room: usize) -> Outcome {
    if room < u32::BYTES { Err(Errno::EINVAL) } else { Ok(crate::engine::Reply::bytes(value.bytes())) }
}

/// An answer that is cut to the room that there is for it.
fn cut(mut bytes: Vec<u8>, room: usize) -> Outcome {
    bytes.truncate(room);
    Ok(crate::engine::Reply::bytes(bytes))
}

impl Engine {
    /// `setsockopt`.
    pub(crate) fn set_option(
        &mut self,
        now: esock_proto::Time,
        id: SocketId,
        level: i32,
        name: i32,
        value: &[u8],
    ) -> Outcome {
        self.socket(id)?;
        match level {
            libc::SOL_SOCKET => self.set_system_option(now, id, name, value),
            libc::IPPROTO_SCTP => self.set_sctp_option(now, id, name, value),
            libc::IPPROTO_IP | libc::IPPROTO_IPV6 => self.set_ip_option(id, level, name, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// What asking for an option of a level that nobody knows is answered with.
    fn unknown_level(&self, id: SocketId) -> Errno {
        let v4 = self.socket(id).is_ok_and(|socket| socket.family == crate::address::Family::V4);
        if v4 { Errno::EOPNOTSUPP } else { Errno::ENOPROTOOPT }
    }

    /// `getsockopt`.
    pub(crate) fn get_option(
        &mut self,
        now: esock_proto::Time,
        id: SocketId,
        level: i32,
        name: i32,
        room: i32,
        value: &[u8],
    ) -> Outcome {
        self.socket(id)?;
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        match level {
            libc::SOL_SOCKET => self.get_system_option(id, name, room),
            libc::IPPROTO_SCTP => self.get_sctp_option(now, id, name, room, value),
            libc::IPPROTO_IP | libc::IPPROTO_IPV6 => self.get_ip_option(id, level, name, room),
            _ => Err(self.unknown_level(id)),
        }
    }
}
