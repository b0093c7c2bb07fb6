//! Endpoints.

use crate::association::{Association, WeakAssociation};
use crate::builder::EndpointBuilder;
use crate::connect::ConnectTo;
use crate::error::{AcceptError, ConnectError, OpenError};
use crate::events::EndpointEvents;
use crate::line::{For, Place};
use crate::link::{EndpointKey, LinkId, Sink};
use crate::lint;
use crate::owner::{Candidate, Owner};
use crate::receiver::Receiver;
use crate::shard::{Shard, ShardStats};
use crate::state::{State, new_number};
use crate::supervisor::Supervision;
use crate::{Address, Capabilities, Chosen, Impairment, Protocol};
use esock_proto::{EndpointConfig, Peer};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use tokio::time::Instant;

/// What keeps an endpoint of the backend: its [`Endpoint`]s, the handles of its associations, and supervised ones.
#[derive(Debug)]
pub(crate) struct Core {
    /// Where its associations live. It has the same key in each.
    pub shards: Vec<Arc<Shard>>,
    pub key: EndpointKey,
    pub port: u16,
    /// Empty for all of the host's.
    pub addresses: Vec<Address>,
    pub backend: Chosen,
    pub capabilities: Capabilities,
    door: Mutex<Weak<Door>>,
    /// Whose turn it is, where any shard would do.
    turn: AtomicUsize,
}

impl Core {
    /// Opens an endpoint on shards, of which there is one at least.
    pub fn open(shards: &[Arc<Shard>], mut config: EndpointConfig) -> Result<Arc<Self>, OpenError> {
        let key = EndpointKey(new_number());
        let mut core = None;
        for (at, shard) in shards.iter().enumerate() {
            let opened = shard.with(|state, _| {
                if let Err(error) = state.open_endpoint(key, config.clone()) {
                    return Err(OpenError::Endpoint(error));
                }
                // The others take the port that the first has got.
                config.port = state.endpoints.get(&key).map_or(config.port, |endpoint| endpoint.config.port);
                core.get_or_insert_with(|| Self::of(shards, key, state, &config));
                Ok(())
            });
            if let Err(error) = opened {
                shards[..at].iter().for_each(|shard| shard.with(|state, now| state.close_endpoint(now, key)));
                return Err(error);
            }
        }
        let Some(core) = core else { unreachable!("there is a shard, and it was opened on it") };
        let core = Arc::new(core);
        shards.iter().for_each(|shard| shard.lock().set_core(&core));
        Ok(core)
    }

