//! Handles of associations.

use crate::endpoint::{Core, Endpoint};
use crate::line::{For, Place};
use crate::link::{LinkId, Sink};
use crate::path::Path;
use crate::receiver::Receiver;
use crate::shard::Shard;
use crate::state::State as ShardState;
use crate::{Address, AssociationStats, CloseReason, PathId, Rejected, SendError, SendOptions, State};
use bytes::Bytes;
use esock_proto::{AssocId, Time};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;
use tokio::task::coop::cooperative;

/// What keeps an association: dropping the last one ends it gracefully.
#[derive(Debug)]
pub(crate) struct Handle {
    pub core: Arc<Core>,
    pub id: LinkId,
}

impl Handle {
    pub fn new(core: Arc<Core>, id: LinkId) -> Self {
        Self { core, id }
    }

    /// The shard that it lives in.
    pub fn shard(&self) -> &Arc<Shard> {
        self.core.shard(self.id)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shard().with(|state, now| state.on_handle_dropped(now, self.id));
    }
}

/// An association, as look-ups find it: does not keep it.
#[derive(Debug, Clone)]
pub struct WeakAssociation {
    core: Weak<Core>,
    id: LinkId,
}

impl WeakAssociation {
    pub(crate) fn new(core: &Arc<Core>, id: LinkId) -> Self {
        Self { core: Arc::downgrade(core), id }
    }

    /// The association, unless it has ended or nobody else wants it any more.
    pub fn upgrade(&self) -> Option<Association> {
        let core = self.core.upgrade()?;
        let mut state = core.shard(self.id).lock();
        state.links.get(self.id).filter(|link| link.closed.is_none())?;
        let handle = state.handle(&core, self.id);
        drop(state);
        handle.map(Association::new)
    }
}

/// An association with a peer. Clones are the same association.
#[derive(Debug, Clone)]
pub struct Association(Arc<Handle>);

impl PartialEq for Association {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id && Arc::ptr_eq(&self.0.core, &other.0.core)
    }
}

impl Eq for Association {}

impl std::hash::Hash for Association {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        self.0.id.hash(hasher);
        Arc::as_ptr(&self.0.core).hash(hasher);
    }
}

