//! The stack: every endpoint and association over one set of sockets.

use crate::*;
use bytes::Bytes;

/// The verified facts of a COOKIE ECHO.
#[derive(Debug)]
pub struct IncomingFacts {}

/// Endpoints and associations over one set of sockets.
///
/// Feed it with the `handle_*` methods, then take what it has with the `poll_*` methods: events,
/// incoming peers, packets, and the time of the next [`Stack::handle_timeout`].
#[derive(Debug)]
pub struct Stack {}

impl Stack {
    /// An empty stack. The same `seed` gives the same tags, nonces and jitter; in production it comes
    /// from the system's randomness.
    pub fn new(config: StackConfig, seed: [u8; 32], now: Time) -> Self {
        todo!()
    }
    /// Opens an endpoint. It accepts nobody until [`Stack::set_accepting`].
    pub fn open(&mut self, config: EndpointConfig) -> Result<EndpointId, OpenError> {
        todo!()
    }
    /// Closes an endpoint: its associations are aborted (`CloseReason::EndpointClosed`).
    pub fn close(&mut self, now: Time, endpoint: EndpointId) {
        todo!()
    }
    /// The port of an endpoint.
    pub fn endpoint_port(&self, endpoint: EndpointId) -> Option<u16> {
        todo!()
    }
    /// The explicit addresses of an endpoint; empty for a wildcard.
    pub fn endpoint_addresses(&self, endpoint: EndpointId) -> &[Address] {
        todo!()
    }
    /// Whether INITs to this endpoint are answered; while not, they are dropped silently.
    pub fn set_accepting(&mut self, endpoint: EndpointId, accepting: bool) {
        todo!()
    }
    /// Tells a wildcard endpoint which addresses the host has now.
    pub fn set_host_addresses(&mut self, endpoint: EndpointId, addresses: &[Address]) {
        todo!()
    }
    /// Starts an association. Ends in `Event::Up` or `Event::Closed`.
    pub fn connect(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError> {
        todo!()
    }
    /// The next peer to decide on.
    pub fn poll_incoming(&mut self) -> Option<Incoming> {
        todo!()
    }
    /// Accepts a peer: makes the association. `None` when it can no longer be made
    /// (the endpoint was closed, or the stack is full): the peer is refused.
    pub fn accept(&mut self, now: Time, incoming: Incoming) -> Option<AssocId> {
        todo!()
    }
    /// Refuses a peer with an ABORT that carries `reason` as User-Initiated Abort, if not empty.
    pub fn refuse(&mut self, now: Time, incoming: Incoming, reason: &[u8]) {
        todo!()
    }
    /// Drops a peer without a word: it may try again.
    pub fn ignore(&mut self, incoming: Incoming) {
        todo!()
    }
    /// Takes a message to be sent; it comes back with the error if it cannot be taken.
    /// Never blocks; packets leave with [`Stack::poll_transmit`].
    pub fn send(
        &mut self,
        now: Time,
        assoc: AssocId,
        options: SendOptions,
        payload: Bytes,
    ) -> Result<(), Rejected> {
        todo!()
    }
    /// The next message that has arrived. Works after the association has ended, until it is released.
    pub fn recv(&mut self, now: Time, assoc: AssocId) -> Option<Message> {
        todo!()
    }
    /// Ends an association gracefully: what was taken is delivered first (RFC 9260 §9.2).
    pub fn shutdown(&mut self, now: Time, assoc: AssocId) -> Result<(), NotFound> {
        todo!()
    }
    /// Ends an association at once with an ABORT that carries `reason`; unacknowledged messages come back as events.
    pub fn abort(&mut self, now: Time, assoc: AssocId, reason: &[u8]) -> Result<(), NotFound> {
        todo!()
    }
    /// Forgets an association: aborted first if it has not ended. Unread messages are dropped and no more events come.
    pub fn release(&mut self, now: Time, assoc: AssocId) {
        todo!()
    }
    /// The state of an association, `None` once released.
    pub fn state(&self, assoc: AssocId) -> Option<State> {
        todo!()
    }
    /// An association at a glance, `None` once released.
    pub fn association(&self, now: Time, assoc: AssocId) -> Option<AssociationStats> {
        todo!()
    }
    /// All associations of an endpoint that have not been released.
    pub fn associations(&self, endpoint: EndpointId) -> Vec<AssocId> {
        todo!()
    }
    /// The association of an endpoint with a peer, by any of the peer's addresses.
    pub fn find(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId> {
        todo!()
    }
    /// Makes a path the primary one (RFC 9260 §11.1.5).
    pub fn set_primary(&mut self, assoc: AssocId, path: PathId) -> Result<(), NotFound> {
        todo!()
    }
    /// Changes parameters of a path.
    pub fn set_path_parameters(
        &mut self,
        now: Time,
        assoc: AssocId,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), NotFound> {
        todo!()
    }
    /// Sends a HEARTBEAT over a path now (RFC 9260 §11.1.8).
    pub fn request_heartbeat(
        &mut self,
        now: Time,
        assoc: AssocId,
        path: PathId,
    ) -> Result<(), NotFound> {
        todo!()
    }
    /// Counters of the stack.
    pub fn stats(&self) -> StackStats {
        todo!()
    }

    /// Takes a packet that has arrived.
    pub fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>) {
        todo!()
    }
    /// Takes an ICMP report about a packet of ours.
    pub fn handle_icmp(&mut self, now: Time, icmp: Icmp<'_>) {
        todo!()
    }
    /// Does what is due at `now`. Call it when [`Stack::poll_timeout`]'s time has come; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        todo!()
    }
    /// The next packets to send, written to `buf`: up to `max_segments` packets of equal size, only the last may be shorter.
    /// `None` when there is nothing to send. `buf` must hold at least 65536 bytes.
    pub fn poll_transmit(
        &mut self,
        now: Time,
        max_segments: usize,
        buf: &mut [u8],
    ) -> Option<Transmit> {
        todo!()
    }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<AssocEvent> {
        todo!()
    }
    /// When to call [`Stack::handle_timeout`]; `None`: nothing is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }
}

impl Incoming {
    /// The endpoint that it is for.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }
    /// The address that its packet came from.
    pub fn remote(&self) -> Address {
        todo!()
    }
    /// Its SCTP port.
    pub fn port(&self) -> u16 {
        todo!()
    }
    /// All its addresses, `remote` first.
    pub fn addresses(&self) -> &[Address] {
        todo!()
    }
    /// Its UDP port, `None` for native SCTP.
    pub fn encap_port(&self) -> Option<u16> {
        todo!()
    }
    /// What would be agreed on: streams, adaptation indication.
    pub fn negotiated(&self) -> Negotiated {
        todo!()
    }
}
