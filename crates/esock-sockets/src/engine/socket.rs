//! What is kept of a socket and of an association.

use super::SocketId;
use crate::address::{Family, Named};
use crate::errno::Errno;
use crate::options::{Parameters, PathSettings, Settings};
use bytes::Bytes;
use esock_proto::{Address, AssocId, Config, EndpointId, Message, Negotiated, Time, Undelivered};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

/// How many associations a socket has, and what its calls mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `SOCK_STREAM` (RFC 6458 §4).
    OneToOne,
    /// `SOCK_SEQPACKET` (RFC 6458 §3).
    OneToMany,
    /// One association of a `SOCK_SEQPACKET` socket, taken out of it (RFC 6458 §9.2).
    PeeledOff,
}

/// Where a socket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// Not connected; a one-to-many socket that does not listen stays so.
    Closed,
    /// New associations come in.
    Listening,
    /// One-to-one: connected.
    Established,
    /// One-to-one: either end has begun to shut down.
    Closing,
}

/// What waits to be read, in order.
#[derive(Debug)]
pub enum Item {
    /// A notification, whole, the peer that it is about, and the number that it tells: by then its association may be gone.
    Notification { association: i32, told: i32, from: Named, bytes: Bytes, read: usize },
    /// This many messages, which are in the association still, and when they came, if it will be told.
    Messages { association: AssocId, count: usize, came: Option<SystemTime> },
}

/// What a notification takes beside its own bytes, in a queue that has just grown.
const ITEM_BYTES: usize = 256;
/// Notifications of a socket that nobody reads take so much memory; then it gets no new peers, and is told no more of those
/// that it has but that they end.
const MOST_TOLD: usize = 16 << 20;

impl Item {
    /// The memory of a notification; messages are charged to the windows of their associations.
    pub fn told_bytes(&self) -> usize {
        match self {
            Self::Notification { bytes, .. } => ITEM_BYTES + bytes.len(),
            Self::Messages { .. } => 0,
        }
    }
}

/// A message, or piece of one, that is being read.
#[derive(Debug)]
pub struct Partial {
    pub association: AssocId,
    pub number: i32,
    pub from: Named,
    pub message: Message,
    pub read: usize,
    pub came: Option<SystemTime>,
}

/// A message of which a piece was taken and more follow.
#[derive(Debug)]
pub struct Midway {
    pub association: AssocId,
    /// The next piece is there.
    pub more: bool,
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    pub id: SocketId,
    pub family: Family,
    pub style: Style,
    pub state: SocketState,
    /// The port that it is bound to; 0 before.
    pub port: u16,
    /// The addresses that it is bound to; empty for all.
    pub addresses: Vec<Address>,
    pub endpoint: Option<EndpointId>,
    pub backlog: usize,
    pub settings: Settings,
    /// Its associations by number.
    pub associations: BTreeMap<i32, AssocId>,
    /// One-to-one and listening: those that `accept` has not taken.
    pub waiting: VecDeque<AssocId>,
    pub queue: VecDeque<Item>,
    pub partial: Option<Partial>,
    /// What is read before anything else, unless SCTP_FRAGMENT_INTERLEAVE is on.
    pub midway: Option<Midway>,
    /// Notifications that wait for the end of a message of their association that is read in pieces: nothing else does where
    /// SCTP_FRAGMENT_INTERLEAVE is on.
    pub lobby: VecDeque<Item>,
    /// The memory of all notifications in `queue` and `lobby`.
    pub told_bytes: usize,
    /// `SO_ERROR`.
    pub error: Option<Errno>,
    /// Nothing more will be read.
    pub no_more: bool,
    /// Nothing more will be sent: `shutdown` was called for sending.
    pub sent_all: bool,
    /// The send buffer is full.
    pub blocked: bool,
    /// One-to-one: `connect` is under way.
    pub connecting: bool,
    /// One-to-many: the association that `connect`, or sending, has begun last, until it is up.
    pub begun: Option<AssocId>,
    /// Somebody waits for it.
    pub awaited: bool,
    /// Where `connect` went, for `getpeername`.
    pub peer: Option<Named>,
    /// Our address towards the last peer: what `getsockname` says from then on, as on Linux.
    pub source: Option<Address>,
    /// How the last association ended, for whoever waits in `connect`.
    pub ended: Option<Errno>,
    /// Something came since readiness was last asked for.
    pub news: bool,
    /// What comes from now on is thrown away: `shutdown` was called for reading.
    pub deaf: bool,
    /// Somebody waits for edges: what comes is news although other messages are unread.
    pub edges: bool,
}

