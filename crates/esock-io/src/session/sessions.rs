//! Which endpoints and associations there are, and what has happened on them.

use super::{Carrier, Mailbox};
use crate::transport::{Held, Incoming};
use bytes::Bytes;
use esock_proto::{
    Address, AssocEvent, AssocId, CloseReason, Config, Counters, EndpointId, Event, Message, Negotiated, Part, Ppid,
    SendError, State, StreamId, Time, Undelivered,
};
use mio::event::Source as MioSource;
use mio::{Interest, Poll, Token};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;

/// Peers that wait for a decision; more are refused.
const MAX_UNDECIDED: usize = 4096;

/// Tokens of endpoints have this bit.
const ENDPOINT: usize = 1 << 63;

/// Whose socket is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// An endpoint's; the number that it was watched with.
    Endpoint(EndpointId, u16),
    /// An association's.
    Session(AssocId),
}

impl Source {
    pub(super) fn token(self) -> Token {
        Token(match self {
            Self::Endpoint(id, number) => ENDPOINT | (id.number() as usize) << 16 | usize::from(number),
            // The generation's highest bit is given up: sockets are closed, and with them unwatched, long before.
            Self::Session(id) => (id.generation() as usize & 0x7fff_ffff) << 32 | id.slot(),
        })
    }

    pub(super) fn of(token: Token) -> Self {
        let Token(bits) = token;
        if bits & ENDPOINT == 0 {
            Self::Session(AssocId::new(bits as u32, (bits >> 32) as u32))
        } else {
            Self::Endpoint(EndpointId::new(((bits & !ENDPOINT) >> 16) as u32), bits as u16)
        }
    }
}

