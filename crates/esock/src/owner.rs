//! Owners: they receive what happens on the associations of an endpoint that their filter accepts.

use crate::association::{Association, Handle};
use crate::connect::ConnectTo;
use crate::endpoint::Core;
use crate::error::ConnectError;
use crate::events::EndpointEvent;
use crate::line::replace;
use crate::link::{LinkId, Sink};
use crate::receiver::{Received, Receiver};
use crate::shard::Shard;
use crate::state::{OwnerState, State, new_number};
use crate::supervisor::Supervision;
use crate::{Address, AssociationStats, Event, Message, Negotiated};
use esock_io::Incoming;
use esock_proto::{Peer, Time};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use tokio::task::coop::cooperative;

/// A peer that wants an association: its cookie was valid, nothing is kept for it yet (where the backend has
/// [`Capability::StatelessAccept`](crate::Capability::StatelessAccept)). Or the peer of an association whose
/// owner has gone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Candidate {
    /// Its addresses; the first is where its INIT came from.
    pub addresses: Vec<Address>,
    /// Its port.
    pub port: u16,
    /// Associations that the endpoint has now. Peers are decided on one after the other, so it is a limit's to go by;
    /// but each of several [shards](crate::EndpointBuilder::shards) decides for itself.
    pub associations: usize,
    /// What would be agreed on: streams, adaptation indication.
    pub negotiated: Negotiated,
    /// Its UDP port, `None` without encapsulation.
    pub encap_port: Option<u16>,
}

/// Associations are counted when its filters are asked.
impl Candidate {
    pub(crate) fn new(incoming: &Incoming) -> Self {
        Self {
            addresses: incoming.addresses.clone(),
            port: incoming.port,
            associations: 0,
            negotiated: incoming.negotiated,
            encap_port: incoming.encap_port,
        }
    }

    /// The peer of an association that there is already.
    pub(crate) fn of(stats: &AssociationStats) -> Self {
        Self {
            addresses: stats.paths.iter().map(|path| path.remote).collect(),
            port: stats.peer_port,
            associations: 0,
            negotiated: stats.negotiated,
            encap_port: stats.paths.first().and_then(|path| path.encap_port),
        }
    }

    /// A peer that a supervised association is to reach.
    pub(crate) fn at(peer: &Peer) -> Self {
        Self {
            addresses: peer.addresses.clone(),
            port: peer.port,
            associations: 0,
            negotiated: Negotiated::default(),
            encap_port: None,
        }
    }
}

/// A filter that accepts the peer with this address (any of its addresses) and port, for
/// [`Endpoint::register_owner`](crate::Endpoint::register_owner).
pub fn peer(address: impl Into<Address>, port: u16) -> impl Fn(&Candidate) -> bool + Send + Sync + 'static {
    let address = address.into();
    move |candidate| candidate.port == port && candidate.addresses.contains(&address)
}

/// A filter that can be called outside the lock.
#[derive(Clone)]
pub(crate) struct Filter(Arc<dyn Fn(&Candidate) -> bool + Send + Sync>);

impl Filter {
    pub fn new(filter: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(filter))
    }

    /// A filter that panics says no: whoever runs it here serves others as well.
    pub fn accepts(&self, candidate: &Candidate) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(candidate))).unwrap_or(false)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// What becomes of an owner's associations when it is dropped; those that somebody else has a handle of, and
/// supervised ones, live on in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDrop {
    /// They are shut down.
    #[default]
    Close,
    /// The other owners of the endpoint are asked, in their order, as for a new peer; the first that says yes has it
    /// from then on, beginning with [`Event::Up`] and with what the old one has not read. If none does, it is shut down.
    HandOver,
}

/// What an owner receives.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum OwnerEvent {
    /// A message from a peer: whole, unless `Config::partial_delivery` is on, see `Message::part`.
    Message {
        /// Whose.
        association: Association,
        /// The message.
        message: Message,
    },
    /// Something has happened on an association. [`Event::Up`] comes first, but for what became of messages
    /// that were sent before ([`Event::Undelivered`], [`Event::Expired`]); [`Event::Closed`] comes last.
    Event {
        /// Whose.
        association: Association,
        /// What happened.
        event: Event,
    },
    /// Something has happened to the endpoint as a whole.
    Endpoint(EndpointEvent),
}

impl OwnerEvent {
    /// The association that it is about, if it is about one.
    pub fn association(&self) -> Option<&Association> {
        match self {
            Self::Message { association, .. } | Self::Event { association, .. } => Some(association),
            Self::Endpoint(_) => None,
        }
    }

