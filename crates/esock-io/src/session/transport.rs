//! The transport that is made of a carrier.

use super::{Carrier, Sessions, Source};
use crate::clock;
use crate::driver::{Chosen, Turn};
use crate::error::EndpointError;
use crate::impair::Impairment;
use crate::session::sessions::EndpointEntry;
use crate::transport::{Held, Incoming, Transport};
use bytes::Bytes;
use esock_proto::{
    Address, AssocEvent, AssocId, AssociationStats, Capabilities, Capability, CloseReason, Config, ConfigError,
    ConnectError, EndpointConfig, EndpointId, Message, NotFound, PathError, PathId, PathParameters, PathState,
    PathStats, Peer, Rejected, SendError, SendOptions, State, Time,
};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Sockets that are looked at in one turn.
const EVENTS_PER_TURN: usize = 256;

/// See [`super`].
#[derive(Debug)]
pub(crate) struct SocketTransport<C: Carrier> {
    carrier: C,
    sessions: Sessions<C>,
    ready: mio::Events,
    chosen: Chosen,
}

impl<C: Carrier> SocketTransport<C> {
    pub(crate) fn new(carrier: C, chosen: Chosen) -> io::Result<Self> {
        let ready = mio::Events::with_capacity(EVENTS_PER_TURN);
        Ok(Self { carrier, sessions: Sessions::new()?, ready, chosen })
    }

    /// Serves sockets that are ready. Says whether there may be more.
    fn serve_ready(&mut self, now: Time) -> io::Result<Turn> {
        let mut turn = Turn::default();
        match self.sessions.poll.poll(&mut self.ready, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                turn.more = true;
                return Ok(turn);
            }
            polled => polled?,
        }
        for event in &self.ready {
            // Not packets, but what comes of them.
            turn.received += 1;
            let readable = event.is_readable() || event.is_read_closed() || event.is_error();
            let writable = event.is_writable() || event.is_write_closed();
            self.carrier.on_ready(&mut self.sessions, now, Source::of(event.token()), readable, writable);
        }
        turn.more = turn.received == EVENTS_PER_TURN;
        Ok(turn)
    }

    /// Serves those that are in a hurry, each once.
    fn serve_hurry(&mut self, now: Time) {
        for _ in 0..self.sessions.hurry.len() {
            let Some(id) = self.sessions.next_in_hurry() else { break };
            self.carrier.on_hurry(&mut self.sessions, now, id);
        }
    }

    fn serve_timers(&mut self, now: Time) {
        for _ in 0..self.sessions.timers.len() {
            match self.sessions.timers.first() {
                Some((at, _)) if *at <= now => {}
                _ => break,
            }
            if let Some((_, id)) = self.sessions.timers.pop_first() {
                self.carrier.on_timer(&mut self.sessions, now, id);
            }
        }
    }

    /// Ends an association that has not ended.
    fn end(&mut self, now: Time, id: AssocId, reason: &[u8], why: CloseReason) {
        self.carrier.abort(&mut self.sessions, now, id, reason);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let undelivered = self.carrier.undelivered(&mut session.link);
        self.sessions.on_closed(id, why, undelivered);
    }

    fn open_session(&self, id: AssocId) -> Result<(), NotFound> {
        let session = self.sessions.get(id).filter(|session| session.state != State::Closed && !session.undecided);
        session.map(|_| ()).ok_or(NotFound)
    }

    fn check_peer(&self, endpoint: EndpointId, peer: &Peer) -> Result<(), ConnectError> {
        let entry = self.sessions.endpoints.get(&endpoint).ok_or(ConnectError::NoEndpoint)?;
        if peer.addresses.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        if peer.port == 0 {
            return Err(ConnectError::BadPort);
        }
        for address in &peer.addresses {
            let is_self = entry.port == peer.port && entry.addresses.contains(address);
            if !address.is_usable_peer() || is_self {
                return Err(ConnectError::BadAddress(*address));
            }
            if self.sessions.find(endpoint, *address, peer.port).is_some() {
                return Err(ConnectError::Exists);
            }
        }
        Ok(())
    }
}

