//! Why an operation failed, and what to do.

use crate::{CloseReason, Endpoint};
use esock_io::{DriverError, EndpointError};
use std::fmt;

/// Why an endpoint could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// An endpoint of this process (of this [`Context`](crate::Context)) has the protocol and the port on an
    /// overlapping address. This is it.
    AlreadyOpen(Endpoint),
    /// Its sockets could not be opened.
    Driver(DriverError),
    /// Its SCTP port or its configuration cannot be used.
    Endpoint(EndpointError),
    /// The runtime refused to watch the sockets.
    Runtime(std::io::Error),
}

/// Why an association could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// What was asked for cannot be.
    Invalid(esock_proto::ConnectError),
    /// It ended before it was up: refused, timed out, or aborted.
    Closed(CloseReason),
}

/// Why nobody can be accepted any more: the endpoint was closed, or its sockets failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyOpen(endpoint) => write!(
                f,
                "{} port {} is already open in this process on an overlapping address: use that endpoint, \
                 close it first, or choose another port",
                endpoint.protocol().to_string().to_uppercase(),
                endpoint.port()
            ),
            Self::Driver(error) => error.fmt(f),
            Self::Endpoint(error) => error.fmt(f),
            Self::Runtime(error) => write!(f, "the runtime cannot watch the sockets: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AlreadyOpen(_) => None,
            Self::Driver(error) => Some(error),
            Self::Endpoint(error) => Some(error),
            Self::Runtime(error) => Some(error),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Closed(CloseReason::Refused { .. }) => f.write_str("the peer refused the association"),
            Self::Closed(CloseReason::TimedOut) => f.write_str("the peer did not answer"),
            Self::Closed(CloseReason::Unreachable) => {
                f.write_str("nobody is there: the network reports the peer unreachable")
            }
            Self::Closed(reason) => write!(f, "the association ended before it was up: {reason:?}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the endpoint has been closed")
    }
}

impl std::error::Error for AcceptError {}
