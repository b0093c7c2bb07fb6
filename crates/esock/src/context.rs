//! Which endpoints there are, and which of them share sockets.

use crate::association::WeakAssociation;
use crate::endpoint::{Core, Endpoint, WeakEndpoint};
use crate::error::OpenError;
use crate::shard::Shard;
use crate::task;
use crate::{Address, Backend, DriverConfig, Protocol, TcpFraming, UdpPort};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime;
use tokio::time::Instant;

/// The registry of endpoints. Those of one context share their sockets (one UDP port, and one set of raw
/// sockets), and among them protocol, addresses and port are unique: wildcard addresses overlap with all.
///
/// Endpoints use the context of the process, unless [`EndpointBuilder::context`] names another. One
/// of its own is for tests, and for programs that need several UDP ports. Clones are the same context.
///
/// [`EndpointBuilder::context`]: crate::EndpointBuilder::context
#[derive(Debug, Clone, Default)]
pub struct Context(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Held while an endpoint is opened, so that no other takes its port meanwhile.
    opening: Mutex<()>,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    known: Vec<Known>,
    endpoints: HashMap<(Protocol, u16), Vec<Weak<Core>>>,
}

/// What an endpoint asks of its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub protocol: Protocol,
    pub backend: Backend,
    pub udp_port: UdpPort,
    pub tcp_framing: TcpFraming,
    pub busy_poll: Option<Duration>,
    /// `None`: as many as there are.
    pub shards: Option<u16>,
}

#[derive(Debug)]
struct Known {
    runtime: runtime::Id,
    wanted: Wanted,
    /// The UDP port that it got.
    bound: Option<u16>,
    shards: Vec<Weak<Shard>>,
}

impl Known {
    /// Whether an endpoint that asks for this can use these sockets.
    fn serves(&self, runtime: runtime::Id, wanted: Wanted) -> bool {
        let enough = wanted.shards.is_none_or(|count| usize::from(count) == self.shards.len());
        if self.runtime != runtime || wanted.protocol != self.wanted.protocol || !enough {
            return false;
        }
        if wanted.protocol == Protocol::Tcp {
            return wanted.tcp_framing == self.wanted.tcp_framing && wanted.backend == self.wanted.backend;
        }
        let port = match wanted.udp_port {
            UdpPort::Listen(0) | UdpPort::Ephemeral => {
                matches!(self.wanted.udp_port, UdpPort::Ephemeral | UdpPort::Listen(0))
            }
            UdpPort::Listen(port) => self.bound.is_none_or(|bound| bound == port),
            // Who only prefers a port takes what the process has.
            _ => true,
        };
        wanted.backend == self.wanted.backend && port
    }
}

