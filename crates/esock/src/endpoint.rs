//! Endpoints.

use crate::association::{Association, Handle};
use crate::connect::ConnectTo;
use crate::context::Context;
use crate::error::{AcceptError, ConnectError, OpenError};
use crate::inbox::{Inbox, Sink};
use crate::line::{For, Place};
use crate::owner::{Candidate, Filter, Owner};
use crate::receiver::Receiver;
use crate::shard::Shard;
use crate::state::{EndpointState, OwnerState};
use crate::{Address, Backend, Chosen, Config, ENCAPSULATION_PORT, Impairment, UdpPort};
use esock_proto::{EndpointConfig, EndpointId};
use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::task::Poll;

/// What keeps an endpoint of the stack: its [`Endpoint`]s, and the handles of its associations.
#[derive(Debug)]
pub(crate) struct Core {
    pub shard: Arc<Shard>,
    pub id: EndpointId,
    port: u16,
    addresses: Vec<Address>,
    backend: Chosen,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shard.with(|state, now| {
            if let Some(endpoint) = state.endpoints.get_mut(&self.id) {
                endpoint.closing = true;
            }
            state.close_if_done(now, self.id);
        });
    }
}

/// What the clones of an [`Endpoint`] share: when the last one goes, nobody is accepted any more.
#[derive(Debug)]
struct Door(Arc<Core>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.shard.with(|state, now| {
            state.shut(self.0.id);
            let Some(endpoint) = state.endpoints.get_mut(&self.0.id) else { return };
            for id in std::mem::take(&mut endpoint.backlog) {
                state.orphan(now, id);
            }
        });
    }
}

/// An SCTP port with its addresses: associations come from here.
///
/// Clones are the same endpoint. When the last clone is dropped nobody is accepted any more;
/// associations live on until their own handles go.
#[derive(Debug, Clone)]
pub struct Endpoint(Arc<Door>);

/// Says what an [`Endpoint`] is to be. Made by [`Endpoint::builder`].
#[derive(Debug, Clone, Default)]
pub struct EndpointBuilder {
    port: u16,
    addresses: Vec<Address>,
    any: bool,
    backend: Backend,
    udp_port: Option<UdpPort>,
    config: Config,
    context: Option<Context>,
}

impl EndpointBuilder {
    /// The SCTP port. 0, the default, takes a random free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds a local address. By default, those of loopback: 127.0.0.1 and ::1.
    #[must_use]
    pub fn address(self, address: impl Into<Address>) -> Self {
        self.addresses([address])
    }

    /// Adds local addresses: the paths of its associations use them.
    #[must_use]
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = impl Into<Address>>) -> Self {
        self.addresses.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// All addresses of the host. A peer is told of those that it can reach: loopback and link-local
    /// addresses stay at home.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.any = true;
        self
    }

    /// Which way packets leave the host. [`Backend::Auto`].
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Our UDP port. By default an endpoint with a port of its own, which listens, claims 9899, and
    /// fails if another process has it; one without prefers it, and takes another if it must.
    #[must_use]
    pub fn udp_port(mut self, udp_port: UdpPort) -> Self {
        self.udp_port = Some(udp_port);
        self
    }

    /// Parameters of its associations. [`Config::default`]; [`Config::preset`] has others.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whose sockets it shares. By default those of the process.
    #[must_use]
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Opens the endpoint. Must be called within a tokio runtime with I/O and time enabled; the
    /// endpoint lives no longer than that runtime. Cancel safe: it does not wait.
    pub async fn open(self) -> Result<Endpoint, OpenError> {
        let udp_port = self.udp_port.unwrap_or(match self.port {
            0 => UdpPort::Prefer(ENCAPSULATION_PORT),
            _ => UdpPort::Listen(ENCAPSULATION_PORT),
        });
        let addresses = match (self.any, self.addresses) {
            (true, _) => Vec::new(),
            (false, given) if given.is_empty() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            (false, given) => given,
        };
        let config = EndpointConfig {
            port: self.port,
            addresses,
            host_addresses: esock_io::host_addresses(),
            config: self.config,
        };
        let context = self.context.unwrap_or_else(Context::of_process);
        let (shard, (id, port, addresses, backend)) = context.open(self.backend, udp_port, |shard| {
            shard.with(|state, _| {
                let id = state.driver.open_endpoint(config).map_err(OpenError::Endpoint)?;
                state.endpoints.insert(id, EndpointState::default());
                let stack = state.driver.stack();
                let (port, addresses) = (stack.endpoint_port(id).unwrap_or(0), stack.endpoint_addresses(id).to_vec());
                Ok((id, port, addresses, state.driver.backend().clone()))
            })
        })?;
        Ok(Endpoint(Arc::new(Door(Arc::new(Core { shard, id, port, addresses, backend })))))
    }
}

impl Endpoint {
    /// Begins to describe an endpoint.
    pub fn builder() -> EndpointBuilder {
        EndpointBuilder::default()
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.0
    }

