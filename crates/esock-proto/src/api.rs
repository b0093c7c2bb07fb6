//! The vocabulary that users of a stack speak: messages, events, what was negotiated.
//! Other backends (kernel SCTP, TCP) speak it too.

use crate::types::{Address, AssocId, EndpointId, PathId, Ppid, StreamId};
use crate::{Ssn, Tsn};
use bytes::Bytes;
use std::time::Duration;

/// How a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendOptions {
    /// The stream; 0 by default.
    pub stream: StreamId,
    /// The payload protocol identifier; 0 (unspecified) by default.
    pub ppid: Ppid,
    /// Deliver as soon as it has arrived, outside the stream's order (RFC 9260 §6.6).
    pub unordered: bool,
    /// Ask the peer to acknowledge at once (the I bit, RFC 7053).
    pub sack_immediately: bool,
    /// Comes back with the message if it is not delivered; never sent.
    pub context: u64,
    /// How long the message is worth sending: if nothing of it has left by then, it is given up and comes back as
    /// [`Event::Expired`] (RFC 9260 §11.1.5 e). `None`: for ever.
    pub lifetime: Option<Duration>,
    /// The path that the message is to go over, instead of the one that is in use. While that path is not active, the
    /// one in use carries it; what is lost may be sent again over any (RFC 9260 §6.4). `None`: the one in use.
    pub path: Option<PathId>,
}

/// A message that has arrived, or a part of one: see [`Message::part`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The stream.
    pub stream: StreamId,
    /// The payload protocol identifier.
    pub ppid: Ppid,
    /// The stream sequence number; meaningless when `unordered`.
    pub ssn: Ssn,
    /// The transmission sequence number of the first fragment, or of a piece's first.
    pub tsn: Tsn,
    /// Sent outside its stream's order.
    pub unordered: bool,
    /// The path that the last fragment came over.
    pub path: PathId,
    /// How much of the message this is. All of it, unless [`Config::partial_delivery`](crate::Config::partial_delivery)
    /// is on.
    pub part: Part,
    /// The user data. Up to 256 bytes of it may share a block of memory with other small messages of the same packet,
    /// which is given back with the last of them: who keeps a few of many for long had better copy those.
    pub payload: Bytes,
}

impl Message {
    /// A message as a backend without TSNs receives it: in its stream's order, over the first path.
    pub fn new(stream: StreamId, ppid: Ppid, payload: Bytes) -> Self {
        Self { stream, ppid, ssn: Ssn(0), tsn: Tsn(0), unordered: false, path: PathId(0), part: Part::Whole, payload }
    }
}

/// How much of a message has arrived (RFC 9260 §6.9). Pieces of one message come one after the other, with no other
/// message of their association between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// A piece; more follows.
    More,
    /// The last piece.
    Last,
    /// The last piece that will ever come of a message that has no end: the association has ended, or the peer has
    /// restarted. It may be empty.
    Cut,
}

impl Part {
    /// Whether the message ends here, as its sender ended it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Whole | Self::Last)
    }
}

/// A message that was not acknowledged when its association ended, or that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// Whether any of it was ever sent: the peer may have received it.
    pub maybe_received: bool,
    /// As it was sent.
    pub options: SendOptions,
    /// The user data, whole.
    pub payload: Bytes,
}

impl Undelivered {
    /// A message that comes back.
    pub fn new(maybe_received: bool, options: SendOptions, payload: Bytes) -> Self {
        Self { maybe_received, options, payload }
    }
}

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Negotiated {
    /// Streams that we may send on: the smaller of what we asked for and the peer allows.
    pub outbound_streams: u16,
    /// Streams that the peer may send on.
    pub inbound_streams: u16,
    /// The peer's adaptation indication, if any (RFC 5061 §4.2.6).
    pub adaptation: Option<u32>,
    /// The peer's first receive window, in bytes.
    pub peer_rwnd: u32,
}

impl Negotiated {
    /// This many streams, nothing else.
    pub fn streams(outbound_streams: u16, inbound_streams: u16) -> Self {
        Self { outbound_streams, inbound_streams, ..Self::default() }
    }
}

/// The state of an association (RFC 9260 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// INIT sent.
    CookieWait,
    /// COOKIE ECHO sent.
    CookieEchoed,
    /// Data may flow both ways.
    Established,
    /// We want to end; our data is being acknowledged first.
    ShutdownPending,
    /// SHUTDOWN sent.
    ShutdownSent,
    /// The peer wants to end; our data is being acknowledged first.
    ShutdownReceived,
    /// SHUTDOWN ACK sent.
    ShutdownAckSent,
    /// Ended. What has arrived can still be read.
    Closed,
}