/// A field of the configuration that asks for what a backend cannot do, and what that is.
fn unsupported(config: &Config, can: Capabilities) -> Option<(&'static str, Capability)> {
    let usual = Config::default();
    let asks = [
        ("adaptation", Capability::Adaptation, config.adaptation.is_some()),
        ("partial_delivery", Capability::PartialDelivery, config.partial_delivery),
        ("congestion", Capability::CongestionControl, config.congestion != usual.congestion),
        ("loss_recovery", Capability::CongestionControl, config.loss_recovery != usual.loss_recovery),
        ("hystart", Capability::CongestionControl, config.hystart),
        ("pacing", Capability::CongestionControl, config.pacing),
    ];
    let found = asks.into_iter().find(|(_, needed, asked)| *asked && !can.has(*needed));
    found.map(|(field, needed, _)| (field, needed))
}

impl<C: Carrier> Transport for SocketTransport<C> {
    fn backend(&self) -> &Chosen {
        &self.chosen
    }

    fn capabilities(&self) -> Capabilities {
        self.carrier.capabilities()
    }

    fn now(&self) -> Time {
        clock::now()
    }

    fn turn(&mut self, now: Time) -> io::Result<Turn> {
        let ready = self.serve_ready(now)?;
        if self.carrier.due().is_some_and(|at| at <= now) {
            self.carrier.on_due(&mut self.sessions, now);
        }
        let mut turn = self.flush(now);
        turn.more |= ready.more;
        turn.received = ready.received;
        Ok(turn)
    }

