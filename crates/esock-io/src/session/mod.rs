//! Transports whose associations are sockets of the system: the kernel's SCTP, and TCP.
//!
//! [`SocketTransport`] is the [`Transport`](crate::Transport) of both; what differs is a [`Carrier`]. Here is what they
//! have in common: which associations there are ([`Sessions`]), what was received and not read yet
//! ([`Mailbox`](mailbox::Mailbox)), what has happened, and which sockets are ready.
//!
//! Sockets are watched with edges (mio): who stops before a socket is exhausted puts its session into the line of
//! those that are in a hurry ([`Sessions::hurry`]).

mod mailbox;
mod sessions;
mod transport;

pub(crate) use mailbox::Mailbox;
pub(crate) use sessions::{Opened, Session, Sessions, Source};
pub(crate) use transport::SocketTransport;

use crate::error::EndpointError;
use bytes::Bytes;
use esock_proto::{
    Address, AssocId, AssociationStats, Capabilities, Config, ConnectError, EndpointConfig, EndpointId, NotFound,
    PathError, PathId, PathParameters, Peer, Rejected, SendOptions, Time, Undelivered,
};
use std::fmt::Debug;

/// Reads of one socket in a row, so that others have their turn.
pub(crate) const READS_PER_TURN: usize = 64;

/// What differs between the kernel's SCTP and TCP.
pub(crate) trait Carrier: Debug + Send + Sized {
    /// The sockets of an endpoint.
    type Endpoint: Debug + Send;
    /// The socket of an association, and what belongs to it.
    type Link: Debug + Send;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Opens the sockets of an endpoint and has them watched as `Source::Endpoint(id, _)`.
    fn open(
        &mut self,
        sessions: &Sessions<Self>,
        id: EndpointId,
        config: &EndpointConfig,
    ) -> Result<Opened<Self::Endpoint>, EndpointError>;

    /// Whether peers are taken from now on.
    fn set_accepting(&mut self, sessions: &mut Sessions<Self>, endpoint: EndpointId, accepting: bool);

    /// Begins a connection of an endpoint. It is watched as `Source::Session(id)`, once it has a socket of its own.
    fn connect(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        ids: (AssocId, EndpointId),
        peer: &Peer,
        config: &Config,
    ) -> Result<Self::Link, ConnectError>;

    /// A socket is readable or writable.
    fn on_ready(&mut self, sessions: &mut Sessions<Self>, now: Time, source: Source, readable: bool, writable: bool);

    /// A session is in a hurry: reads and writes what it can.
    fn on_hurry(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId);

    /// A timer that was set with [`Sessions::set_timer`] has run out.
    fn on_timer(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId);

    /// When something is due that is no session's, if anything is.
    fn due(&self) -> Option<Time> {
        None
    }

    /// [`Carrier::due`] has come. Called in turns alone, not after commands.
    fn on_due(&mut self, _sessions: &mut Sessions<Self>, _now: Time) {}

    /// The user has accepted a peer that was offered.
    fn accept(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId);

    /// The user has refused a peer that was offered: it is told, and forgotten.
    fn refuse(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, reason: &[u8]);

    /// Takes a message. That the association is up, and the message neither empty nor too large, was checked.
    fn send(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        id: AssocId,
        options: SendOptions,
        payload: Bytes,
    ) -> Result<(), Rejected>;

    /// Begins to end an association that is up, gracefully.
    fn shutdown(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId);

    /// Ends an association at once, as far as its socket is concerned.
    fn abort(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, reason: &[u8]);

    /// What was taken and not acknowledged, of an association that has ended; oldest first.
    fn undelivered(&mut self, link: &mut Self::Link) -> Vec<Undelivered>;

    /// What there is to know besides the bookkeeping.
    fn describe(&self, session: &Session<Self::Link>, stats: &mut AssociationStats);

    /// Our addresses.
    fn local_addresses(&self, session: &Session<Self::Link>) -> Vec<Address>;

    /// Makes a path the primary one.
    fn set_primary(&mut self, session: &mut Session<Self::Link>, path: PathId) -> Result<(), PathError>;

    /// Changes parameters of a path.
    fn set_path_parameters(
        &mut self,
        session: &mut Session<Self::Link>,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), PathError>;

    /// Sends a heartbeat now.
    fn request_heartbeat(&mut self, session: &mut Session<Self::Link>, path: PathId) -> Result<(), PathError>;
}

/// The path that an operation is about, if the association has it.
pub(crate) fn path_of<L>(session: &Session<L>, path: PathId) -> Result<Address, NotFound> {
    session.addresses.get(usize::from(path.0)).copied().ok_or(NotFound)
}