/// The state of a path (RFC 9260 §8.2, RFC 7829).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathState {
    /// Not yet confirmed by a HEARTBEAT ACK (RFC 9260 §5.4); carries no data.
    Unconfirmed,
    /// In use.
    Active,
    /// Errors beyond the PF threshold: used only if there is nothing better.
    PotentiallyFailed,
    /// Errors beyond Path.Max.Retrans.
    Inactive,
}

/// Why an association ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// SHUTDOWN, by either end: everything sent was acknowledged.
    Shutdown,
    /// We sent ABORT, as asked.
    LocalAbort,
    /// The peer sent ABORT.
    PeerAbort {
        /// The first error cause's code (RFC 9260 §3.3.10), if there was one.
        cause: Option<u16>,
        /// The user's reason of a User-Initiated Abort, else the cause's own bytes.
        info: Bytes,
    },
    /// The peer refused the association: ABORT in answer to INIT or COOKIE ECHO.
    Refused {
        /// The first error cause's code, if there was one.
        cause: Option<u16>,
        /// As in `PeerAbort`.
        info: Bytes,
    },
    /// No answer: association retries or INIT retries used up (RFC 9260 §8.1, §4).
    TimedOut,
    /// The peer broke the protocol; we sent ABORT with this cause code.
    ProtocolViolation {
        /// The error cause's code.
        cause: u16,
        /// What was wrong.
        detail: &'static str,
    },
    /// The peer sent a message larger than `Config::max_message`, and partial delivery is off; we sent ABORT "Out of Resource".
    MessageTooLarge,
    /// ICMP said that nobody is there, while in COOKIE-WAIT.
    Unreachable,
    /// The endpoint was closed.
    EndpointClosed,
    /// The endpoint's sockets failed.
    DriverFailed,
    /// A supervised association could not even be tried.
    NotAttempted {
        /// Why.
        problem: String,
    },
}

/// What happens on an association.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It is up: ours was answered, or the incoming one that was accepted is ready.
    Up(Negotiated),
    /// Messages wait; told once until they have all been read.
    Readable,
    /// The send buffer has room again after [`SendError::Full`](crate::SendError::Full).
    Writable,
    /// A path changed its state.
    Path {
        /// Which.
        path: PathId,
        /// The peer's address.
        remote: Address,
        /// Its new state.
        state: PathState,
    },
    /// New data now goes over this path.
    PathInUse {
        /// Which.
        path: PathId,
        /// The peer's address.
        remote: Address,
    },
    /// The peer restarted: it has forgotten everything, streams begin anew (RFC 9260 §5.2.4 A).
    /// What was not acknowledged has come back as `Undelivered` before.
    Restarted(Negotiated),
    /// The peer wants to end: nothing more can be sent.
    ShutdownReceived,
    /// The peer reported an error that does not end the association (ERROR chunk).
    PeerError {
        /// The cause's code.
        cause: u16,
        /// The cause's own bytes.
        info: Bytes,
    },
    /// A message that was not delivered.
    Undelivered(Undelivered),
    /// A message whose lifetime passed before any of it was sent.
    Expired(Undelivered),
    /// Everything that was taken has been acknowledged; told once after
    /// [`Stack::tell_when_drained`](crate::Stack::tell_when_drained).
    Drained,
    /// A supervised association is not up: it ended, or an attempt to make it failed. It is tried again.
    Down {
        /// Why it ended, or why the attempt failed.
        reason: CloseReason,
        /// Failed attempts in a row; 0 when it had been up.
        failures: u32,
        /// When the next attempt is made, from now.
        retry_in: Duration,
    },
    /// It has ended; the last event.
    Closed(CloseReason),
}

/// A peer whose COOKIE ECHO was valid: the facts of its INIT, no association yet.
///
/// Hand it back with [`Stack::accept`](crate::Stack::accept), [`Stack::refuse`](crate::Stack::refuse)
/// or [`Stack::ignore`](crate::Stack::ignore).
#[derive(Debug)]
pub struct Incoming {
    pub(crate) endpoint: EndpointId,
    pub(crate) facts: Box<crate::stack::IncomingFacts>,
}

/// Where to connect, see [`Stack::connect`](crate::Stack::connect).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// The peer's addresses, at least one; the first is the primary path.
    pub addresses: Vec<Address>,
    /// The peer's SCTP port.
    pub port: u16,
    /// How packets travel.
    pub encapsulation: Encapsulation,
}

/// How packets to a peer travel until it shows otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encapsulation {
    /// Native SCTP over IP.
    Native,
    /// In UDP, to this port of the peer (RFC 6951; 9899 is the registered one).
    Udp(u16),
    /// Native first, the same INIT in UDP to this port 250 ms later; what the first valid INIT ACK used wins.
    Both(u16),
    /// UDP port 9899.
    #[default]
    Default,
}

/// Whose event it is, and what happened.
pub type AssocEvent = (AssocId, Event);
