//! What the API above needs of a backend: our own stack, the kernel's SCTP or TCP, behind one trait.
//!
//! All speak the stack's vocabulary of commands and events; see [`Stack`](esock_proto::Stack), whose
//! methods of the same names these are.

use crate::driver::Driver;
use crate::error::EndpointError;
use crate::impair::Impairment;
use crate::{Chosen, DriverStats, Turn};
use bytes::Bytes;
use esock_proto::{
    Address, AssocEvent, AssocId, AssociationStats, Capabilities, Config, ConnectError, EndpointConfig, EndpointId,
    Message, Negotiated, NotFound, PathError, PathId, PathParameters, Peer, Rejected, SendError, SendOptions, State,
    Time,
};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;

/// Endpoints and associations over one backend. Does nothing by itself and never blocks: call
/// [`Transport::turn`] when a descriptor is ready or the deadline has come, and [`Transport::flush`] after
/// commands.
pub trait Transport: Debug + Send {
    /// Which backend it is, and why.
    fn backend(&self) -> &Chosen;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Its clock.
    fn now(&self) -> Time;

    /// Says which of [`Transport::descriptors`] were found readable, by bit, so that the next turn asks no others.
    fn set_ready(&mut self, bits: u64) {
        let _ = bits;
    }

    /// Has the next turn look for packets although nobody was told of any, for who looks again and again instead of
    /// waiting. Says whether that is worth it: not where each association has a socket of its own.
    fn spin(&mut self) -> bool {
        false
    }

    /// Receives what has arrived, does what is due, and sends what there is. An error is the end of its sockets.
    fn turn(&mut self, now: Time) -> io::Result<Turn>;

    /// The last part of [`Transport::turn`]: sends what there is. What is due may wait for the next turn.
    fn flush(&mut self, now: Time) -> Turn;

    /// Duplicates of the descriptors to wait for: always until they are readable.
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>>;

    /// Whether any descriptor is to be waited for until it is writable, too.
    fn is_blocked(&self) -> bool;

    /// The same for each descriptor, in the order of [`Transport::descriptors`].
    fn blocked(&self) -> Vec<bool>;

    /// Whether a turn would send something.
    fn wants_transmit(&self) -> bool;

    /// Whether there is nothing to send and nothing to tell, so that a flush can be left out; may be wrong towards no.
    fn is_quiet(&self) -> bool {
        false
    }

    /// When the next turn is due, once [`Transport::wants_transmit`] says no.
    fn poll_timeout(&self) -> Option<Time>;