/// What of a socket's settings each association has for itself.
#[derive(Debug, Clone)]
pub struct AssocSettings {
    /// Notifications wanted, a bit each: see `notify::bit`.
    pub events: u32,
    /// How messages are sent whose call does not say.
    pub send: SendDefaults,
    /// `SCTP_CONTEXT`: told with messages that are received.
    pub context: u32,
    /// Parameters that options change.
    pub parameters: Parameters,
    /// Of paths that have their own.
    pub paths: BTreeMap<Address, PathSettings>,
    /// `SCTP_ENABLE_STREAM_RESET`: kept and told.
    pub resets: u32,
    /// The stack's parameters, those that options change apart.
    pub config: Config,
    /// `SCTP_AUTOCLOSE`.
    pub autoclose: Option<Duration>,
}

impl AssocSettings {
    /// What holds for the path to an address.
    pub fn path_settings(&self, remote: Address) -> &PathSettings {
        self.paths.get(&remote).unwrap_or(&self.parameters.path)
    }
}

/// `SCTP_DEFAULT_SEND_PARAM` and `SCTP_DEFAULT_SNDINFO`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendDefaults {
    pub stream: u16,
    pub flags: u16,
    /// In the order that the program gave: opaque (RFC 6458 §5.3.2).
    pub ppid: u32,
    pub context: u32,
    /// What the policy in `flags` is about; with none, and with SCTP_PR_SCTP_TTL, the lifetime; 0 is for ever.
    pub lifetime_ms: u32,
}

/// An association.
#[derive(Debug)]
pub struct Held {
    pub id: AssocId,
    pub number: i32,
    pub endpoint: EndpointId,
    /// Whose it is; none once its socket is closed.
    pub socket: Option<SocketId>,
    /// The closed socket that lingers until it has ended.
    pub lingers: Option<SocketId>,
    pub settings: AssocSettings,
    /// Messages of it that its socket's queue knows of.
    pub announced: usize,
    /// The memory of its notifications that nobody has read.
    pub told_bytes: usize,
    /// A restart was told although there was no room: the next is not.
    pub told_beyond: bool,
    /// It has been up.
    pub up: Option<Negotiated>,
    /// `sctp_connectx` has told its number before it was up.
    pub known: bool,
    /// The end was reported.
    pub closed: bool,
    /// The peer as it was first known.
    pub peer: Named,
    /// A piece of a message was read of it, with SCTP_FRAGMENT_INTERLEAVE, and more follow.
    pub midway: bool,
    /// Our shutdown has begun.
    pub shutting_down: bool,
    /// It was shut down here before it was up: nobody is told of that.
    pub given_back: bool,
    /// Its entry in `Engine::autoclose`.
    pub autoclose_at: Option<Time>,
    /// How it ended before its socket was made by `accept`: 0 is a shutdown.
    pub ended_early: Option<Errno>,
    /// What was last told of its paths.
    pub paths_told: BTreeMap<Address, esock_proto::PathState>,
    /// Messages that came back and that the socket has not been told of.
    pub failed: Vec<(Undelivered, bool)>,
    /// Messages of each stream whose lifetime passed before they were sent.
    pub given_up: BTreeMap<u16, u64>,
    /// Its paths whose route was asked how large packets may be.
    pub routed: BTreeSet<Address>,
}