    /// An endpoint as it was opened on a shard, for all of them.
    fn of(shards: &[Arc<Shard>], key: EndpointKey, state: &State, config: &EndpointConfig) -> Self {
        let opened = state.transport.backend();
        let backend = lint::chosen(opened, &config.config, &config.addresses);
        // The sockets' own were logged when they were opened.
        let own = backend.warnings.iter().skip(opened.warnings.len());
        own.for_each(|warning| tracing::warn!("{warning}"));
        let id = state.endpoints.get(&key).map(|endpoint| endpoint.id);
        Self {
            shards: shards.to_vec(),
            key,
            port: config.port,
            addresses: id.map(|id| state.transport.endpoint_addresses(id)).unwrap_or_default(),
            backend,
            capabilities: state.transport.capabilities(),
            door: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The shard of a link.
    pub fn shard(&self, id: LinkId) -> &Arc<Shard> {
        &self.shards[id.shard()]
    }

    /// Which shard is first this time, where they take turns.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len()
    }

    /// The shard with the fewest associations, those of other endpoints included.
    pub fn lightest(&self) -> &Arc<Shard> {
        let first = self.next_turn();
        let all = self.shards[first..].iter().chain(&self.shards[..first]);
        let load = |shard: &&Arc<Shard>| {
            let state = shard.lock();
            (state.failed, state.load())
        };
        // One alone need not be asked.
        if self.shards.len() == 1 { &self.shards[0] } else { all.min_by_key(load).unwrap_or(&self.shards[0]) }
    }

    /// How many associations it has that have not ended.
    pub fn association_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().association_count(self.key)).sum()
    }

    /// Whether a supervised association is to reach a peer, up or down.
    pub fn supervises(&self, peer: &Peer) -> bool {
        self.shards.iter().any(|shard| {
            let state = shard.lock();
            let supervised = state.endpoints.get(&self.key).map(|endpoint| &endpoint.supervised);
            let known = |address| supervised.is_some_and(|known| known.contains_key(&(address, peer.port)));
            peer.addresses.iter().copied().any(known)
        })
    }

    /// Whether it has this address.
    pub fn has(&self, address: Address) -> bool {
        self.addresses.is_empty() || self.addresses.contains(&address)
    }

    /// Whether its user has closed it, or it has failed.
    pub fn is_closed(&self) -> bool {
        self.shards.iter().all(|shard| {
            let state = shard.lock();
            state.failed || state.endpoints.get(&self.key).is_none_or(|endpoint| endpoint.closed)
        })
    }

    /// Whether nothing is left of it to be closed: it was closed to the end, or has failed.
    pub fn is_gone(&self) -> bool {
        self.shards.iter().all(|shard| {
            let state = shard.lock();
            state.failed || !state.endpoints.contains_key(&self.key)
        })
    }

    /// Its association with a peer.
    pub fn find(self: &Arc<Self>, remote: Address, port: u16) -> Option<WeakAssociation> {
        self.shards.iter().find_map(|shard| self.find_in(shard, remote, port))
    }

    fn find_in(self: &Arc<Self>, shard: &Shard, remote: Address, port: u16) -> Option<WeakAssociation> {
        let state = shard.lock();
        let endpoint = state.endpoints.get(&self.key)?;
        let live = state.transport.find(endpoint.id, remote, port).and_then(|assoc| state.links.of(assoc));
        let id = live.or_else(|| endpoint.supervised.get(&(remote, port)).copied())?;
        state.links.get(id).filter(|link| link.closed.is_none())?;
        Some(WeakAssociation::new(self, id))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.with(|state, now| {
                if let Some(endpoint) = state.endpoints.get_mut(&self.key) {
                    endpoint.closing = true;
                }
                state.close_if_done(now, self.key);
            });
        }
    }
}

/// What the clones of an [`Endpoint`] share: when the last one goes, nobody is accepted any more.
#[derive(Debug)]
struct Door(Arc<Core>);

impl Drop for Door {
    fn drop(&mut self) {
        for shard in &self.0.shards {
            shard.with(|state, now| {
                let revived = self.0.door.lock().unwrap_or_else(PoisonError::into_inner).strong_count() > 0;
                if revived {
                    return;
                }
                state.shut(self.0.key);
                state.clear_backlog(now, self.0.key);
            });
        }
    }
}

/// A port with its addresses: associations come from here.
///
/// Clones are the same endpoint. When the last clone is dropped nobody is accepted any more;
/// associations live on until their own handles go.
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Door>);

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.core(), other.core())
    }
}

impl Eq for Endpoint {}

/// An endpoint, as look-ups find it: does not keep it.
#[derive(Debug, Clone)]
pub struct WeakEndpoint(Weak<Core>);

impl WeakEndpoint {
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self(Arc::downgrade(core))
    }

    /// The endpoint, unless it has been closed.
    pub fn upgrade(&self) -> Option<Endpoint> {
        let core = self.0.upgrade().filter(|core| !core.is_closed())?;
        Some(Endpoint::of(core))
    }
}