    /// Counters of its sockets; none where the system keeps them to itself.
    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }

    /// The bad network that packets pass; `None` without [`Capability::Impairment`](esock_proto::Capability::Impairment).
    fn impairment(&mut self) -> Option<&mut Impairment>;

    /// Closes the sockets that endpoints share, after they have failed, so that others can have their ports.
    fn close_sockets(&mut self) {}

    /// Opens an endpoint; it accepts nobody yet.
    fn open_endpoint(&mut self, config: EndpointConfig) -> Result<EndpointId, EndpointError>;

    /// Closes an endpoint, aborting its associations.
    fn close_endpoint(&mut self, now: Time, endpoint: EndpointId);

    /// The port of an endpoint.
    fn endpoint_port(&self, endpoint: EndpointId) -> Option<u16>;

    /// The explicit addresses of an endpoint; empty for all of the host's.
    fn endpoint_addresses(&self, endpoint: EndpointId) -> Vec<Address>;

    /// Whether peers are accepted.
    fn set_accepting(&mut self, endpoint: EndpointId, accepting: bool);

    /// The next peer to decide on.
    fn poll_incoming(&mut self) -> Option<Incoming>;

    /// Accepts a peer; `None` if it has gone meanwhile.
    fn accept(&mut self, now: Time, incoming: Incoming) -> Option<AssocId>;

    /// Refuses a peer, which is told.
    fn refuse(&mut self, now: Time, incoming: Incoming, reason: &[u8]);

    /// Does not decide on a peer. Where no state is kept for it, it hears nothing and may try again.
    fn ignore(&mut self, incoming: Incoming);

    /// Starts an association. Ends in `Event::Up` or `Event::Closed`.
    fn connect(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError>;

    /// Takes a message to be sent; it comes back with the error if it cannot be taken.
    fn send(&mut self, now: Time, id: AssocId, options: SendOptions, payload: Bytes) -> Result<(), Rejected>;

    /// Takes messages to be sent, oldest first, until one cannot be taken: it stays at the front, and the error concerns it.
    fn send_many(
        &mut self,
        now: Time,
        id: AssocId,
        messages: &mut VecDeque<(SendOptions, Bytes)>,
    ) -> Result<(), SendError> {
        while let Some((options, payload)) = messages.pop_front() {
            if let Err(Rejected { error, payload }) = self.send(now, id, options, payload) {
                messages.push_front((options, payload));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Bytes that have left and are not acknowledged; 0 where that is not known.
    fn in_flight(&self, id: AssocId) -> usize {
        let _ = id;
        0
    }

    /// The next message that has arrived.
    fn recv(&mut self, id: AssocId) -> Option<Message>;

    /// Calls `take` with the next messages that have arrived, at most `max`; says how many there were.
    fn recv_many(&mut self, id: AssocId, max: usize, take: &mut dyn FnMut(Message)) -> usize {
        (0..max).map_while(|_| self.recv(id).map(&mut *take)).count()
    }

    /// How many messages wait to be read.
    fn ready_messages(&self, id: AssocId) -> usize;

    /// The next event.
    fn poll_event(&mut self) -> Option<AssocEvent>;

    /// Ends an association gracefully.
    fn shutdown(&mut self, now: Time, id: AssocId) -> Result<(), NotFound>;

    /// Ends an association at once.
    fn abort(&mut self, now: Time, id: AssocId, reason: &[u8]) -> Result<(), NotFound>;

    /// Forgets an association: aborted first if it has not ended.
    fn release(&mut self, now: Time, id: AssocId);

    /// The state of an association, `None` once released.
    fn state(&self, id: AssocId) -> Option<State>;

    /// An association at a glance, `None` once released.
    fn association(&self, now: Time, id: AssocId) -> Option<AssociationStats>;

    /// Our addresses in an association.
    fn local_addresses(&self, id: AssocId) -> Vec<Address>;

    /// How many associations an endpoint has that have not ended.
    fn association_count(&self, endpoint: EndpointId) -> usize;

    /// The association of an endpoint with a peer, by any of the peer's addresses.
    fn find(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId>;

    /// Makes a path the primary one.
    fn set_primary(&mut self, now: Time, id: AssocId, path: PathId) -> Result<(), PathError>;

    /// Changes parameters of a path.
    fn set_path_parameters(
        &mut self,
        now: Time,
        id: AssocId,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), PathError>;

    /// Sends a HEARTBEAT over a path now.
    fn request_heartbeat(&mut self, now: Time, id: AssocId, path: PathId) -> Result<(), PathError>;
}

/// A peer to decide on: hand it back with [`Transport::accept`], [`Transport::refuse`] or [`Transport::ignore`].
#[derive(Debug)]
pub struct Incoming {
    /// Who is asked for.
    pub endpoint: EndpointId,
    /// Its addresses; the first is where it came from.
    pub addresses: Vec<Address>,
    /// Its port.
    pub port: u16,
    /// What would be agreed on.
    pub negotiated: Negotiated,
    /// Its UDP port, `None` without encapsulation.
    pub encap_port: Option<u16>,
    pub(crate) held: Held,
}

/// What a backend keeps of a peer that nobody has decided on.
#[derive(Debug)]
pub(crate) enum Held {
    /// The facts of its cookie.
    Cookie(esock_proto::Incoming),
    /// An association that waits in the backend.
    Session(AssocId),
}

impl From<esock_proto::Incoming> for Incoming {
    fn from(incoming: esock_proto::Incoming) -> Self {
        Self {
            endpoint: incoming.endpoint(),
            addresses: incoming.addresses().to_vec(),
            port: incoming.port(),
            negotiated: incoming.negotiated(),
            encap_port: incoming.encap_port(),
            held: Held::Cookie(incoming),
        }
    }
}

/// Our own stack.
impl Transport for Driver {
    fn backend(&self) -> &Chosen {
        self.backend()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all()
    }

    fn now(&self) -> Time {
        self.now()
    }

    fn set_ready(&mut self, bits: u64) {
        Driver::set_ready(self, bits);
    }

    fn spin(&mut self) -> bool {
        Driver::spin(self);
        true
    }

    fn turn(&mut self, now: Time) -> io::Result<Turn> {
        self.turn(now)
    }

    fn flush(&mut self, now: Time) -> Turn {
        self.flush(now)
    }

    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.descriptors()
    }

    fn is_blocked(&self) -> bool {
        self.interests().any(|interest| interest.writable)
    }

    fn blocked(&self) -> Vec<bool> {
        self.interests().map(|interest| interest.writable).collect()
    }

    fn wants_transmit(&self) -> bool {
        self.stack().wants_transmit()
    }

    fn is_quiet(&self) -> bool {
        self.stack().is_quiet()
    }

    fn poll_timeout(&self) -> Option<Time> {
        [self.stack().poll_timeout(), self.rest_due].into_iter().flatten().min()
    }

    fn stats(&self) -> DriverStats {
        self.stats()
    }

    fn impairment(&mut self) -> Option<&mut Impairment> {
        Some(self.impairment())
    }

    fn close_sockets(&mut self) {
        self.close_sockets();
    }

    fn open_endpoint(&mut self, config: EndpointConfig) -> Result<EndpointId, EndpointError> {
        self.open_endpoint(config)
    }

    fn close_endpoint(&mut self, now: Time, endpoint: EndpointId) {
        self.close_endpoint(now, endpoint);
    }

    fn endpoint_port(&self, endpoint: EndpointId) -> Option<u16> {
        self.stack().endpoint_port(endpoint)
    }

    fn endpoint_addresses(&self, endpoint: EndpointId) -> Vec<Address> {
        self.stack().endpoint_addresses(endpoint).to_vec()
    }

    fn set_accepting(&mut self, endpoint: EndpointId, accepting: bool) {
        self.stack_mut().set_accepting(endpoint, accepting);
    }

    fn poll_incoming(&mut self) -> Option<Incoming> {
        self.poll_incoming()
    }

    fn accept(&mut self, now: Time, incoming: Incoming) -> Option<AssocId> {
        self.decide(incoming, |stack, cookie| stack.accept(now, cookie)).flatten()
    }

    fn refuse(&mut self, now: Time, incoming: Incoming, reason: &[u8]) {
        self.decide(incoming, |stack, cookie| stack.refuse(now, cookie, reason));
    }

    fn ignore(&mut self, incoming: Incoming) {
        self.decide(incoming, |stack, cookie| stack.ignore(cookie));
    }

    fn connect(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError> {
        self.connect(now, endpoint, peer, config)
    }

    fn send(&mut self, now: Time, id: AssocId, options: SendOptions, payload: Bytes) -> Result<(), Rejected> {
        self.stack_mut().send(now, id, options, payload)
    }

    fn send_many(
        &mut self,
        now: Time,
        id: AssocId,
        messages: &mut VecDeque<(SendOptions, Bytes)>,
    ) -> Result<(), SendError> {
        self.stack_mut().send_many(now, id, messages)
    }

    fn in_flight(&self, id: AssocId) -> usize {
        self.stack().in_flight(id)
    }

    fn recv(&mut self, id: AssocId) -> Option<Message> {
        // Reading has no use for the time, and a look at the clock for each message is felt.
        self.stack_mut().recv(Time::ZERO, id)
    }

    fn recv_many(&mut self, id: AssocId, max: usize, take: &mut dyn FnMut(Message)) -> usize {
        self.stack_mut().recv_many(Time::ZERO, id, max, take)
    }

    fn ready_messages(&self, id: AssocId) -> usize {
        self.stack().ready_messages(id)
    }

    fn poll_event(&mut self) -> Option<AssocEvent> {
        self.stack_mut().poll_event()
    }

    fn shutdown(&mut self, now: Time, id: AssocId) -> Result<(), NotFound> {
        self.stack_mut().shutdown(now, id)
    }

    fn abort(&mut self, now: Time, id: AssocId, reason: &[u8]) -> Result<(), NotFound> {
        self.stack_mut().abort(now, id, reason)
    }

    fn release(&mut self, now: Time, id: AssocId) {
        self.stack_mut().release(now, id);
    }

    fn state(&self, id: AssocId) -> Option<State> {
        self.stack().state(id)
    }

    fn association(&self, now: Time, id: AssocId) -> Option<AssociationStats> {
        self.stack().association(now, id)
    }

    fn local_addresses(&self, id: AssocId) -> Vec<Address> {
        let stats = self.stack().association(self.now(), id);
        let bound = stats.map(|stats| self.stack().endpoint_addresses(stats.endpoint).to_vec());
        match bound {
            Some(bound) if bound.is_empty() => crate::host_addresses(),
            bound => bound.unwrap_or_default(),
        }
    }

    fn association_count(&self, endpoint: EndpointId) -> usize {
        self.stack().association_count(endpoint)
    }

    fn find(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId> {
        self.stack().find(endpoint, remote, port)
    }

    fn set_primary(&mut self, now: Time, id: AssocId, path: PathId) -> Result<(), PathError> {
        Ok(self.stack_mut().set_primary(now, id, path)?)
    }

    fn set_path_parameters(
        &mut self,
        now: Time,
        id: AssocId,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), PathError> {
        Ok(self.stack_mut().set_path_parameters(now, id, path, parameters)?)
    }

    fn request_heartbeat(&mut self, now: Time, id: AssocId, path: PathId) -> Result<(), PathError> {
        Ok(self.stack_mut().request_heartbeat(now, id, path)?)
    }
}
