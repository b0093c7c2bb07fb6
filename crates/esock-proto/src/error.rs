//! One small enum per operation, each saying what the caller can do.

use crate::capability::Capability;
use crate::types::{Address, EndpointId, StreamId};
use bytes::Bytes;
use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident)*) => { $(impl std::error::Error for $name {})* };
}

/// Why an endpoint could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// Another endpoint of this stack has the port on an overlapping address.
    InUse {
        /// The endpoint that has it.
        by: EndpointId,
        /// The port.
        port: u16,
    },
    /// Every ephemeral port is taken.
    NoFreePort,
    /// The configuration cannot work.
    Config(ConfigError),
}

/// Why an association could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// No such endpoint (it was closed).
    NoEndpoint,
    /// No address was given.
    NoAddress,
    /// An address that no peer can have: multicast, broadcast, unspecified, or this very endpoint.
    BadAddress(Address),
    /// The peer's port is 0.
    BadPort,
    /// The endpoint already has an association with that peer.
    Exists,
    /// The configuration cannot work.
    Config(ConfigError),
    /// This backend cannot do what was asked for.
    Unsupported(Capability),
    /// The system refused.
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        problem: String,
    },
}

/// Why a message was not taken. It comes back with the error, see [`Rejected`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The send buffer is full: wait for [`Event::Writable`](crate::Event::Writable).
    Full,
    /// The message is larger than the send buffer can ever hold.
    TooLarge {
        /// The message, in bytes.
        len: usize,
        /// The most that fits, in bytes.
        limit: usize,
    },
    /// The message is empty; SCTP has no empty messages (RFC 9260 §3.3.1).
    Empty,
    /// No such outbound stream.
    BadStream {
        /// The one asked for.
        stream: StreamId,
        /// How many were negotiated: valid identifiers are below.
        count: u16,
    },
    /// The association is shutting down.
    ShuttingDown,
    /// A supervised association is not up at the moment, and keeping messages meanwhile was not asked for.
    NotConnected,
    /// This backend cannot do what the options ask for.
    Unsupported(Capability),
    /// The association has ended, or never was.
    Closed,
}

/// Why something could not be done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// No such association or path, or the association has ended.
    NotFound,
    /// This backend cannot do it.
    Unsupported(Capability),
}

/// A message that was not taken, and why.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Why.
    pub error: SendError,
    /// The payload, as given.
    pub payload: Bytes,
}

/// Why a configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it and what to do.
    pub problem: String,
}

/// No such association or path, or the association has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFound;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { port, .. } => {
                write!(f, "SCTP port {port} is in use on an overlapping address")
            }
            Self::NoFreePort => f.write_str("no free SCTP port is left; give one"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("the endpoint has been closed"),
            Self::NoAddress => f.write_str("no peer address was given"),
            Self::BadAddress(address) => {
                write!(f, "{address} cannot be a peer's address here: use a unicast address of another endpoint")
            }
            Self::BadPort => f.write_str("the peer's SCTP port is 0; give the port it listens on"),
            Self::Exists => f.write_str("this endpoint already has an association with that peer"),
            Self::Config(error) => error.fmt(f),
            Self::Unsupported(capability) => unsupported(f, *capability),
            Self::System { doing, problem } => write!(f, "{doing} failed: {problem}"),
        }
    }
}

fn unsupported(f: &mut fmt::Formatter<'_>, capability: Capability) -> fmt::Result {
    write!(f, "this backend has no {capability}: do without, or choose another backend")
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => NotFound.fmt(f),
            Self::Unsupported(capability) => unsupported(f, *capability),
        }
    }
}

impl From<NotFound> for PathError {
    fn from(_: NotFound) -> Self {
        Self::NotFound
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the send buffer is full"),
            Self::TooLarge { len, limit } => {
                write!(f, "a message of {len} bytes is larger than the {limit} bytes allowed (Config::send_buffer)")
            }
            Self::Empty => f.write_str("SCTP has no empty messages; send at least one byte"),
            Self::BadStream { stream, count } => {
                write!(
                    f,
                    "stream {} does not exist: {count} outbound streams were negotiated, 0 to {}",
                    stream.0,
                    count.saturating_sub(1)
                )
            }
            Self::ShuttingDown => f.write_str("the association is shutting down"),
            Self::NotConnected => f.write_str(
                "the association is not up at the moment: wait for its next Up event, \
                 or have messages kept meanwhile (Supervision::keep_unsent)",
            ),
            Self::Unsupported(capability) => unsupported(f, *capability),
            Self::Closed => f.write_str("the association has ended"),
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such association or path: it has ended")
    }
}

errors! { OpenError ConnectError SendError PathError Rejected ConfigError NotFound }