impl Endpoint {
    /// Begins to describe an endpoint.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    /// The endpoint of a core: the one there is, or a new one if the last was dropped.
    pub(crate) fn of(core: Arc<Core>) -> Self {
        let mut known = core.door.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = known.upgrade() {
            return Self(door);
        }
        let door = Arc::new(Door(core.clone()));
        *known = Arc::downgrade(&door);
        drop(known);
        for shard in &core.shards {
            shard.with(|state, _| {
                if let Some(endpoint) = state.endpoints.get_mut(&core.key).filter(|endpoint| endpoint.shut) {
                    endpoint.shut = endpoint.closed;
                    state.update_accepting(core.key);
                }
            });
        }
        Self(door)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.0
    }

    /// A weak handle.
    pub fn downgrade(&self) -> WeakEndpoint {
        WeakEndpoint::of(self.core())
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.core().backend.protocol
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.core().port
    }

    /// Its addresses; empty for all of the host's.
    pub fn addresses(&self) -> &[Address] {
        &self.core().addresses
    }

    /// Which backend it uses, and why; its UDP port; and what will not work well ([`Config::lint`](crate::Config::lint)
    /// included).
    pub fn backend(&self) -> &Chosen {
        &self.core().backend
    }

    /// What it can do. What it cannot is refused with an error that names it.
    pub fn capabilities(&self) -> Capabilities {
        self.core().capabilities
    }

    /// Watches the endpoint as a whole: how it was opened, and whether its sockets fail.
    pub fn events(&self) -> EndpointEvents {
        EndpointEvents::new(self.core().clone())
    }

    /// Connects to a peer. The [`Receiver`] begins with [`Event::Up`](crate::Event::Up).
    ///
    /// Cancel safe: when dropped, the attempt is given up.
    pub async fn connect(&self, to: ConnectTo) -> Result<(Association, Receiver), ConnectError> {
        let association = crate::connect::connect(self.core(), to, Sink::Receiver { held: true }).await?;
        let receiver = Receiver::new(association.clone());
        Ok((association, receiver))
    }

    /// Makes an association in the background and keeps it alive: it is tried again with backoff whenever it ends or
    /// an attempt fails, beginning each time with another of the peer's addresses. Returns at once.
    ///
    /// The handles stay the same through reconnects and restarts of the peer: [`Event::Up`](crate::Event::Up) tells
    /// that it is up, [`Event::Down`](crate::Event::Down) that it is not and when it is tried again;
    /// [`Association::generation`] counts. Dropping the handles does not end it: [`Association::shutdown`] or
    /// [`Association::abort`] do, and closing the endpoint; [`Event::Closed`](crate::Event::Closed) is the last event,
    /// as ever.
    ///
    /// # Errors
    /// What can never work: no address, a bad one, a peer that this endpoint already has.
    pub fn supervise(&self, to: ConnectTo, policy: Supervision) -> Result<(Association, Receiver), ConnectError> {
        let association = crate::connect::supervise(self.core(), to, policy, Sink::Receiver { held: true })?;
        let receiver = Receiver::new(association.clone());
        Ok((association, receiver))
    }

    /// The next peer that connects. From the first call on the endpoint accepts; before, and while no
    /// owner is registered either, INITs are dropped silently, so that a peer that keeps trying gets through.
    /// Up to 128 associations (of each shard) wait for this; peers beyond have to try again.
    ///
    /// Cancel safe: an association that nobody took waits for the next call.
    pub async fn accept(&self) -> Result<(Association, Receiver), AcceptError> {
        let association = crate::accept::accept(self.core()).await?;
        let receiver = Receiver::new(association.clone());
        Ok((association, receiver))
    }