    /// Its SCTP port.
    pub fn port(&self) -> u16 {
        self.core().port
    }

    /// Its addresses; empty for all of the host's.
    pub fn addresses(&self) -> &[Address] {
        &self.core().addresses
    }

    /// Which backend it uses, and why; its UDP port.
    pub fn backend(&self) -> &Chosen {
        &self.core().backend
    }

    /// Connects to a peer. The [`Receiver`] begins with [`Event::Up`](crate::Event::Up).
    ///
    /// Cancel safe: when dropped, the attempt is given up.
    pub async fn connect(&self, to: ConnectTo) -> Result<(Association, Receiver), ConnectError> {
        let core = self.core();
        let id = core.shard.with(|state, now| {
            let stack = state.driver.stack_mut();
            let id = stack.connect(now, core.id, &to.peer, to.config).map_err(ConnectError::Invalid)?;
            state.inboxes.insert(id, Inbox::new(id, Sink::Receiver));
            Ok(id)
        })?;
        let association = Association::new(Handle::new(core.clone(), id));
        let mut place = Place::new(&core.shard, For::Change(id));
        poll_fn(|cx| {
            let mut state = core.shard.lock();
            let Some(inbox) = state.inboxes.get_mut(&id) else {
                return Poll::Ready(Err(ConnectError::Closed(crate::CloseReason::EndpointClosed)));
            };
            match (&inbox.up, &inbox.closed) {
                (Some(_), _) => Poll::Ready(Ok(())),
                (None, Some(reason)) => Poll::Ready(Err(ConnectError::Closed(reason.clone()))),
                (None, None) => {
                    place.wait(&mut state, cx);
                    Poll::Pending
                }
            }
        })
        .await?;
        let receiver = Receiver::new(association.clone());
        Ok((association, receiver))
    }

    /// The next peer that connects. From the first call on the endpoint accepts; before, and while no
    /// owner is registered either, INITs are dropped silently, so that a peer that keeps trying gets through.
    /// Up to 128 associations wait for this; peers beyond have to try again.
    ///
    /// Cancel safe: an association that nobody took waits for the next call.
    pub async fn accept(&self) -> Result<(Association, Receiver), AcceptError> {
        let core = self.core();
        let id = crate::accept::accept(core).await?;
        let association = Association::new(Handle::new(core.clone(), id));
        let receiver = Receiver::new(association.clone());
        Ok((association, receiver))
    }

    /// Registers an owner: it gets the associations of peers for which `filter` says yes. Owners are
    /// asked in the order of their registration, the first yes wins; if all say no, and
    /// [`Endpoint::accept`] is not in use, the peer is refused with an ABORT. A filter sees a peer
    /// whose cookie was valid, before any state is kept for it. It may use this API, since nothing is
    /// locked; but what arrives for the endpoints that share these sockets waits for it, so it should be
    /// quick. A filter that panics says no.
    pub fn register_owner(&self, filter: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Owner {
        let core = self.core();
        let number = core.shard.with(|state, _| {
            state.last_owner += 1;
            let number = state.last_owner;
            state.owners.insert(number, OwnerState::default());
            if let Some(endpoint) = state.endpoints.get_mut(&core.id) {
                endpoint.owners.push((number, Filter::new(filter)));
            }
            state.update_accepting(core.id);
            number
        });
        Owner::new(core.clone(), number)
    }

    /// How many associations it has that have not ended.
    pub fn association_count(&self) -> usize {
        self.core().shard.lock().driver.stack().association_count(self.core().id)
    }

    /// Closes the endpoint: nobody is accepted any more, all associations are shut down gracefully, and
    /// aborted if that takes longer than [`LINGER`](crate::LINGER). Its SCTP port is free then; its UDP port
    /// is free for other processes when all handles of the endpoints that share it, and of their associations,
    /// have been dropped.
    ///
    /// Cancel safe: calling it again goes on with it.
    pub async fn close(&self) {
        let core = self.core();
        core.shard.with(|state, now| {
            state.shut(core.id);
            for id in state.driver.stack().associations(core.id) {
                state.shutdown(now, id);
            }
        });
        let mut place = Place::new(&core.shard, For::Calm(core.id));
        let drained = poll_fn(|cx| {
            let mut state = core.shard.lock();
            if state.failed || state.driver.stack().association_count(core.id) == 0 {
                return Poll::Ready(());
            }
            place.wait(&mut state, cx);
            Poll::Pending
        });
        // Elapsed: what is left is aborted with the endpoint.
        let _ = tokio::time::timeout(crate::LINGER, drained).await;
        core.shard.with(|state, now| state.close_endpoint(now, core.id));
    }

    /// Makes the network under this endpoint (and all that share its sockets) worse: blocks, drops or
    /// delays packets. For demonstrations and tests.
    pub fn impairment<T>(&self, change: impl FnOnce(&mut Impairment) -> T) -> T {
        self.core().shard.with(|state, _| change(state.driver.impairment()))
    }
}
