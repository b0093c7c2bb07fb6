//! Why a socket could not be opened.

use std::{fmt, io};

/// Why a socket of the kernel's SCTP could not be opened. All else that can go wrong with one is an
/// [`io::Error`] with the kernel's error number.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenSocketError {
    /// The kernel has no SCTP: not built, its module not there, or loading it is forbidden.
    Missing(io::Error),
    /// It has, and yet there is no socket.
    System(io::Error),
}

impl OpenSocketError {
    /// Sorts what `socket` said. Without SCTP it is EPROTONOSUPPORT, or ESOCKTNOSUPPORT where no
    /// protocol has sockets of this type; without IPv6 it is EAFNOSUPPORT, which is another matter.
    pub(super) fn new(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT) => Self::Missing(error),
            _ => Self::System(error),
        }
    }
}

impl fmt::Display for OpenSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(error) => write!(
                f,
                "the kernel has no SCTP ({error}): load its module (`modprobe sctp`, as root), \
                 or use the backend `udp` or `raw`"
            ),
            Self::System(error) => write!(f, "an SCTP socket of the kernel could not be opened: {error}"),
        }
    }
}

impl std::error::Error for OpenSocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Missing(error) | Self::System(error) => Some(error),
        }
    }
}