    /// Registers an owner: it gets the associations of peers for which `filter` says yes. Owners are
    /// asked in the order of their registration, the first yes wins; if all say no, and
    /// [`Endpoint::accept`] is not in use, the peer is refused with an ABORT. A filter sees a peer
    /// whose cookie was valid, before any state is kept for it. It may use this API, since nothing is
    /// locked; but what arrives for the endpoints that share these sockets waits for it, so it should be
    /// quick. A filter that panics says no.
    ///
    /// [`peer`](crate::peer) makes a filter of an address and a port.
    pub fn register_owner(&self, filter: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Owner {
        Owner::register(self.core(), filter)
    }

    /// How many associations it has that have not ended.
    pub fn association_count(&self) -> usize {
        self.core().association_count()
    }

    /// Its associations that have not ended, supervised ones also while they are down.
    pub fn associations(&self) -> Vec<WeakAssociation> {
        let mut all = Vec::new();
        for shard in &self.core().shards {
            let state = shard.lock();
            let members = state.endpoints.get(&self.core().key).map(|endpoint| &endpoint.members);
            let open = |id: &&_| state.links.get(**id).is_some_and(|link| link.closed.is_none());
            all.extend(members.into_iter().flatten().filter(open).map(|id| WeakAssociation::new(self.core(), *id)));
        }
        all
    }

    /// What each of its shards does; see [`EndpointBuilder::shards`].
    pub fn shards(&self) -> Vec<ShardStats> {
        let core = self.core();
        core.shards.iter().map(|shard| ShardStats::of(&shard.lock(), core.key)).collect()
    }

    /// Its association with a peer, by any of the peer's addresses and its port.
    pub fn find_association(&self, remote: impl Into<Address>, port: u16) -> Option<WeakAssociation> {
        self.core().find(remote.into(), port)
    }

    pub(crate) fn begin_to_close(&self) {
        let core = self.core();
        core.shards.iter().for_each(|shard| shard.with(|state, now| state.begin_to_close(now, core.key)));
    }

    /// Closes the endpoint: nobody is accepted any more, supervision ends, all associations are shut down gracefully,
    /// and aborted if that takes longer than [`LINGER`](crate::LINGER). Its port is free then; its UDP port
    /// is free for other processes when all handles of the endpoints that share it, and of their associations,
    /// have been dropped.
    ///
    /// Cancel safe: calling it again goes on with it.
    pub async fn close(&self) {
        self.begin_to_close();
        self.drained_by(Instant::now() + crate::LINGER).await;
    }

    /// The end of [`Endpoint::close`]: what has not ended by then is aborted.
    pub(crate) async fn drained_by(&self, deadline: Instant) {
        let core = self.core();
        // All drain at the same time, and are waited for one after the other.
        for shard in &core.shards {
            let mut place = Place::new(shard, For::Calm(core.key));
            let drained = poll_fn(|cx| {
                let mut state = shard.lock();
                if state.is_calm(core.key) {
                    return Poll::Ready(());
                }
                place.wait(&mut state, cx);
                Poll::Pending
            });
            // Elapsed: what is left is aborted with the endpoint.
            let _ = tokio::time::timeout_at(deadline, drained).await;
        }
        core.shards.iter().for_each(|shard| shard.with(|state, now| state.close_endpoint(now, core.key)));
    }

    /// Makes the network under this endpoint (and all that share its sockets) worse: blocks, drops or
    /// delays packets. For demonstrations and tests. `None` if its backend has no
    /// [`Capability::Impairment`](crate::Capability::Impairment).
    ///
    /// `change` runs while the sockets are locked: it must not use what shares them.
    pub fn impairment<T>(&self, change: impl FnOnce(&mut Impairment) -> T) -> Option<T> {
        let (first, others) = self.core().shards.split_first()?;
        // Never two locks of one kind at a time: the rules travel as a copy. It is made at once, for sockets that were
        // broken may soon be others.
        let changed = |own: &mut Impairment| (change(own), own.rules());
        let (out, rules) = first.with(|state, _| state.transport.impairment().map(changed))?;
        for shard in others {
            shard.with(|state, _| state.transport.impairment().map(|own| own.follow(rules.clone())));
        }
        // Sockets that were broken on purpose fail in a turn.
        self.core().shards.iter().for_each(|shard| shard.kick.notify_one());
        Some(out)
    }
}