impl Context {
    /// A context that shares sockets with no other.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of the process.
    pub fn of_process() -> Self {
        static PROCESS: LazyLock<Context> = LazyLock::new(Context::new);
        PROCESS.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoints with this port. They are looked at, and let go, when nothing is locked.
    fn at(&self, protocol: Protocol, port: u16) -> Vec<Arc<Core>> {
        let registry = self.lock();
        let known = registry.endpoints.get(&(protocol, port)).into_iter().flatten();
        known.filter_map(Weak::upgrade).collect()
    }

    /// All endpoints that somebody holds. They are looked at, and let go, when nothing is locked.
    fn all(&self) -> Vec<Arc<Core>> {
        self.lock().endpoints.values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// All endpoints that have not been closed.
    pub fn endpoints(&self) -> Vec<WeakEndpoint> {
        let all = self.all();
        all.iter().filter(|core| !core.is_closed()).map(WeakEndpoint::of).collect()
    }

    /// The endpoint that has this address, by its own or by a wildcard, and this port.
    pub fn find_endpoint(&self, protocol: Protocol, address: impl Into<Address>, port: u16) -> Option<WeakEndpoint> {
        let address = address.into();
        let all = self.at(protocol, port);
        all.iter().find(|core| core.has(address) && !core.is_closed()).map(WeakEndpoint::of)
    }

    /// The association between any of an endpoint's addresses and its port, and any of a peer's addresses and
    /// its port. A supervised one is found also while it is down, by the addresses that it is to reach.
    pub fn find_association(
        &self,
        protocol: Protocol,
        local: (impl Into<Address>, u16),
        remote: (impl Into<Address>, u16),
    ) -> Option<WeakAssociation> {
        let (address, remote) = (local.0.into(), (remote.0.into(), remote.1));
        let all = self.at(protocol, local.1);
        all.iter().filter(|core| core.has(address)).find_map(|core| core.find(remote.0, remote.1))
    }

    /// Closes all endpoints, as [`Endpoint::close`] does, all at the same time: for the end of a process, so that
    /// what was taken to be sent is delivered.
    ///
    /// Cancel safe: calling it again goes on with it.
    pub async fn close(&self) {
        // Also those that somebody has begun to close, and perhaps does not wait for any more.
        let all: Vec<Endpoint> = self.all().into_iter().filter(|core| !core.is_gone()).map(Endpoint::of).collect();
        all.iter().for_each(Endpoint::begin_to_close);
        let deadline = Instant::now() + crate::LINGER;
        for endpoint in all {
            endpoint.drained_by(deadline).await;
        }
    }

    /// Lists an endpoint.
    fn list(&self, protocol: Protocol, core: &Arc<Core>) {
        let mut registry = self.lock();
        let place = registry.endpoints.entry((protocol, core.port)).or_default();
        place.retain(|known| known.strong_count() > 0);
        place.push(Arc::downgrade(core));
    }

    /// The endpoint that already has one of these addresses (none: all of the host's) and this port.
    fn overlapping(&self, protocol: Protocol, addresses: &[Address], port: u16) -> Option<Endpoint> {
        let overlaps = |core: &Arc<Core>| {
            addresses.is_empty() || core.addresses.is_empty() || addresses.iter().any(|address| core.has(*address))
        };
        let all = self.at(protocol, port);
        all.iter().filter(|core| overlaps(core) && !core.is_closed()).find_map(|core| WeakEndpoint::of(core).upgrade())
    }

    /// Finds or opens sockets, and calls `open` on them. Must be called within a runtime.
    pub(crate) fn open(
        &self,
        wanted: Wanted,
        addresses: &[Address],
        port: u16,
        open: impl FnOnce(&[Arc<Shard>]) -> Result<Arc<Core>, OpenError>,
    ) -> Result<Arc<Core>, OpenError> {
        let _opening = self.0.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if port != 0
            && let Some(first) = self.overlapping(wanted.protocol, addresses, port)
        {
            return Err(OpenError::AlreadyOpen(first));
        }
        let runtime = runtime::Handle::current().id();
        let core = match self.known(runtime, wanted) {
            Some(shards) => open_on(&shards, open)?,
            None => {
                let mut config = DriverConfig::default();
                config.backend = wanted.backend;
                config.udp_port = wanted.udp_port;
                config.tcp_framing = wanted.tcp_framing;
                let count = wanted.shards.unwrap_or(1);
                let shards = Shard::open_all(wanted.protocol, config, count).map_err(OpenError::Driver)?;
                let core = open_on(&shards, open)?;
                let bound = core.backend.udp_port;
                let shards = shards.iter().map(Arc::downgrade).collect();
                self.lock().known.push(Known { runtime, wanted, bound, shards });
                core
            }
        };
        // Whoever wants it most decides for all that share the sockets.
        core.shards.iter().for_each(|shard| shard.lock().busy_poll.ask(wanted.busy_poll));
        self.list(wanted.protocol, &core);
        Ok(core)
    }

    /// Sockets that are open already and serve.
    fn known(&self, runtime: runtime::Id, wanted: Wanted) -> Option<Vec<Arc<Shard>>> {
        let mut registry = self.lock();
        let works = |shard: &Weak<Shard>| shard.upgrade().is_some_and(|shard| !shard.lock().failed);
        registry.known.retain(|known| known.shards.iter().all(works));
        let known = registry.known.iter().find(|known| known.serves(runtime, wanted))?;
        known.shards.iter().map(Weak::upgrade).collect()
    }
}

/// Calls `open` while the background tasks run, and sees to it that they do: without endpoints they end.
fn open_on<T>(shards: &[Arc<Shard>], open: impl FnOnce(&[Arc<Shard>]) -> Result<T, OpenError>) -> Result<T, OpenError> {
    shards.iter().for_each(|shard| shard.lock().opening += 1);
    let started = shards.iter().try_for_each(start);
    let opened = started.map_err(OpenError::Runtime).and_then(|()| open(shards));
    shards.iter().for_each(|shard| shard.with(|state, _| state.opening -= 1));
    opened
}

/// Starts the background task of a shard, unless it runs.
fn start(shard: &Arc<Shard>) -> std::io::Result<()> {
    if std::mem::replace(&mut shard.lock().running, true) {
        return Ok(());
    }
    let started = task::spawn(shard.clone());
    if started.is_err() {
        shard.lock().running = false;
    }
    started
}

/// [`Context::endpoints`] of the process.
pub fn endpoints() -> Vec<WeakEndpoint> {
    Context::of_process().endpoints()
}

/// [`Context::find_endpoint`] of the process.
pub fn find_endpoint(protocol: Protocol, address: impl Into<Address>, port: u16) -> Option<WeakEndpoint> {
    Context::of_process().find_endpoint(protocol, address, port)
}

/// [`Context::find_association`] of the process.
pub fn find_association(
    protocol: Protocol,
    local: (impl Into<Address>, u16),
    remote: (impl Into<Address>, u16),
) -> Option<WeakAssociation> {
    Context::of_process().find_association(protocol, local, remote)
}

/// [`Context::close`] of the process.
pub async fn close_all() {
    Context::of_process().close().await;
}
