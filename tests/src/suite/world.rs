//! What the cases of the suite have in common: endpoints over one backend, and short words for what they do.

use bytes::Bytes;
use esock::{
    Address, Association, Backend, Capabilities, CloseReason, Config, ConnectTo, Context, Encapsulation, Endpoint,
    EndpointBuilder, Event, Message, Owner, OwnerEvent, Protocol, Received, Receiver, SendOptions, StreamId,
    Supervision, TcpFraming, UdpPort,
};
use std::fmt;
use std::future::Future;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

/// What the suite runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Our stack, in UDP.
    Udp,
    /// The same, each endpoint spread over shards.
    UdpShards,
    /// Our stack, on raw IP.
    Raw,
    /// The same, each endpoint spread over shards.
    RawShards,
    /// The kernel's SCTP.
    Kernel,
    /// TCP with frames.
    Tcp,
    /// TCP without.
    TcpRaw,
}

impl Over {
    /// All there are.
    pub const ALL: [Self; 7] =
        [Self::Udp, Self::UdpShards, Self::Raw, Self::RawShards, Self::Kernel, Self::Tcp, Self::TcpRaw];

    /// What it can do, as an endpoint says.
    pub fn capabilities(self) -> Capabilities {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { World::new(self).endpoint().await.capabilities() })
    }

    /// How many shards each endpoint has.
    fn shards(self) -> u16 {
        match self {
            Self::UdpShards | Self::RawShards => 3,
            _ => 1,
        }
    }

    fn backend(self) -> Backend {
        match self {
            Self::Udp | Self::UdpShards => Backend::Udp,
            Self::Raw | Self::RawShards => Backend::Raw,
            Self::Kernel | Self::Tcp | Self::TcpRaw => Backend::Kernel,
        }
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::UdpShards => "udp-shards",
            Self::Raw => "raw",
            Self::RawShards => "raw-shards",
            Self::Kernel => "kernel",
            Self::Tcp => "tcp",
            Self::TcpRaw => "tcp-raw",
        })
    }
}

impl FromStr for Over {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|over| over.to_string() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(|over| over.to_string()).join(", ");
            format!("the suite does not run over `{name}`: use one of {names}")
        })
    }
}

/// Endpoints over one backend.
#[derive(Debug, Clone, Copy)]
pub struct World {
    over: Over,
}

/// An association with its receiver.
pub type End = (Association, Receiver);

/// Longer than anything takes that works.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(out) => out,
        Err(_) => panic!("this hangs: {what}"),
    }
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An address of loopback.
pub fn v4(last: u8) -> Address {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Supervision that does not make a test wait.
pub fn eager() -> Supervision {
    let mut policy = Supervision::default();
    policy.first_retry = millis(100);
    policy.longest_retry = millis(400);
    policy
}

impl World {
    pub(super) fn new(over: Over) -> Self {
        Self { over }
    }

    /// What it runs over.
    pub(super) fn over(self) -> Over {
        self.over
    }

    /// How many shards each endpoint has.
    pub fn shards(self) -> u16 {
        self.over.shards()
    }

    /// Timers that do not make a test wait.
    pub fn config(self) -> Config {
        let mut config = Config::default();
        config.rto_initial = millis(200);
        config.rto_min = millis(100);
        config.rto_max = millis(400);
        config.heartbeat_interval = Some(millis(500));
        config.sack_delay = millis(20);
        config.path_max_retrans = Some(2);
        config.assoc_max_retrans = 6;
        config.max_init_retransmits = 3;
        config
    }

    /// An endpoint on 127.0.0.1 with sockets of its own.
    pub fn builder(self) -> EndpointBuilder {
        self.builder_in(&Context::new())
    }

    /// The same in a registry of one's own.
    pub fn builder_in(self, context: &Context) -> EndpointBuilder {
        let (protocol, framing) = match self.over {
            Over::Tcp => (Protocol::Tcp, TcpFraming::Framed),
            Over::TcpRaw => (Protocol::Tcp, TcpFraming::Raw),
            _ => (Protocol::Sctp, TcpFraming::Framed),
        };
        Endpoint::builder()
            .address(v4(1))
            .protocol(protocol)
            .tcp_framing(framing)
            .backend(self.over.backend())
            .udp_port(UdpPort::Ephemeral)
            .shards(self.shards())
            .context(context.clone())
            .config(self.config())
    }

    /// An endpoint with a free port.
    pub async fn endpoint(self) -> Endpoint {
        self.builder().open().await.expect("an endpoint can be opened")
    }

    /// Another endpoint where one was: the same ports. What its predecessor still holds is waited for.
    pub async fn endpoint_at(self, port: u16, udp_port: Option<u16>) -> Endpoint {
        let builder = self.builder().port(port).udp_port(udp_port.map_or(UdpPort::Ephemeral, UdpPort::Listen));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            match builder.clone().open().await {
                Ok(endpoint) => return endpoint,
                Err(error) if tokio::time::Instant::now() > deadline => panic!("{error}"),
                Err(_) => tokio::time::sleep(millis(20)).await,
            }
        }
    }

    /// How to connect to an endpoint.
    pub fn to(self, server: &Endpoint) -> ConnectTo {
        self.to_port(server.port(), server.backend().udp_port)
    }

    /// The same by its ports.
    pub fn to_port(self, port: u16, udp_port: Option<u16>) -> ConnectTo {
        let encapsulation = match (self.over, udp_port) {
            (Over::Udp | Over::UdpShards, Some(port)) => Encapsulation::Udp(port),
            _ => Encapsulation::Native,
        };
        ConnectTo::new([v4(1)], port).encapsulation(encapsulation)
    }

    /// Whether a message arrives as it was sent; else bytes arrive as they come.
    pub fn keeps_boundaries(self) -> bool {
        self.over != Over::TcpRaw
    }

    /// A pair of endpoints, and an association between them: the client's end and the server's.
    pub async fn pair(self) -> (Endpoint, Endpoint, End, End) {
        let (server, mut client) = (self.endpoint().await, self.endpoint().await);
        if client.port() == server.port() {
            // Each is in a registry of its own, and one at the same address and port would be its own peer.
            client = self.endpoint().await;
        }
        let (ours, theirs) = self.join(&client, &server).await;
        (server, client, ours, theirs)
    }

    /// Connects two endpoints.
    pub async fn join(self, client: &Endpoint, server: &Endpoint) -> (End, End) {
        let (connected, accepted) =
            soon("connecting", async { tokio::join!(client.connect(self.to(server)), server.accept()) }).await;
        (connected.expect("the client connects"), accepted.expect("the server accepts"))
    }
}