/// An endpoint that was opened.
#[derive(Debug)]
pub(crate) struct Opened<E> {
    pub(crate) sockets: E,
    pub(crate) port: u16,
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct EndpointEntry<E> {
    pub(crate) sockets: E,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<Address>,
    pub(crate) config: Config,
    pub(crate) accepting: bool,
    pub(super) members: HashSet<AssocId>,
    /// Its associations that have not ended and were not refused.
    pub(super) open: usize,
}

/// An association, or a peer that wants to become one.
#[derive(Debug)]
pub(crate) struct Session<L> {
    pub(crate) endpoint: EndpointId,
    pub(crate) state: State,
    pub(crate) link: L,
    pub(crate) config: Config,
    pub(crate) negotiated: Negotiated,
    /// The peer's, one per path.
    pub(crate) addresses: Vec<Address>,
    pub(crate) peer_port: u16,
    pub(crate) mailbox: Mailbox,
    pub(crate) counters: Counters,
    /// The user has not decided yet.
    pub(crate) undecided: bool,
    /// The peer came to us.
    pub(super) came: bool,
    /// The user was told that there is no room to send.
    pub(crate) wants_room: bool,
    hurried: bool,
}

#[derive(Debug)]
struct Slot<L> {
    generation: u32,
    session: Option<Box<Session<L>>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sessions<C: Carrier> {
    pub(super) poll: Poll,
    pub(crate) endpoints: HashMap<EndpointId, EndpointEntry<C::Endpoint>>,
    slots: Vec<Slot<C::Link>>,
    free: Vec<u32>,
    /// The keys are chosen by peers: std's hash is keyed.
    by_peer: HashMap<(EndpointId, Address, u16), AssocId>,
    pub(super) events: VecDeque<AssocEvent>,
    pub(super) incoming: VecDeque<Incoming>,
    undecided: usize,
    pub(super) hurry: VecDeque<AssocId>,
    pub(super) timers: BTreeSet<(Time, AssocId)>,
    last_endpoint: u32,
}

impl<C: Carrier> Sessions<C> {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            endpoints: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            by_peer: HashMap::new(),
            events: VecDeque::new(),
            incoming: VecDeque::new(),
            undecided: 0,
            hurry: VecDeque::new(),
            timers: BTreeSet::new(),
            last_endpoint: 0,
        })
    }

    /// Watches a socket until it is closed.
    pub(crate) fn watch(&self, socket: &mut impl MioSource, source: Source) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket, source.token(), interest)
    }

    /// Tells again of what is there already.
    pub(crate) fn watch_again(&self, socket: &mut impl MioSource, source: Source) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(socket, source.token(), interest)
    }

    pub(super) fn next_endpoint(&mut self) -> EndpointId {
        // 31 bits of a token; nobody opens so many.
        self.last_endpoint = self.last_endpoint.wrapping_add(1) & 0x7fff_ffff;
        EndpointId::new(self.last_endpoint)
    }

    pub(crate) fn get(&self, id: AssocId) -> Option<&Session<C::Link>> {
        self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation())?.session.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: AssocId) -> Option<&mut Session<C::Link>> {
        self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())?.session.as_deref_mut()
    }

    /// The number that the next session gets: its socket has to be watched with it.
    pub(crate) fn next_id(&mut self) -> AssocId {
        let slot = self.free.last().copied().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, session: None });
            self.free.push(self.slots.len() as u32 - 1);
            self.slots.len() as u32 - 1
        });
        AssocId::new(slot, self.slots[slot as usize].generation)
    }

    /// Adds a session under [`Sessions::next_id`].
    pub(crate) fn insert(
        &mut self,
        endpoint: EndpointId,
        link: C::Link,
        config: Config,
        (addresses, peer_port): (Vec<Address>, u16),
        undecided: bool,
    ) -> AssocId {
        let id = self.next_id();
        self.free.pop();
        if let Some(entry) = self.endpoints.get_mut(&endpoint) {
            entry.members.insert(id);
            entry.open += usize::from(!undecided);
        }
        self.undecided += usize::from(undecided);
        let mailbox = Mailbox::new(config.receive_window as usize);
        let session = Session {
            endpoint,
            state: if undecided { State::CookieEchoed } else { State::CookieWait },
            link,
            config,
            negotiated: Negotiated::default(),
            addresses,
            peer_port,
            mailbox,
            counters: Counters::default(),
            undecided,
            came: undecided,
            wants_room: false,
            hurried: false,
        };
        self.slots[id.slot()].session = Some(Box::new(session));
        self.list(id);
        id
    }

    /// Whether another peer may wait for a decision.
    pub(crate) fn has_room_for_undecided(&self) -> bool {
        self.undecided < MAX_UNDECIDED
    }

    /// The peer's addresses are these from now on. Known ones keep their places: they are the numbers of paths.
    pub(crate) fn set_addresses(&mut self, id: AssocId, addresses: &[Address]) {
        let Some(session) = self.slots.get_mut(id.slot()).and_then(|slot| slot.session.as_deref_mut()) else { return };
        for address in addresses {
            if !session.addresses.contains(address) {
                session.addresses.push(*address);
            }
        }
        self.list(id);
    }

    /// It is found by its peer from now on. One that nobody has decided on is not: it may claim to be another.
    fn list(&mut self, id: AssocId) {
        let Some(session) = self.slots.get(id.slot()).and_then(|slot| slot.session.as_deref()) else { return };
        if !session.undecided {
            for address in &session.addresses {
                self.by_peer.insert((session.endpoint, *address, session.peer_port), id);
            }
        }
    }

    /// The peer has these addresses, and this port, instead of those that it was known by.
    pub(crate) fn relist(&mut self, id: AssocId, addresses: Vec<Address>, port: Option<u16>) {
        self.unlist(id);
        let Some(session) = self.slots.get_mut(id.slot()).and_then(|slot| slot.session.as_deref_mut()) else { return };
        session.peer_port = port.unwrap_or(session.peer_port);
        session.addresses = addresses;
        self.list(id);
    }

    pub(crate) fn find(&self, endpoint: EndpointId, address: Address, port: u16) -> Option<AssocId> {
        self.by_peer.get(&(endpoint, address, port)).copied()
    }

    /// Associations that came from the same peer before this one, and have not ended: the peer has restarted, or
    /// its connection broke without our hearing of it.
    pub(super) fn earlier(&self, id: AssocId) -> Vec<AssocId> {
        let Some(session) = self.get(id) else { return Vec::new() };
        let listed = session.addresses.iter().filter_map(|at| self.find(session.endpoint, *at, session.peer_port));
        let lives = |other: &AssocId| {
            *other != id && self.get(*other).is_some_and(|other| other.came && other.state != State::Closed)
        };
        let mut earlier: Vec<_> = listed.filter(lives).collect();
        earlier.dedup();
        earlier
    }

    /// Offers a peer to the user.
    pub(crate) fn offer(&mut self, id: AssocId, negotiated: Negotiated, encap_port: Option<u16>) {
        let Some(session) = self.get_mut(id) else { return };
        session.negotiated = negotiated;
        let (endpoint, addresses, port) = (session.endpoint, session.addresses.clone(), session.peer_port);
        let held = Held::Session(id);
        self.incoming.push_back(Incoming { endpoint, addresses, port, negotiated, encap_port, held });
    }

    /// The user has decided for a peer.
    pub(super) fn take_in(&mut self, id: AssocId) -> bool {
        let Some(session) = self.get_mut(id).filter(|session| session.undecided) else { return false };
        session.undecided = false;
        let endpoint = session.endpoint;
        self.undecided -= 1;
        if let Some(entry) = self.endpoints.get_mut(&endpoint) {
            entry.open += 1;
        }
        self.list(id);
        true
    }

    /// An association is up.
    pub(crate) fn on_up(&mut self, id: AssocId, negotiated: Negotiated) {
        let Some(session) = self.get_mut(id) else { return };
        session.negotiated = negotiated;
        session.state = State::Established;
        self.on_event(id, Event::Up(negotiated));
    }

    /// Tells the user of something.
    pub(crate) fn on_event(&mut self, id: AssocId, event: Event) {
        if self.get(id).is_some_and(|session| !session.undecided) {
            self.events.push_back((id, event));
        }
    }

    /// A message has arrived.
    pub(crate) fn on_message(&mut self, id: AssocId, message: Message) {
        let Some(session) = self.get_mut(id) else { return };
        session.counters.bytes_received += message.payload.len() as u64;
        if session.mailbox.push(message) {
            self.on_event(id, Event::Readable);
        }
    }

    /// Nothing more will come of a message that arrives in pieces.
    pub(crate) fn cut_message(&mut self, id: AssocId) {
        if self.get(id).is_some_and(|session| session.mailbox.is_midway()) {
            let mut nothing = Message::new(StreamId(0), Ppid(0), Bytes::new());
            nothing.part = Part::Cut;
            self.on_message(id, nothing);
        }
    }

    /// There is room to send again.
    pub(crate) fn on_room(&mut self, id: AssocId) {
        let Some(session) = self.get_mut(id) else { return };
        if std::mem::take(&mut session.wants_room) {
            self.on_event(id, Event::Writable);
        }
    }

    /// An association has ended. One that nobody has decided on is forgotten.
    pub(crate) fn on_closed(&mut self, id: AssocId, reason: CloseReason, undelivered: Vec<Undelivered>) {
        let Some(session) = self.get_mut(id).filter(|session| session.state != State::Closed) else { return };
        session.state = State::Closed;
        let (endpoint, undecided) = (session.endpoint, session.undecided);
        self.unlist(id);
        self.cut_message(id);
        if undecided {
            self.incoming.retain(|incoming| !matches!(incoming.held, Held::Session(held) if held == id));
            self.remove(id);
            return;
        }
        if let Some(entry) = self.endpoints.get_mut(&endpoint) {
            entry.open -= 1;
        }
        self.events.extend(undelivered.into_iter().map(|back| (id, Event::Undelivered(back))));
        self.events.push_back((id, Event::Closed(reason)));
    }

    /// It is not found by its peer any more.
    fn unlist(&mut self, id: AssocId) {
        let Some(session) = self.slots.get(id.slot()).and_then(|slot| slot.session.as_deref()) else { return };
        for address in &session.addresses {
            let key = (session.endpoint, *address, session.peer_port);
            if self.by_peer.get(&key) == Some(&id) {
                self.by_peer.remove(&key);
            }
        }
    }

    /// Forgets a session; dropping its link closes its socket.
    pub(crate) fn remove(&mut self, id: AssocId) -> Option<Box<Session<C::Link>>> {
        self.unlist(id);
        let slot = self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())?;
        let session = slot.session.take()?;
        slot.generation = slot.generation.wrapping_add(1) & 0x7fff_ffff;
        self.free.push(id.slot() as u32);
        self.undecided -= usize::from(session.undecided);
        if let Some(entry) = self.endpoints.get_mut(&session.endpoint) {
            entry.members.remove(&id);
            entry.open -= usize::from(!session.undecided && session.state != State::Closed);
        }
        Some(session)
    }

    /// Reads and writes a session again though its socket shows no new edge.
    pub(crate) fn hurry(&mut self, id: AssocId) {
        if let Some(session) = self.get_mut(id)
            && !std::mem::replace(&mut session.hurried, true)
        {
            self.hurry.push_back(id);
        }
    }

    pub(super) fn next_in_hurry(&mut self) -> Option<AssocId> {
        let id = self.hurry.pop_front()?;
        if let Some(session) = self.get_mut(id) {
            session.hurried = false;
        }
        Some(id)
    }

    /// Has the carrier called at a time.
    pub(crate) fn set_timer(&mut self, at: Time, id: AssocId) {
        self.timers.insert((at, id));
    }

    /// Takes that back.
    pub(crate) fn clear_timer(&mut self, at: Time, id: AssocId) {
        self.timers.remove(&(at, id));
    }

    /// Whether messages are taken on an association, and if not, why.
    pub(super) fn may_send(&self, id: AssocId) -> Result<(), SendError> {
        match self.get(id).filter(|session| !session.undecided).map(|session| session.state) {
            Some(State::CookieWait | State::CookieEchoed | State::Established) => Ok(()),
            Some(State::Closed) | None => Err(SendError::Closed),
            Some(_) => Err(SendError::ShuttingDown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_token_of_its_own() {
        let sources = [
            Source::Session(AssocId::new(0, 0)),
            Source::Session(AssocId::new(1, 0)),
            Source::Session(AssocId::new(u32::MAX, 0x7fff_ffff)),
            Source::Endpoint(EndpointId::new(1), 0),
            Source::Endpoint(EndpointId::new(1), 65535),
            Source::Endpoint(EndpointId::new(0x7fff_ffff), 1),
        ];
        for source in sources {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
