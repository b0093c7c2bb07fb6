//! What a driver is asked for.

use esock_proto::{Address, StackConfig};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The UDP port registered for SCTP over UDP (RFC 6951 §7).
pub const ENCAPSULATION_PORT: u16 = 9899;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// SCTP (RFC 9260).
    #[default]
    Sctp,
    /// TCP: one stream, one path; see [`TcpFraming`].
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sctp => "sctp",
            Self::Tcp => "tcp",
        })
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "sctp" => Ok(Self::Sctp),
            "tcp" => Ok(Self::Tcp),
            _ => Err(format!("no protocol is called `{name}`: use sctp or tcp")),
        }
    }
}

/// How messages travel over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TcpFraming {
    /// Each message with a header, so that its boundaries, stream and PPID survive. Both ends must be esock.
    #[default]
    Framed,
    /// Bytes as they come, on stream 0: for peers that speak plain TCP.
    Raw,
}

/// Which way packets leave the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Backend {
    /// The kernel's SCTP where it is loaded, else raw IP where it is permitted, else UDP;
    /// [`Chosen`](crate::Chosen) says which and why.
    #[default]
    Auto,
    /// The SCTP (or TCP) of the operating system's kernel.
    Kernel,
    /// Native SCTP on raw IP (protocol 132), and UDP encapsulation as well. Needs Linux and `CAP_NET_RAW`.
    Raw,
    /// UDP encapsulation only (RFC 6951). Needs no privileges.
    Udp,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Raw => "raw",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "kernel" => Ok(Self::Kernel),
            "raw" => Ok(Self::Raw),
            "udp" => Ok(Self::Udp),
            _ => Err(format!("no backend is called `{name}`: use auto, kernel, raw or udp")),
        }
    }
}

/// Which UDP port packets are encapsulated from (RFC 6951 §5.1: one for the whole stack).
///
/// A port is never shared with other programs: `SO_REUSEPORT` would hide a clash. Drivers that have a
/// [`Seat`](crate::Seat) share it among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UdpPort {
    /// [`UdpPort::Prefer`] of [`ENCAPSULATION_PORT`].
    #[default]
    Auto,
    /// This port, for who listens: if somebody has it, [`Driver::open`](crate::Driver::open) fails.
    /// Beside raw IP a clash is a warning only, and an ephemeral port is used. 0 is [`UdpPort::Ephemeral`].
    Listen(u16),
    /// This port if it is free, else an ephemeral one: for who only connects.
    Prefer(u16),
    /// A port that the system chooses.
    Ephemeral,
}

/// What a [`Driver`](crate::Driver) is opened with.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DriverConfig {
    /// Which way packets leave the host. `Auto`.
    pub backend: Backend,
    /// The UDP port. `Auto`.
    pub udp_port: UdpPort,
    /// The addresses that sockets are bound to; empty for the wildcards of IPv4 and IPv6. Empty.
    ///
    /// Every endpoint of this driver shares these sockets, so an endpoint can only have addresses
    /// that are among them.
    pub addresses: Vec<Address>,
    /// For the stack; `native` is set by the driver.
    pub stack: StackConfig,
    /// The seed of all tags, nonces and jitter: for tests. `None`: the system's randomness.
    pub seed: Option<[u8; 32]>,
    /// Its place among several drivers that share the UDP port. `None`: it has the port alone.
    pub seat: Option<crate::Seat>,
    /// How messages travel where the protocol is TCP. Framed.
    pub tcp_framing: TcpFraming,
    /// `SO_RCVBUF` of each socket, in bytes; the system may allow less. 4 MiB.
    pub receive_buffer_bytes: usize,
    /// `SO_SNDBUF` of each socket, in bytes; the system may allow less. 4 MiB.
    pub send_buffer_bytes: usize,
    /// How long [`Driver::wait`](crate::Driver::wait) does not wait after something has come or gone, so that its caller
    /// looks at the sockets again and again: what comes meanwhile is received some ten microseconds earlier, and a core is
    /// kept busy. `None`: it sleeps at once.
    pub busy_poll: Option<Duration>,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            backend: Backend::Auto,
            udp_port: UdpPort::Auto,
            addresses: Vec::new(),
            stack: StackConfig::default(),
            seed: None,
            seat: None,
            tcp_framing: TcpFraming::default(),
            receive_buffer_bytes: 4 << 20,
            send_buffer_bytes: 4 << 20,
            busy_poll: None,
        }
    }
}
