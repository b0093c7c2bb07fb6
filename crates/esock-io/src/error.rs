//! One enum per operation, each saying what to do.

use crate::config::{Backend, Protocol};
use esock_proto::{Address, OpenError};
use std::{fmt, io};

/// Why a driver could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum DriverError {
    /// Somebody else has the UDP port that we are to listen on.
    UdpPortInUse {
        /// The port.
        port: u16,
        /// Where.
        address: Address,
    },
    /// Raw IP is not permitted to this process.
    RawNotPermitted(io::Error),
    /// Raw IP is not supported on this system.
    RawUnsupported,
    /// The kernel's own SCTP is loaded and would abort our associations.
    KernelSctp {
        /// Where it was seen.
        seen_in: String,
    },
    /// An address cannot be bound.
    Bind {
        /// The address.
        address: Address,
        /// The UDP port, `None` for raw IP.
        udp_port: Option<u16>,
        /// What the system said.
        error: io::Error,
    },
    /// The kernel has no SCTP, or forbids its use.
    #[cfg(target_os = "linux")]
    KernelMissing(crate::kernel::OpenSocketError),
    /// This backend does not speak this protocol, or does not exist on this system.
    Unsupported {
        /// The protocol.
        protocol: Protocol,
        /// The backend.
        backend: Backend,
    },
    /// Several shards are for our own stack only.
    NoShards {
        /// The protocol.
        protocol: Protocol,
        /// The backend.
        backend: Backend,
    },
    /// A socket could not be made or set up.
    Socket {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UdpPortInUse { port, address } => write!(
                f,
                "UDP port {port} on {address} is in use, so SCTP over UDP cannot be received there: \
                 choose another port with UdpPort::Listen (`--udp-port` on the command line) and tell the peers \
                 (their `--encap-port`), or end the program that has it"
            ),
            Self::RawNotPermitted(error) => write!(
                f,
                "raw IP is not permitted ({error}): run as root or with CAP_NET_RAW, or use the backend `udp`"
            ),
            Self::RawUnsupported => f.write_str("raw IP is supported on Linux only: use the backend `udp`"),
            Self::KernelSctp { seen_in } => write!(
                f,
                "the kernel's own SCTP is loaded ({seen_in}) and would answer our packets with ABORT: \
                 unload it (`rmmod sctp`), or use the backend `udp`"
            ),
            Self::Bind { address, udp_port: Some(port), error } => {
                write!(f, "cannot bind {address}, UDP port {port}: {error}")
            }
            Self::Bind { address, udp_port: None, error } => {
                write!(f, "cannot bind {address} for raw IP: {error}")
            }
            #[cfg(target_os = "linux")]
            Self::KernelMissing(error) => error.fmt(f),
            Self::Unsupported { protocol: Protocol::Tcp, backend } => {
                write!(f, "TCP is the operating system's: use the backend `kernel` or `auto` with it, not `{backend}`")
            }
            Self::Unsupported { protocol, backend } => {
                write!(f, "the backend `{backend}` for `{protocol}` does not exist on this system: use `udp`")
            }
            Self::NoShards { protocol, backend } => write!(
                f,
                "several shards are for our own SCTP stack: use the backend `udp` or `raw` with them, or one shard with the \
                 backend `{backend}` and the protocol `{protocol}`"
            ),
            Self::Socket { doing, error } => write!(f, "{doing} failed: {error}"),
        }
    }
}

impl std::error::Error for DriverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::RawNotPermitted(error) | Self::Bind { error, .. } | Self::Socket { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why an SCTP port could not be claimed on raw IP.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClaimError {
    /// Another process (or another driver of this one) has it.
    InUse {
        /// The SCTP port.
        port: u16,
    },
    /// The claim could not be made.
    System {
        /// The SCTP port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { port } => write!(
                f,
                "SCTP port {port} is in use on raw IP by another esock program: choose another port, \
                 or end the program that has it"
            ),
            Self::System { port, error } => {
                write!(f, "SCTP port {port} could not be claimed on raw IP: {error}")
            }
        }
    }
}

impl std::error::Error for ClaimError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            Self::InUse { .. } => None,
        }
    }
}

/// Why an endpoint could not be opened on a driver.
#[derive(Debug)]
#[non_exhaustive]
pub enum EndpointError {
    /// The stack says no.
    Open(OpenError),
    /// The port could not be claimed.
    Claim(ClaimError),
    /// The kernel gave no SCTP socket.
    #[cfg(target_os = "linux")]
    Kernel {
        /// Why.
        error: crate::kernel::OpenSocketError,
    },
    /// An address and port cannot be bound.
    Bind {
        /// The address; `None` for all of the host's.
        address: Option<Address>,
        /// The port.
        port: u16,
        /// What the system said.
        error: io::Error,
    },
    /// A socket could not be made or set up.
    Socket {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Claim(error) => error.fmt(f),
            #[cfg(target_os = "linux")]
            Self::Kernel { error } => error.fmt(f),
            Self::Bind { address: Some(address), port, error } => {
                write!(f, "cannot bind {address}, port {port}: {error}")
            }
            Self::Bind { address: None, port, error } => write!(f, "cannot bind port {port}: {error}"),
            Self::Socket { doing, error } => write!(f, "{doing} failed: {error}"),
        }
    }
}

impl std::error::Error for EndpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Claim(error) => Some(error),
            #[cfg(target_os = "linux")]
            Self::Kernel { error } => Some(error),
            Self::Bind { error, .. } | Self::Socket { error, .. } => Some(error),
        }
    }
}