/// Sends on stream 0.
pub async fn send(association: &Association, payload: impl Into<Bytes>) {
    soon("sending", association.send(SendOptions::default(), payload)).await.expect("it is taken");
}

/// Options with a stream.
pub fn on(stream: u16) -> SendOptions {
    SendOptions { stream: StreamId(stream), ..SendOptions::default() }
}

/// The next message; events before it are skipped.
pub async fn message(receiver: &mut Receiver) -> Message {
    soon("a message", async {
        loop {
            match receiver.recv().await.expect("a message comes before the end") {
                Received::Message(message) => return message,
                Received::Event(event @ Event::Closed(_)) => panic!("a message was expected, not {event:?}"),
                _ => {}
            }
        }
    })
    .await
}

/// Exactly this, in one message or, where boundaries do not survive, in many.
pub async fn expect(world: World, receiver: &mut Receiver, expected: &[u8]) {
    let mut got = message(receiver).await.payload.to_vec();
    while !world.keeps_boundaries() && got.len() < expected.len() {
        got.extend(message(receiver).await.payload);
    }
    assert!(got == expected, "{} bytes came, {} were expected, or others", got.len(), expected.len());
}

/// The next event that `wanted` takes; all else before it is skipped.
pub async fn event<T>(receiver: &mut Receiver, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    soon(what, async {
        loop {
            match receiver.recv().await {
                Some(Received::Event(event)) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Some(_) => {}
                None => panic!("the end came before {what}"),
            }
        }
    })
    .await
}

/// Waits until it is up.
pub async fn up(receiver: &mut Receiver) {
    event(receiver, "Up", |event| matches!(event, Event::Up(_)).then_some(())).await;
}

/// Waits for the last event.
pub async fn closed(receiver: &mut Receiver) -> CloseReason {
    event(receiver, "Closed", |event| if let Event::Closed(reason) = event { Some(reason) } else { None }).await
}

/// The next message of an owner, and whose it is.
pub async fn owned(owner: &mut Owner) -> (Association, Message) {
    soon("a message for the owner", async {
        loop {
            match owner.recv().await.expect("the owner gets a message") {
                OwnerEvent::Message { association, message } => return (association, message),
                OwnerEvent::Event { event: event @ Event::Closed(_), .. } => panic!("closed instead: {event:?}"),
                _ => {}
            }
        }
    })
    .await
}

/// The next event of an owner that `wanted` takes.
pub async fn owner_event<T>(
    owner: &mut Owner,
    what: &str,
    mut wanted: impl FnMut(Association, Event) -> Option<T>,
) -> T {
    soon(what, async {
        loop {
            if let OwnerEvent::Event { association, event } = owner.recv().await.expect("the owner goes on")
                && let Some(found) = wanted(association, event)
            {
                return found;
            }
        }
    })
    .await
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(millis(5)).await;
        }
    })
    .await;
}
