//! The stack: every endpoint and association over one set of sockets.

pub(crate) mod cookie;
mod deadlines;
mod demux;
mod endpoints;
mod icmp;
mod incoming;
#[cfg(feature = "fuzzing")]
mod invariants;
mod limits;
mod ootb;
mod output;
mod peers;
mod setup;
mod shard;
mod table;
mod tags;
mod undecided;

use crate::api::{AssocEvent, Encapsulation, Incoming, Message, Peer, SendOptions, State};
use crate::assoc::{Association, Cx, Identity, Setup};
use crate::config::{Config, EndpointConfig, StackConfig};
use crate::error::{ConfigError, ConnectError, NotFound, OpenError, Rejected, SendError};
use crate::serial::Tsn;
use crate::stats::{AssociationStats, PathParameters, StackStats};
use crate::time::Time;
use crate::types::{Address, AssocId, EndpointId, PathId, VerificationTag};
use bytes::Bytes;
use cookie::CookieKeys;
use endpoints::Endpoints;
pub use incoming::IncomingFacts;
use limits::RateLimit;
use output::Replies;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
pub use shard::{PeerChange, Shard, Stray, StrayKind};
use std::collections::VecDeque;
use std::sync::Arc;
use table::Table;
use undecided::Undecided;

/// The registered UDP port for SCTP (RFC 6951 §5.1).
pub const UDP_PORT: u16 = 9899;

/// Room for events that is kept when there are none.
const MAX_IDLE_EVENTS: usize = 256;

/// Endpoints and associations over one set of sockets.
///
/// Feed it with the `handle_*` methods, then take what it has with the `poll_*` methods: events,
/// incoming peers, packets, and the time of the next [`Stack::handle_timeout`].
#[derive(Debug)]
pub struct Stack {
    config: StackConfig,
    rng: StdRng,
    endpoints: Endpoints,
    table: Table,
    keys: CookieKeys,
    incoming: VecDeque<Incoming>,
    undecided: Undecided,
    events: VecDeque<AssocEvent>,
    replies: Replies,
    ootb_limit: RateLimit,
    init_limit: RateLimit,
    stats: StackStats,
}