impl Held {
    /// The number that notifications tell: as on Linux, what comes to nothing has none, but if it was told already.
    pub fn told(&self) -> i32 {
        if self.up.is_some() || self.known { self.number } else { 0 }
    }
}

impl Socket {
    pub fn new(id: SocketId, family: Family, style: Style, settings: Settings) -> Self {
        Self {
            id,
            family,
            style,
            state: SocketState::Closed,
            port: 0,
            addresses: Vec::new(),
            endpoint: None,
            backlog: 0,
            settings,
            associations: BTreeMap::new(),
            waiting: VecDeque::new(),
            queue: VecDeque::new(),
            partial: None,
            midway: None,
            lobby: VecDeque::new(),
            told_bytes: 0,
            error: None,
            no_more: false,
            sent_all: false,
            blocked: false,
            connecting: false,
            begun: None,
            awaited: false,
            peer: None,
            source: None,
            ended: None,
            news: false,
            deaf: false,
            edges: false,
        }
    }

    /// Whether it is one-to-one, or has become nearly so.
    pub fn has_one(&self) -> bool {
        self.style != Style::OneToMany
    }

    /// Whether it is bound to no address in particular.
    pub fn has_all_addresses(&self) -> bool {
        self.port != 0 && self.addresses.is_empty()
    }

    /// Whether IPv4 addresses are told as IPv6 ones.
    pub fn is_mapped(&self) -> bool {
        self.settings.mapped
    }

    /// Whether an address can be used with this socket.
    pub fn takes(&self, address: Address) -> bool {
        match self.family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => !(address.is_ipv4() && self.settings.v6_only),
        }
    }

    /// Whether anything can be read.
    pub fn has_data(&self) -> bool {
        let next = self.midway.as_ref().map_or(!self.queue.is_empty(), |midway| midway.more);
        self.partial.is_some() || next
    }

    /// Whether pieces of a message of this association are read before anything else.
    pub fn is_midway(&self, id: AssocId) -> bool {
        self.midway.as_ref().is_some_and(|midway| midway.association == id)
    }

    /// Puts a notification into the queue: at its front, if it comes before what is there.
    pub fn tell(&mut self, item: Item, first: bool) {
        self.news |= !first;
        self.told_bytes += item.told_bytes();
        if first {
            self.queue.push_front(item);
        } else {
            self.queue.push_back(item);
        }
    }

    /// The notification at the front of the queue is read: of which association it is, and the memory of it.
    pub fn told(&mut self) -> Option<(i32, usize)> {
        let read = self.queue.front()?;
        let Item::Notification { association, .. } = read else { return None };
        let (association, memory) = (*association, read.told_bytes());
        self.queue.pop_front();
        self.told_bytes -= memory;
        debug_assert!(!(self.queue.is_empty() && self.lobby.is_empty()) || self.told_bytes == 0);
        Some((association, memory))
    }

    /// Whether so much was told that nobody reads any more.
    pub fn is_flooded(&self) -> bool {
        self.told_bytes >= MOST_TOLD
    }

    /// Takes the notifications of an association out of a queue.
    pub fn notifications_of(queue: &mut VecDeque<Item>, number: i32) -> VecDeque<Item> {
        let is_its = |item: &Item| matches!(item, Item::Notification { association, .. } if *association == number);
        let (its, rest) = std::mem::take(queue).into_iter().partition(is_its);
        *queue = rest;
        its
    }

    /// Whether messages were not read; notifications do not count.
    pub fn has_unread_messages(&self) -> bool {
        let begun = self.partial.is_some() || self.midway.is_some();
        begun || self.queue.iter().any(|item| matches!(item, Item::Messages { count: 1.., .. }))
    }

    /// An association is up, or has ended: whether `connect` has begun it.
    pub fn forget_begun(&mut self, id: AssocId) -> bool {
        let was = self.begun.take_if(|begun| *begun == id).is_some();
        self.awaited &= !was;
        was
    }

    /// The error that waits, once.
    pub fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }
}