    fn flush(&mut self, now: Time) -> Turn {
        self.serve_timers(now);
        self.serve_hurry(now);
        Turn { more: self.wants_transmit(), deadline: self.poll_timeout(), ..Turn::default() }
    }

    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        // SAFETY: the descriptor is open as long as the poll, which is borrowed here.
        let fd = unsafe { BorrowedFd::borrow_raw(self.sessions.poll.as_raw_fd()) };
        let fd = fd.try_clone_to_owned()?;
        crate::sys::set_nonblocking(&fd)?;
        Ok(vec![fd])
    }

    fn is_blocked(&self) -> bool {
        false
    }

    fn blocked(&self) -> Vec<bool> {
        vec![false]
    }

    fn wants_transmit(&self) -> bool {
        !self.sessions.hurry.is_empty()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let timer = self.sessions.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.carrier.due()).min()
    }

    fn impairment(&mut self) -> Option<&mut Impairment> {
        None
    }

    fn open_endpoint(&mut self, mut config: EndpointConfig) -> Result<EndpointId, EndpointError> {
        let wrong = |error| EndpointError::Open(esock_proto::OpenError::Config(error));
        config.config.validate().map_err(wrong)?;
        if let Some((field, missing)) = unsupported(&config.config, self.carrier.capabilities()) {
            let problem = format!("this backend has no {missing}: leave it as it is, or choose another backend");
            return Err(wrong(ConfigError { field, problem }));
        }
        let id = self.sessions.next_endpoint();
        let opened = self.carrier.open(&self.sessions, id, &config)?;
        config.port = opened.port;
        let entry = EndpointEntry {
            sockets: opened.sockets,
            port: opened.port,
            addresses: config.addresses,
            config: config.config,
            accepting: false,
            members: HashSet::new(),
            open: 0,
        };
        self.sessions.endpoints.insert(id, entry);
        self.carrier.set_accepting(&mut self.sessions, id, false);
        Ok(id)
    }

    fn close_endpoint(&mut self, now: Time, endpoint: EndpointId) {
        let Some(entry) = self.sessions.endpoints.get(&endpoint) else { return };
        for id in entry.members.iter().copied().collect::<Vec<_>>() {
            match self.sessions.get(id) {
                Some(session) if session.undecided => self.carrier.refuse(&mut self.sessions, now, id, &[]),
                Some(session) if session.state != State::Closed => {
                    self.end(now, id, &[], CloseReason::EndpointClosed);
                }
                _ => {}
            }
        }
        self.sessions.endpoints.remove(&endpoint);
    }

    fn endpoint_port(&self, endpoint: EndpointId) -> Option<u16> {
        self.sessions.endpoints.get(&endpoint).map(|entry| entry.port)
    }

    fn endpoint_addresses(&self, endpoint: EndpointId) -> Vec<Address> {
        self.sessions.endpoints.get(&endpoint).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    fn set_accepting(&mut self, endpoint: EndpointId, accepting: bool) {
        if let Some(entry) = self.sessions.endpoints.get_mut(&endpoint)
            && entry.accepting != accepting
        {
            entry.accepting = accepting;
            self.carrier.set_accepting(&mut self.sessions, endpoint, accepting);
        }
    }

    fn poll_incoming(&mut self) -> Option<Incoming> {
        self.sessions.incoming.pop_front()
    }

    fn accept(&mut self, now: Time, incoming: Incoming) -> Option<AssocId> {
        let Held::Session(id) = incoming.held else { return None };
        let earlier = self.sessions.earlier(id);
        if !self.sessions.take_in(id) {
            return None;
        }
        for id in earlier {
            self.end(now, id, &[], CloseReason::PeerAbort { cause: None, info: Bytes::new() });
        }
        self.carrier.accept(&mut self.sessions, now, id);
        Some(id)
    }

    fn refuse(&mut self, now: Time, incoming: Incoming, reason: &[u8]) {
        if let Held::Session(id) = incoming.held
            && self.sessions.get(id).is_some_and(|session| session.undecided)
        {
            self.carrier.refuse(&mut self.sessions, now, id, reason);
        }
    }

    /// A connection cannot be made unseen: it is refused.
    fn ignore(&mut self, incoming: Incoming) {
        self.refuse(clock::now(), incoming, &[]);
    }

    fn connect(
        &mut self,
        now: Time,
        endpoint: EndpointId,
        peer: &Peer,
        config: Option<Config>,
    ) -> Result<AssocId, ConnectError> {
        self.check_peer(endpoint, peer)?;
        let entry = self.sessions.endpoints.get(&endpoint).ok_or(ConnectError::NoEndpoint)?;
        let config = config.unwrap_or_else(|| entry.config.clone());
        config.validate().map_err(ConnectError::Config)?;
        if let Some((_, missing)) = unsupported(&config, self.carrier.capabilities()) {
            return Err(ConnectError::Unsupported(missing));
        }
        let id = self.sessions.next_id();
        let link = self.carrier.connect(&mut self.sessions, now, (id, endpoint), peer, &config)?;
        let id = self.sessions.insert(endpoint, link, config, (peer.addresses.clone(), peer.port), false);
        self.sessions.hurry(id);
        Ok(id)
    }

    fn send(&mut self, now: Time, id: AssocId, options: SendOptions, payload: Bytes) -> Result<(), Rejected> {
        if let Err(error) = self.sessions.may_send(id) {
            return Err(Rejected { error, payload });
        }
        let Some(session) = self.sessions.get(id) else {
            return Err(Rejected { error: SendError::Closed, payload });
        };
        let limit = session.config.send_buffer;
        if payload.is_empty() {
            return Err(Rejected { error: SendError::Empty, payload });
        }
        if payload.len() > limit {
            let len = payload.len();
            return Err(Rejected { error: SendError::TooLarge { len, limit }, payload });
        }
        let sent = self.carrier.send(&mut self.sessions, now, id, options, payload);
        if let Some(session) = self.sessions.get_mut(id) {
            match &sent {
                Ok(()) => session.counters.messages_sent += 1,
                Err(Rejected { error: SendError::Full, .. }) => session.wants_room = true,
                Err(_) => {}
            }
        }
        sent
    }

    fn recv(&mut self, id: AssocId) -> Option<Message> {
        let session = self.sessions.get_mut(id)?;
        let (message, goes_on) = session.mailbox.pop();
        session.counters.messages_received += u64::from(message.is_some());
        if goes_on {
            self.sessions.hurry(id);
        }
        message
    }

    fn ready_messages(&self, id: AssocId) -> usize {
        self.sessions.get(id).map_or(0, |session| session.mailbox.len())
    }

    fn poll_event(&mut self) -> Option<AssocEvent> {
        loop {
            let (id, event) = self.sessions.events.pop_front()?;
            if self.sessions.get(id).is_some() {
                return Some((id, event));
            }
        }
    }

    fn shutdown(&mut self, now: Time, id: AssocId) -> Result<(), NotFound> {
        self.open_session(id)?;
        match self.sessions.get(id).map(|session| session.state) {
            // Nothing can have been delivered: there is nothing to wait for.
            Some(State::CookieWait) => self.end(now, id, &[], CloseReason::LocalAbort),
            Some(State::CookieEchoed | State::Established | State::ShutdownReceived) => {
                self.carrier.shutdown(&mut self.sessions, now, id);
            }
            _ => {}
        }
        Ok(())
    }

    fn abort(&mut self, now: Time, id: AssocId, reason: &[u8]) -> Result<(), NotFound> {
        self.open_session(id)?;
        self.end(now, id, reason, CloseReason::LocalAbort);
        Ok(())
    }

    fn release(&mut self, now: Time, id: AssocId) {
        if self.open_session(id).is_ok() {
            self.carrier.abort(&mut self.sessions, now, id, &[]);
        }
        // Its events go with it: `poll_event` passes over them.
        self.sessions.remove(id);
    }

    fn state(&self, id: AssocId) -> Option<State> {
        self.sessions.get(id).map(|session| session.state)
    }

    fn association(&self, _now: Time, id: AssocId) -> Option<AssociationStats> {
        let session = self.sessions.get(id)?;
        let mut stats = AssociationStats::new(session.endpoint, session.state);
        stats.local_port = self.sessions.endpoints.get(&session.endpoint).map_or(0, |entry| entry.port);
        stats.peer_port = session.peer_port;
        stats.negotiated = session.negotiated;
        stats.ready_messages = session.mailbox.len();
        stats.receive_buffered = session.mailbox.bytes();
        stats.a_rwnd = u32::try_from(session.mailbox.free()).unwrap_or(u32::MAX);
        stats.counters = session.counters;
        let path = |(number, address): (usize, &Address)| {
            let state = if session.state == State::Closed { PathState::Inactive } else { PathState::Active };
            PathStats::new(PathId(number as u16), *address, state)
        };
        stats.paths = session.addresses.iter().enumerate().map(path).collect();
        self.carrier.describe(session, &mut stats);
        Some(stats)
    }

    fn local_addresses(&self, id: AssocId) -> Vec<Address> {
        self.sessions.get(id).map(|session| self.carrier.local_addresses(session)).unwrap_or_default()
    }

    fn association_count(&self, endpoint: EndpointId) -> usize {
        self.sessions.endpoints.get(&endpoint).map_or(0, |entry| entry.open)
    }

    fn find(&self, endpoint: EndpointId, remote: Address, port: u16) -> Option<AssocId> {
        self.sessions.find(endpoint, remote, port)
    }

    fn set_primary(&mut self, _now: Time, id: AssocId, path: PathId) -> Result<(), PathError> {
        let session = self.sessions.get_mut(id).ok_or(PathError::NotFound)?;
        self.carrier.set_primary(session, path)
    }

    fn set_path_parameters(
        &mut self,
        _now: Time,
        id: AssocId,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), PathError> {
        let session = self.sessions.get_mut(id).ok_or(PathError::NotFound)?;
        self.carrier.set_path_parameters(session, path, parameters)
    }

    fn request_heartbeat(&mut self, _now: Time, id: AssocId, path: PathId) -> Result<(), PathError> {
        let session = self.sessions.get_mut(id).ok_or(PathError::NotFound)?;
        self.carrier.request_heartbeat(session, path)
    }
}