impl Association {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self(handle)
    }

    pub(crate) fn id(&self) -> LinkId {
        self.0.id
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn shard(&self) -> &Arc<Shard> {
        self.0.shard()
    }

    /// A weak handle.
    pub fn downgrade(&self) -> WeakAssociation {
        WeakAssociation::new(self.core(), self.id())
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::of(self.core().clone())
    }

    /// Calls `command` under the lock and sends what it brought about.
    pub(crate) fn with<T>(&self, command: impl FnOnce(&mut ShardState, Time) -> T) -> T {
        self.0.shard().with(command)
    }

    /// Asks the backend's association, where there is one now.
    fn ask<T>(&self, ask: impl FnOnce(&ShardState, AssocId) -> Option<T>) -> Option<T> {
        let state = self.0.shard().lock();
        let assoc = state.assoc(self.id())?;
        ask(&state, assoc)
    }

    /// Sends a message, waiting while the send buffer is full; who has waited longest goes first. Messages to one stream arrive in order
    /// unless they are unordered. It is taken when this returns, not yet acknowledged: if the
    /// association fails it comes back as [`Event::Undelivered`](crate::Event::Undelivered).
    ///
    /// What came back ([`Event::Undelivered`](crate::Event::Undelivered), [`Event::Expired`](crate::Event::Expired)) and
    /// was not read fills a buffer of its own, as large as the endpoint's `Config::send_buffer`: while that is full this
    /// waits, too. Who drops the [`Receiver`](crate::Receiver) does not want them: then they are let go instead.
    ///
    /// Cancel safe: a message is taken whole or not at all; dropped while it waits, nothing was sent.
    pub async fn send(&self, options: SendOptions, payload: impl Into<Bytes>) -> Result<(), Rejected> {
        let mut payload = Some(payload.into());
        let mut place = Place::new(self.0.shard(), For::Room(self.id()));
        cooperative(poll_fn(|cx| {
            self.0.shard().hand_over(self.id(), |state, now| {
                let Some(taken) = payload.take() else { return Poll::Ready(Ok(())) };
                match self.offer(state, now, &place, options, taken) {
                    Err(Rejected { error: SendError::Full, payload: back }) => {
                        payload = Some(back);
                        place.wait(state, cx);
                        Poll::Pending
                    }
                    done => {
                        place.leave(state);
                        Poll::Ready(done)
                    }
                }
            })
        }))
        .await
    }

    /// Sends a message if there is room for it now and nobody waits for room; else it comes back with
    /// [`SendError::Full`]. There is none either while too much came back and was not read, see
    /// [`send`](Association::send).
    pub fn try_send(&self, options: SendOptions, payload: impl Into<Bytes>) -> Result<(), Rejected> {
        let payload = payload.into();
        let place = Place::new(self.0.shard(), For::Room(self.id()));
        self.0.shard().hand_over(self.id(), |state, now| self.offer(state, now, &place, options, payload))
    }

    /// Sends all of `messages`, oldest first, under one lock as far as there is room; waits for room for the
    /// rest. What was taken leaves the queue. An error concerns the message that is then at the front.
    ///
    /// Cancel safe: what is still in the queue was not taken.
    pub async fn send_many(&self, messages: &mut VecDeque<(SendOptions, Bytes)>) -> Result<(), SendError> {
        let mut place = Place::new(self.0.shard(), For::Room(self.id()));
        cooperative(poll_fn(|cx| {
            self.0.shard().hand_over(self.id(), |state, now| {
                let sent = self.offer_all(state, now, &place, messages);
                if sent == Err(SendError::Full) {
                    place.wait(state, cx);
                    return Poll::Pending;
                }
                place.leave(state);
                Poll::Ready(sent)
            })
        }))
        .await
    }

    /// Offers messages to the stack, oldest first, until one is not taken: it stays at the front.
    fn offer_all(
        &self,
        state: &mut ShardState,
        now: Time,
        place: &Place<'_>,
        messages: &mut VecDeque<(SendOptions, Bytes)>,
    ) -> Result<(), SendError> {
        if !messages.is_empty() && state.takes_messages(self.id()) && place.must_wait(state) {
            return Err(SendError::Full);
        }
        state.send_many(now, self.id(), messages)
    }

    /// Offers a message to the stack, unless others have waited longer for room.
    fn offer(
        &self,
        state: &mut ShardState,
        now: Time,
        place: &Place<'_>,
        options: SendOptions,
        payload: Bytes,
    ) -> Result<(), Rejected> {
        if state.takes_messages(self.id()) && place.must_wait(state) {
            return Err(Rejected { error: SendError::Full, payload });
        }
        state.send(now, self.id(), options, payload)
    }

    /// Ends the association gracefully: what was taken is delivered and acknowledged first. Returns
    /// when it has ended, and why.
    ///
    /// Cancel safe: the shutdown goes on, whether or not somebody waits for it.
    pub async fn shutdown(&self) -> CloseReason {
        self.with(|state, now| state.shutdown(now, self.id()));
        self.closed().await
    }

    /// Ends the association at once, with an ABORT that carries `reason`. Messages that were not
    /// acknowledged come back as events.
    pub fn abort(&self, reason: &[u8]) {
        self.with(|state, now| state.abort(now, self.id(), reason));
    }

    /// Waits until the association has ended, and says why. Cancel safe.
    pub async fn closed(&self) -> CloseReason {
        let mut place = Place::new(self.0.shard(), For::Change(self.id()));
        poll_fn(|cx| {
            let mut state = self.0.shard().lock();
            let Some(link) = state.links.get(self.id()) else {
                return Poll::Ready(CloseReason::EndpointClosed);
            };
            match &link.closed {
                Some(reason) => Poll::Ready(reason.clone()),
                None => {
                    place.wait(&mut state, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Its state; `Closed` also while a supervised one waits for its next attempt.
    pub fn state(&self) -> State {
        self.ask(|state, assoc| state.transport.state(assoc)).unwrap_or(State::Closed)
    }

    /// The association at a glance; `None` if its endpoint has gone, and while a supervised one waits for its
    /// next attempt.
    pub fn stats(&self) -> Option<AssociationStats> {
        self.ask(|state, assoc| state.transport.association(state.transport.now(), assoc))
    }

    /// Its receiving end, if nobody has it and no owner does: for associations that were looked up.
    pub fn receiver(&self) -> Option<Receiver> {
        let mut state = self.0.shard().lock();
        let link = state.links.get_mut(self.id())?;
        if link.sink != (Sink::Receiver { held: false }) {
            return None;
        }
        link.sink = Sink::Receiver { held: true };
        Some(Receiver::new(self.clone()))
    }

    /// Its paths, in the order in which they became known.
    pub fn paths(&self) -> Vec<Path> {
        let ids = self.stats().map(|stats| stats.paths.into_iter().map(|path| path.id));
        ids.into_iter().flatten().map(|id| Path::new(self.clone(), id)).collect()
    }

    /// One of its paths.
    pub fn path(&self, id: PathId) -> Option<Path> {
        self.paths().into_iter().find(|path| path.id() == id)
    }

    /// The peer's SCTP port.
    pub fn peer_port(&self) -> u16 {
        self.stats().map_or(0, |stats| stats.peer_port)
    }

    /// The peer's addresses, one per path.
    pub fn peer_addresses(&self) -> Vec<Address> {
        self.stats().map(|stats| stats.paths.iter().map(|path| path.remote).collect()).unwrap_or_default()
    }

    /// Our addresses.
    pub fn local_addresses(&self) -> Vec<Address> {
        self.ask(|state, assoc| Some(state.transport.local_addresses(assoc))).unwrap_or_default()
    }

    /// How often the peer has restarted, and a supervised association has come up anew. Order is promised within
    /// a generation.
    pub fn generation(&self) -> u64 {
        self.0.shard().lock().links.get(self.id()).map_or(0, |link| link.generation())
    }
}
