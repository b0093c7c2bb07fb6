//! Which endpoints share sockets.

use crate::error::OpenError;
use crate::shard::Shard;
use crate::task;
use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use tokio::runtime;

/// Endpoints of one context share their sockets: one UDP port, and one set of raw sockets.
///
/// Endpoints use the context of the process, unless [`EndpointBuilder::context`] names another. One
/// of its own is for tests, and for programs that need several UDP ports. Clones are the same context.
///
/// [`EndpointBuilder::context`]: crate::EndpointBuilder::context
#[derive(Debug, Clone, Default)]
pub struct Context(Arc<Mutex<Vec<Known>>>);

#[derive(Debug)]
struct Known {
    runtime: runtime::Id,
    backend: Backend,
    udp_port: UdpPort,
    /// The port that it got.
    bound: Option<u16>,
    shard: Weak<Shard>,
}

impl Known {
    /// Whether an endpoint that asks for this can use these sockets.
    fn serves(&self, runtime: runtime::Id, backend: Backend, udp_port: UdpPort) -> bool {
        let port = match udp_port {
            UdpPort::Listen(0) | UdpPort::Ephemeral => matches!(self.udp_port, UdpPort::Ephemeral | UdpPort::Listen(0)),
            UdpPort::Listen(port) => self.bound == Some(port),
            // Who only prefers a port takes what the process has.
            _ => true,
        };
        self.runtime == runtime && self.backend == backend && port
    }
}

impl Context {
    /// A context that shares sockets with no other.
    pub fn new() -> Self {
        Self::default()
    }

    /// The context of the process.
    pub(crate) fn of_process() -> Self {
        static PROCESS: LazyLock<Context> = LazyLock::new(Context::new);
        PROCESS.clone()
    }

    /// Finds or opens sockets, and calls `open` on them. Must be called within a runtime.
    pub(crate) fn open<T>(
        &self,
        backend: Backend,
        udp_port: UdpPort,
        open: impl FnOnce(&Shard) -> Result<T, OpenError>,
    ) -> Result<(Arc<Shard>, T), OpenError> {
        let runtime = runtime::Handle::current().id();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.shard.upgrade().is_some_and(|shard| !shard.lock().failed));
        let found = known.iter().find(|known| known.serves(runtime, backend, udp_port));
        if let Some(shard) = found.and_then(|found| found.shard.upgrade()) {
            let opened = open_on(&shard, open)?;
            return Ok((shard, opened));
        }
        let mut config = DriverConfig::default();
        config.backend = backend;
        config.udp_port = udp_port;
        let driver = Driver::open(config).map_err(OpenError::Driver)?;
        let bound = driver.backend().udp_port;
        let shard = Arc::new(Shard::new(driver));
        let opened = open_on(&shard, open)?;
        known.push(Known { runtime, backend, udp_port, bound, shard: Arc::downgrade(&shard) });
        Ok((shard, opened))
    }
}

/// Calls `open` while the background task runs, and sees to it that it does: without endpoints it ends.
fn open_on<T>(shard: &Arc<Shard>, open: impl FnOnce(&Shard) -> Result<T, OpenError>) -> Result<T, OpenError> {
    let start = {
        let mut state = shard.lock();
        state.opening += 1;
        !std::mem::replace(&mut state.running, true)
    };
    let started = if start { task::spawn(shard.clone()).map_err(OpenError::Runtime) } else { Ok(()) };
    if started.is_err() {
        shard.lock().running = false;
    }
    let opened = started.and_then(|()| open(shard));
    shard.with(|state, _| state.opening -= 1);
    opened
}