impl Stack {
    /// An empty stack. The same `seed` gives the same tags, nonces and jitter; in production it comes
    /// from the system's randomness.
    pub fn new(config: StackConfig, seed: [u8; 32], now: Time) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let table = Table::new(&mut rng, config.shard);
        Self {
            endpoints: Endpoints::default(),
            undecided: Undecided::new(table.peers.hasher()),
            table,
            keys: CookieKeys::new(now, &mut rng),
            incoming: VecDeque::new(),
            events: VecDeque::new(),
            replies: Replies::default(),
            ootb_limit: RateLimit::new(config.ootb_replies_per_second, now),
            init_limit: RateLimit::new(config.init_acks_per_second, now),
            stats: StackStats::default(),
            config,
            rng,
        }
    }

    /// Opens an endpoint. It accepts nobody until [`Stack::set_accepting`].
    pub fn open(&mut self, config: EndpointConfig) -> Result<EndpointId, OpenError> {
        self.endpoints.open(config, &mut self.rng)
    }

    /// Closes an endpoint: its associations are aborted (`CloseReason::EndpointClosed`).
    pub fn close(&mut self, now: Time, endpoint: EndpointId) {
        for id in self.associations(endpoint) {
            let _ = self.with(now, id, |assoc, cx| assoc.close_endpoint(cx));
        }
        self.endpoints.remove(endpoint);
    }

    /// The port of an endpoint.
    pub fn endpoint_port(&self, endpoint: EndpointId) -> Option<u16> {
        self.endpoints.get(endpoint).map(|endpoint| endpoint.port)
    }

    /// The explicit addresses of an endpoint; empty for a wildcard.
    pub fn endpoint_addresses(&self, endpoint: EndpointId) -> &[Address] {
        self.endpoints.get(endpoint).map_or(&[], |endpoint| &endpoint.addresses)
    }

    /// Whether INITs to this endpoint are answered; while not, they are dropped silently.
    pub fn set_accepting(&mut self, endpoint: EndpointId, accepting: bool) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.accepting = accepting;
        }
    }

    /// Tells a wildcard endpoint which addresses the host has now.
    pub fn set_host_addresses(&mut self, endpoint: EndpointId, addresses: &[Address]) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.set_host_addresses(addresses);
        }
    }

    /// As [`StackConfig::answers_for_nobody`](crate::StackConfig::answers_for_nobody), from now on.
    pub fn set_answers_for_nobody(&mut self, answers: bool) {
        self.config.answers_for_nobody = answers;
    }

    /// The configuration that associations of an endpoint begin with.
    pub fn endpoint_config(&self, endpoint: EndpointId) -> Option<&Config> {
        self.endpoints.get(endpoint).map(|endpoint| &*endpoint.config)
    }

    /// Changes the configuration that associations of an endpoint begin with from now on.
    pub fn set_endpoint_config(&mut self, endpoint: EndpointId, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.config = Arc::new(config);
        }
        Ok(())
    }

    /// Gives an endpoint other addresses; none are all of the host's. What its associations have told their peers
    /// stays as it is.
    pub fn set_endpoint_addresses(&mut self, endpoint: EndpointId, addresses: &[Address]) -> Result<(), OpenError> {
        self.endpoints.set_addresses(endpoint, addresses)
    }

    /// The configuration of an association, `None` once released.
    pub fn config(&self, assoc: AssocId) -> Option<&Config> {
        self.table.get(assoc).map(|entry| entry.assoc.config())
    }

    /// Changes an association while it lives: RTO.Initial, RTO.Min and RTO.Max of all its paths, the SACK delay and
    /// frequency, Association.Max.Retrans, Max.Init.Retransmits, Max.Burst, the send buffer, the largest chunk and the
    /// largest message that is received whole; other values of `config` are not looked at.
    /// A configuration that cannot work changes nothing, nor does one for an association that has gone.
    pub fn configure(&mut self, now: Time, assoc: AssocId, config: &Config) -> Result<(), ConfigError> {
        config.validate()?;
        let _ = self.with(now, assoc, |assoc, _| assoc.configure(config));
        Ok(())
    }

    /// Starts an association. Ends in `Event::Up` or `Event::Closed`.
    pub fn connect(
        &mut self,
        now: Time,
        endpoint_id: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError> {
        let endpoint = self.endpoints.get(endpoint_id).ok_or(ConnectError::NoEndpoint)?;
        let first = *peer.addresses.first().ok_or(ConnectError::NoAddress)?;
        if peer.port == 0 {
            return Err(ConnectError::BadPort);
        }
        for address in &peer.addresses {
            if !address.is_usable_peer() || endpoint.is_self(*address, peer.port) {
                return Err(ConnectError::BadAddress(*address));
            }
            if self.table.by_peer(endpoint_id, *address, peer.port).is_some() {
                return Err(ConnectError::Exists);
            }
        }
        let config = config.map_or_else(|| endpoint.config.clone(), Arc::new);
        config.validate().map_err(ConnectError::Config)?;
        let setup = Setup {
            advertise: endpoint.advertised(first, None, self.config.tells_all_on_loopback),
            supported_types: endpoint.supported_types(),
            ..Setup::default()
        };
        let identity = Identity {
            local_port: endpoint.port,
            peer_port: peer.port,
            local_tag: self.table.tags.choose(&mut self.rng),
            peer_tag: VerificationTag::ZERO,
            local_tsn: self.config.initial_tsn.unwrap_or(Tsn(self.rng.random())),
            peer_tsn: Tsn(0),
        };
        let encapsulation = match peer.encapsulation {
            Encapsulation::Both(port) if !self.config.native => Encapsulation::Udp(port),
            Encapsulation::Native if !self.config.native => Encapsulation::Default,
            other => other,
        };
        let id = self.table.next_id();
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let local_for = |remote| endpoint.local_for(remote);
        let assoc = Association::connect(
            &mut cx,
            (id, endpoint_id),
            identity,
            (&peer.addresses, encapsulation),
            config,
            setup,
            local_for,
        );
        self.insert(assoc);
        Ok(id)
    }

    /// Takes a message to be sent; it comes back with the error if it cannot be taken.
    /// Never blocks; packets leave with [`Stack::poll_transmit`].
    pub fn send(&mut self, now: Time, assoc: AssocId, options: SendOptions, payload: Bytes) -> Result<(), Rejected> {
        let Some(entry) = self.table.get_mut(assoc) else {
            return Err(Rejected { error: SendError::Closed, payload });
        };
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let begins_turn = entry.assoc.send(&mut cx, options, payload)?;
        // Its deadline is entered when it has nothing more to send: once for a whole batch. While the window is full
        // there is nothing to do at all, until a SACK opens it.
        if begins_turn {
            self.table.activate(assoc);
        }
        Ok(())
    }

    /// Whether [`Stack::send`] would take a message of so many bytes now, and why not: [`SendError::Full`] is followed by
    /// [`Event::Writable`](crate::Event::Writable) all the same.
    pub fn check_send(&mut self, assoc: AssocId, options: &SendOptions, len: usize) -> Result<(), SendError> {
        self.table.get_mut(assoc).map_or(Err(SendError::Closed), |entry| entry.assoc.check(options, len))
    }

    /// Takes messages to be sent, oldest first, until one cannot be taken: it stays at the front, and the error concerns
    /// it. The same as [`Stack::send`] for each, in less time.
    pub fn send_many(
        &mut self,
        now: Time,
        assoc: AssocId,
        messages: &mut VecDeque<(SendOptions, Bytes)>,
    ) -> Result<(), SendError> {
        let Some(entry) = self.table.get_mut(assoc) else {
            return if messages.is_empty() { Ok(()) } else { Err(SendError::Closed) };
        };
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let (begins_turn, result) = entry.assoc.send_many(&mut cx, messages);
        if begins_turn {
            self.table.activate(assoc);
        }
        result
    }

    /// The next message that has arrived, or piece of one. Works after the association has ended, until it is released.
    pub fn recv(&mut self, _now: Time, assoc: AssocId) -> Option<Message> {
        let entry = self.table.get_mut(assoc)?;
        let (message, opened) = entry.assoc.recv();
        if opened {
            self.table.activate(assoc);
        }
        message
    }

    /// Calls `take` with the next messages that have arrived, at most `max`; says how many there were. The same as
    /// [`Stack::recv`] so often, in less time.
    pub fn recv_many(&mut self, _now: Time, assoc: AssocId, max: usize, take: &mut dyn FnMut(Message)) -> usize {
        let Some(entry) = self.table.get_mut(assoc) else { return 0 };
        let (count, opened) = entry.assoc.recv_many(max, take);
        if opened {
            self.table.activate(assoc);
        }
        count
    }

    /// The message that [`Stack::recv`] would take, and its length: of a piece the payload is put together when it is
    /// taken.
    pub fn peek(&self, assoc: AssocId) -> Option<(&Message, usize)> {
        self.table.get(assoc)?.assoc.peek()
    }

    /// The peer's address of a path.
    pub fn path_remote(&self, assoc: AssocId, path: PathId) -> Option<Address> {
        self.table.get(assoc)?.assoc.paths.get(path).map(|path| path.remote)
    }

    /// The path to an address of the peer's.
    pub fn path_to(&self, assoc: AssocId, remote: Address) -> Option<PathId> {
        let paths = &self.table.get(assoc)?.assoc.paths;
        paths.by_remote(remote).map(|index| paths.list[index].id)
    }

    /// Asks for [`Event::Drained`](crate::Event::Drained) when everything that was taken has been acknowledged: at once
    /// if it has, and once.
    pub fn tell_when_drained(&mut self, now: Time, assoc: AssocId) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| assoc.tell_when_drained(cx))
    }

    /// User bytes of an association that have left and are neither acknowledged nor given up.
    pub fn in_flight(&self, assoc: AssocId) -> usize {
        self.table.get(assoc).map_or(0, |entry| entry.assoc.in_flight())
    }

    /// When data of an association last left, or came for the first time; `None` once released.
    pub fn last_data(&self, assoc: AssocId) -> Option<Time> {
        self.table.get(assoc).map(|entry| entry.assoc.last_data())
    }

    /// How many messages of an association can be read, a piece of one included.
    pub fn ready_messages(&self, assoc: AssocId) -> usize {
        self.table.get(assoc).map_or(0, |entry| entry.assoc.ready_messages())
    }

    /// Whether something has come that cannot be read yet: the rest of its message is missing, or a message before it.
    pub fn holds_undelivered(&self, assoc: AssocId) -> bool {
        self.table.get(assoc).is_some_and(|entry| entry.assoc.holds_undelivered())
    }

    /// Ends an association gracefully: what was taken is delivered first (RFC 9260 §9.2).
    pub fn shutdown(&mut self, now: Time, assoc: AssocId) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| assoc.shutdown(cx))
    }

    /// Ends an association at once with an ABORT that carries `reason`; unacknowledged messages come back as events.
    pub fn abort(&mut self, now: Time, assoc: AssocId, reason: &[u8]) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| assoc.abort(cx, reason))
    }

    /// Forgets an association: aborted first if it has not ended. Unread messages are dropped and no more events come.
    pub fn release(&mut self, now: Time, assoc: AssocId) {
        if self.with(now, assoc, |assoc, cx| assoc.abort(cx, &[])).is_err() {
            return;
        }
        self.remove(assoc);
        self.events.retain(|(id, _)| *id != assoc);
    }

    /// The state of an association, `None` once released.
    pub fn state(&self, assoc: AssocId) -> Option<State> {
        self.table.get(assoc).map(|entry| entry.assoc.state())
    }

    /// An association at a glance, `None` once released.
    pub fn association(&self, now: Time, assoc: AssocId) -> Option<AssociationStats> {
        self.table.get(assoc).map(|entry| entry.assoc.stats(now))
    }

    /// The addresses that an association has here: those that its peer was told of when it was set up (RFC 9260 §3.3.2), or
    /// the only one, of which it is not told.
    pub fn local_addresses(&self, now: Time, assoc: AssocId) -> Option<Vec<Address>> {
        let stats = self.association(now, assoc)?;
        let endpoint = self.endpoints.get(stats.endpoint)?;
        let first = stats.paths.first()?;
        let told = endpoint.advertised(first.remote, None, self.config.tells_all_on_loopback);
        Some(if told.is_empty() { first.local.into_iter().collect() } else { told })
    }

    /// Why an association has come to a stand that it will never leave: something is outstanding, and there
    /// is nothing to send and no timer to wait for. It is a fault of this stack if this is ever `Some`;
    /// `Counters::stalls` counts it. Cheap.
    pub fn stalled(&self, assoc: AssocId) -> Option<&'static str> {
        self.table.get(assoc).filter(|entry| entry.is_at_rest()).and_then(|_| self.table.stall(assoc))
    }

    /// All associations of an endpoint that have not been released.
    pub fn associations(&self, endpoint: EndpointId) -> Vec<AssocId> {
        self.table.iter().filter(|assoc| assoc.endpoint == endpoint).map(|assoc| assoc.id).collect()
    }

    /// How many associations an endpoint has that have not ended.
    pub fn association_count(&self, endpoint: EndpointId) -> usize {
        self.endpoints.get(endpoint).map_or(0, |endpoint| endpoint.associations)
    }

    /// The association of an endpoint with a peer, by any of the peer's addresses.
    pub fn find(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId> {
        self.table.by_peer(endpoint, remote, port)
    }

    /// Makes a path the primary one (RFC 9260 §11.1.5).
    pub fn set_primary(&mut self, now: Time, assoc: AssocId, path: PathId) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| assoc.set_primary(cx, path))?
    }

    /// Changes parameters of a path.
    pub fn set_path_parameters(
        &mut self,
        now: Time,
        assoc: AssocId,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| assoc.set_path_parameters(cx, path, parameters))?
    }

    /// Sends a HEARTBEAT over a path now (RFC 9260 §11.1.8).
    pub fn request_heartbeat(&mut self, now: Time, assoc: AssocId, path: PathId) -> Result<(), NotFound> {
        self.with(now, assoc, |assoc, cx| {
            assoc.paths.get(path).ok_or(NotFound)?;
            assoc.request_heartbeat(cx, usize::from(path.0));
            Ok(())
        })?
    }

    /// Counters of the stack.
    pub fn stats(&self) -> StackStats {
        StackStats { associations: self.table.len(), ..self.stats }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<AssocEvent> {
        let event = self.events.pop_front();
        // When associations end, all that was under way comes back at once: that room is not kept.
        if event.is_none() && self.events.capacity() > MAX_IDLE_EVENTS {
            self.events = VecDeque::new();
        }
        event
    }

    /// When to call [`Stack::handle_timeout`]; `None`: nothing is due. Ask when [`Stack::poll_transmit`]
    /// has nothing more: what arrived is accounted for by then.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.table.deadlines.next()
    }

    /// Does what is due at `now`. Call it when [`Stack::poll_timeout`]'s time has come; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.table.pop_due(now) {
            let _ = self.with(now, id, |assoc, cx| assoc.handle_timeout(cx));
        }
    }

    /// Calls an association, then enters its deadline and whether it has something to send.
    fn with<T>(
        &mut self,
        now: Time,
        id: AssocId,
        call: impl FnOnce(&mut Association, &mut Cx<'_>) -> T,
    ) -> Result<T, NotFound> {
        let entry = self.table.get_mut(id).ok_or(NotFound)?;
        let was_closed = entry.assoc.is_closed();
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let out = call(&mut entry.assoc, &mut cx);
        if !was_closed && entry.assoc.is_closed() {
            self.on_closed(now, id);
        }
        self.table.settle(id);
        Ok(out)
    }

    fn insert(&mut self, assoc: Box<Association>) {
        let id = assoc.id;
        if let Some(endpoint) = self.endpoints.get_mut(assoc.endpoint) {
            endpoint.associations += 1;
        }
        self.stats.associations_total += 1;
        self.table.insert(assoc);
        self.table.settle(id);
    }

    /// An association has ended: its tag and addresses are free, what it received stays readable.
    fn on_closed(&mut self, now: Time, id: AssocId) {
        // Its last packet leaves before any answer to what still comes in for it, which is out of the blue now.
        self.send_last_words(now, id);
        let Some(entry) = self.table.get(id) else { return };
        let (endpoint, life) = (entry.assoc.endpoint, setup::longest_life(entry.assoc.config()));
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.associations -= 1;
        }
        // A cookie with this tag may be around for as long as it lives.
        self.table.unlist(now, id, now + life);
    }

    fn remove(&mut self, id: AssocId) {
        self.table.remove(id);
    }
}