    /// The same as an association and what it received; `None` if it is about the endpoint.
    pub fn into_received(self) -> Option<(Association, Received)> {
        match self {
            Self::Message { association, message } => Some((association, Received::Message(message))),
            Self::Event { association, event } => Some((association, Received::Event(event))),
            Self::Endpoint(_) => None,
        }
    }
}

/// Receives what happens on the associations that its filter accepted. It keeps them: when it is
/// dropped it is unregistered, and what becomes of its associations is said with [`Owner::on_drop`].
/// It can be moved to another task, and so be handed over with all it has.
///
/// Associations take turns, one message each: one that is noisy does not keep the others waiting.
#[derive(Debug)]
pub struct Owner {
    core: Arc<Core>,
    number: u64,
    associations: HashMap<LinkId, Association>,
    /// The shard that is asked first, next time: they take turns.
    turn: usize,
}

enum Found {
    Link(LinkId, Received),
    Endpoint(EndpointEvent),
}

impl Owner {
    pub(crate) fn register(core: &Arc<Core>, filter: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Self {
        let (number, filter) = (new_number(), Filter::new(filter));
        for shard in &core.shards {
            let filter = filter.clone();
            shard.with(|state, _| {
                let owner = OwnerState {
                    endpoint: core.key,
                    ready: VecDeque::new(),
                    reader: None,
                    open: 0,
                    events: VecDeque::new(),
                    on_drop: OnDrop::default(),
                };
                state.owners.insert(number, owner);
                if let Some(endpoint) = state.endpoints.get_mut(&core.key) {
                    endpoint.owners.push((number, filter));
                }
                state.update_accepting(core.key);
            });
        }
        Self { core: core.clone(), number, associations: HashMap::new(), turn: 0 }
    }

    /// Says what becomes of its associations when it is dropped. [`OnDrop::Close`].
    pub fn on_drop(&self, on_drop: OnDrop) {
        for shard in &self.core.shards {
            if let Some(owner) = shard.lock().owners.get_mut(&self.number) {
                owner.on_drop = on_drop;
            }
        }
    }

    fn sink(&self) -> Sink {
        Sink::Owner { owner: self.number, queued: false }
    }

    /// Connects to a peer; what happens on the association comes to this owner. If it cannot be made, the owner
    /// is told of its end as well.
    ///
    /// When dropped, the attempt goes on, and the owner hears of it.
    pub async fn connect(&self, to: ConnectTo) -> Result<Association, ConnectError> {
        crate::connect::connect(&self.core, to, self.sink()).await
    }

    /// As [`Endpoint::supervise`](crate::Endpoint::supervise); what happens on the association comes to this owner.
    pub fn supervise(&self, to: ConnectTo, policy: Supervision) -> Result<Association, ConnectError> {
        crate::connect::supervise(&self.core, to, policy, self.sink())
    }

    /// Takes over an association: what happens on it, and what was not read, comes to this owner from now on.
    ///
    /// # Errors
    /// An association of another endpoint comes back.
    pub fn adopt(&mut self, receiver: Receiver) -> Result<Association, Receiver> {
        let association = receiver.association().clone();
        if !Arc::ptr_eq(association.core(), &self.core) {
            return Err(receiver);
        }
        let id = association.id();
        self.core.shard(id).with(|state, _| {
            let Some(link) = state.links.get_mut(id) else { return };
            link.sink = Sink::Owner { owner: self.number, queued: false };
            let finished = link.finished;
            if !finished && let Some(owner) = state.owners.get_mut(&self.number) {
                owner.open += 1;
            }
            state.wake_reader(id);
        });
        self.associations.insert(id, association.clone());
        Ok(association)
    }

    /// Lets go of an association: what happens on it, and what was not read, is for the receiver from now on.
    /// `None` if it is not this owner's.
    pub fn release(&mut self, association: &Association) -> Option<Receiver> {
        // Of another endpoint: what is here under that number is something else.
        if !Arc::ptr_eq(association.core(), &self.core) {
            return None;
        }
        let id = association.id();
        let mut state = self.core.shard(id).lock();
        let link = state.links.get_mut(id).filter(|link| link.is_of(self.number))?;
        link.sink = Sink::Receiver { held: true };
        let finished = link.finished;
        if !finished && let Some(owner) = state.owners.get_mut(&self.number) {
            owner.open -= 1;
        }
        drop(state);
        self.associations.remove(&id);
        Some(Receiver::new(association.clone()))
    }

    /// The next message or event of any of its associations, or of its endpoint; `None` when the endpoint was closed,
    /// or all [`Endpoint`](crate::Endpoint)s were dropped so that nobody is accepted any more, and everything has
    /// been read.
    ///
    /// Cancel safe: nothing is lost when it is dropped.
    pub async fn recv(&mut self) -> Option<OwnerEvent> {
        let (id, next) = match cooperative(poll_fn(|cx| self.poll_next(cx))).await? {
            (Found::Endpoint(event), _) => return Some(OwnerEvent::Endpoint(event)),
            (Found::Link(id, next), handle) => {
                if let Some(handle) = handle {
                    self.associations.entry(id).or_insert_with(|| Association::new(handle));
                }
                (id, next)
            }
        };
        let association = self.associations.get(&id)?.clone();
        // Reading may have opened a window: the peer is told at once.
        let shard = self.core.shard(id);
        if shard.lock().has_opened() {
            shard.with(|_, _| ());
        }
        Some(match next {
            Received::Message(message) => OwnerEvent::Message { association, message },
            Received::Event(event) => {
                if matches!(event, Event::Closed(_)) {
                    self.associations.remove(&id);
                }
                OwnerEvent::Event { association, event }
            }
        })
    }

    /// What is next, with a handle of an association that it has none of yet.
    fn poll_next(&mut self, cx: &std::task::Context<'_>) -> Poll<Option<(Found, Option<Arc<Handle>>)>> {
        let count = self.core.shards.len();
        let mut over = true;
        for at in (0..count).map(|step| (self.turn + step) % count) {
            match self.poll_shard(&self.core.shards[at], cx) {
                Poll::Ready(None) => {}
                Poll::Pending => over = false,
                found => {
                    self.turn = at + 1;
                    return found;
                }
            }
        }
        if over { Poll::Ready(None) } else { Poll::Pending }
    }

    /// The same of one shard.
    fn poll_shard(&self, shard: &Shard, cx: &std::task::Context<'_>) -> Poll<Option<(Found, Option<Arc<Handle>>)>> {
        let mut guard = shard.lock();
        let state = &mut *guard;
        let Some(owner) = state.owners.get_mut(&self.number) else { return Poll::Ready(None) };
        if let Some(event) = owner.events.pop_front() {
            return Poll::Ready(Some((Found::Endpoint(event), None)));
        }
        while let Some(id) = owner.ready.pop_front() {
            let Some(link) = state.links.get_mut(id).filter(|link| link.is_of(self.number)) else { continue };
            let next = link.next(&mut *state.transport);
            let more = link.has_next(&*state.transport);
            link.make_room(&mut state.wakes);
            link.sink = Sink::Owner { owner: self.number, queued: more };
            if more {
                owner.ready.push_back(id);
            }
            owner.open -= usize::from(link.finished && next.is_some());
            if let Some(next) = next {
                let known = self.associations.contains_key(&id);
                let handle = if known { None } else { state.handle(&self.core, id) };
                return Poll::Ready(Some((Found::Link(id, next), handle)));
            }
        }
        // Nobody new comes any more, and the others have said all.
        let shut = state.endpoints.get(&self.core.key).is_none_or(|endpoint| endpoint.shut);
        if (shut || state.failed) && owner.open == 0 {
            return Poll::Ready(None);
        }
        state.replaced.extend(replace(&mut owner.reader, cx.waker()));
        Poll::Pending
    }
}

impl State {
    /// An association with this sink has begun.
    pub(crate) fn count_in(&mut self, sink: Sink) {
        if let Sink::Owner { owner, .. } = sink
            && let Some(owner) = self.owners.get_mut(&owner)
        {
            owner.open += 1;
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for shard in &self.core.shards {
            shard.with(|state, now| self.leave(state, now));
        }
    }
}

impl Owner {
    /// It leaves a shard.
    fn leave(&self, state: &mut State, now: Time) {
        let Some(mut owner) = state.owners.remove(&self.number) else { return };
        state.replaced.extend(owner.reader.take());
        let mut members = Vec::new();
        match state.endpoints.get_mut(&self.core.key) {
            Some(endpoint) => {
                state.gone.filters.extend(endpoint.owners.extract_if(.., |(number, _)| *number == self.number));
                members.extend(endpoint.members.iter().copied());
            }
            // It was closed: what is still here has something that was not read, its end.
            None => members.extend(owner.ready),
        }
        state.update_accepting(self.core.key);
        for id in members {
            if state.links.get(id).is_some_and(|link| link.is_of(self.number)) {
                match owner.on_drop {
                    OnDrop::Close => state.give(now, id, None),
                    OnDrop::HandOver => state.hand_over(now, id),
                }
            }
        }
    }
}
