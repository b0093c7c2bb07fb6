//! Opening endpoints.

use crate::context::{Context, Wanted};
use crate::endpoint::{Core, Endpoint};
use crate::error::OpenError;
use crate::{Address, Backend, Config, ENCAPSULATION_PORT, Protocol, TcpFraming, UdpPort};
use esock_proto::EndpointConfig;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Says what an [`Endpoint`] is to be. Made by [`Endpoint::builder`].
#[derive(Debug, Clone, Default)]
pub struct EndpointBuilder {
    port: u16,
    addresses: Vec<Address>,
    any: bool,
    protocol: Protocol,
    tcp_framing: TcpFraming,
    backend: Backend,
    udp_port: Option<UdpPort>,
    busy_poll: Option<Duration>,
    shards: Option<u16>,
    config: Config,
    context: Option<Context>,
}

impl EndpointBuilder {
    /// The SCTP (or TCP) port. 0, the default, takes a random free one.
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

    /// Adds local addresses: the paths of its associations use them. A wildcard, `0.0.0.0` or `::`, is
    /// [`any`](Self::any).
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

    /// What is spoken. [`Protocol::Sctp`].
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// How messages travel where TCP is spoken. [`TcpFraming::Framed`].
    #[must_use]
    pub fn tcp_framing(mut self, framing: TcpFraming) -> Self {
        self.tcp_framing = framing;
        self
    }

    /// Who speaks it, and which way packets leave the host. [`Backend::Auto`].
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

    /// For how long the runtime is kept from sleeping after something has come or gone: what comes meanwhile is
    /// received some ten microseconds earlier, and a core is kept busy. Other tasks of the runtime go on. It concerns all
    /// endpoints that share the sockets, and the longest time that any of them asks for holds. By default, it sleeps at once.
    ///
    /// A runtime of one thread asks the sockets themselves, which is faster than to wait for news of them as one of several
    /// threads does: there it would keep the others from the endpoint.
    #[must_use]
    pub fn busy_poll(mut self, time: Duration) -> Self {
        self.busy_poll = Some(time);
        self
    }

    /// How many shards its associations are spread over: each has sockets and a stack of its own, and a task that
    /// may run on a core of its own, so that several cores work for one endpoint. An association lives in one of them
    /// and is no faster than one core. 1 to 256; by default what the endpoints have whose sockets it shares, else 1.
    ///
    /// For our own stack: the backend `kernel` and TCP refuse it. Over UDP the system gives each packet to its shard; on
    /// raw IP it offers each to all of them, and their filters take one, which costs a little more with each shard.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = Some(shards.clamp(1, esock_io::MAX_SHARDS));
        self
    }

    /// Parameters of its associations. [`Config::default`]; [`Preset`](crate::Preset) has others. What
    /// [`Config::lint`] says of them is logged, and among the warnings of [`Endpoint::backend`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Whose sockets it shares, and among whom its port is unique. By default those of the process.
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
        let any = self.any || self.addresses.iter().any(|address| address.is_unspecified());
        let addresses = match (any, self.addresses) {
            (true, _) => Vec::new(),
            (false, given) if given.is_empty() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            (false, given) => given,
        };
        let config = EndpointConfig {
            port: self.port,
            addresses: addresses.clone(),
            // Asking for them takes a dozen system calls.
            host_addresses: if any { esock_io::host_addresses() } else { Vec::new() },
            config: self.config,
        };
        let wanted = Wanted {
            protocol: self.protocol,
            backend: self.backend,
            udp_port,
            tcp_framing: self.tcp_framing,
            busy_poll: self.busy_poll,
            shards: self.shards,
        };
        let context = self.context.unwrap_or_else(Context::of_process);
        let core = context.open(wanted, &addresses, self.port, |shards| Core::open(shards, config))?;
        Ok(Endpoint::of(core))
    }
}
