//! The backend over the bindings: whose the parameters of a connection are.

use crate::report::{Ended, Failure, Report};
use crate::side::{Side, address};
use esock_io::kernel::Notification;
use esock_io::{Backend, DriverConfig, Protocol, Transport};
use esock_proto::{AssocId, Config, ConnectError, Encapsulation, EndpointConfig, EndpointId, Event, Peer, SendOptions};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent at once: one chunk on loopback, unless its size is limited.
const MESSAGE_BYTES: usize = 10_000;

/// An endpoint of the backend.
struct Ours {
    transport: Box<dyn Transport>,
    endpoint: EndpointId,
}

impl Ours {
    fn open(config: Config) -> Result<Self, Failure> {
        let mut driver = DriverConfig::default();
        driver.backend = Backend::Kernel;
        let mut transport = esock_io::open(Protocol::Sctp, driver)?;
        let addresses = vec![address("127.0.0.1")?];
        let endpoint =
            transport.open_endpoint(EndpointConfig { port: 0, addresses, host_addresses: Vec::new(), config })?;
        transport.set_accepting(endpoint, true);
        Ok(Self { transport, endpoint })
    }

    fn connect(&mut self, port: u16, config: Option<Config>) -> Result<AssocId, ConnectError> {
        let addresses = vec![std::net::Ipv4Addr::LOCALHOST.into()];
        let peer = Peer { addresses, port, encapsulation: Encapsulation::Native };
        let now = self.transport.now();
        self.transport.connect(now, self.endpoint, &peer, config)
    }

    /// Turns, accepting who comes, until an association is up.
    fn up(&mut self) -> Result<AssocId, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let now = self.transport.now();
            self.transport.turn(now)?;
            while let Some(incoming) = self.transport.poll_incoming() {
                self.transport.accept(now, incoming);
            }
            while let Some((id, event)) = self.transport.poll_event() {
                if matches!(event, Event::Up(_)) {
                    return Ok(id);
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("nothing came up".into())
    }

    /// In how many chunks a message leaves. The peer is told nothing before it comes.
    fn chunks(&mut self, id: AssocId, peer: &Side) -> Result<u64, Failure> {
        let now = self.transport.now();
        let sent = self.transport.send(now, id, SendOptions::default(), vec![7; MESSAGE_BYTES].into());
        sent.map_err(|rejected| format!("{:?}", rejected.error))?;
        let mut bytes = 0;
        while bytes < MESSAGE_BYTES {
            let item = peer.item(1 << 16)?;
            if item.notification {
                return Err(format!("the peer was told {:?}", Notification::parse(&item.data)).into());
            }
            bytes += item.data.len();
        }
        let stats = self.transport.association(now, id).ok_or("it has gone")?;
        Ok(stats.counters.data_chunks_sent)
    }

    fn end(&mut self, id: AssocId, peer: &Side) -> Ended {
        let now = self.transport.now();
        self.transport.release(now, id);
        peer.down().map(drop)
    }
}

fn adaptation(peer: &Side) -> Result<u32, Failure> {
    peer.told("an adaptation indication", |notification| match *notification {
        Notification::Adaptation { indication, .. } => Some(indication),
        _ => None,
    })
}

pub fn parameters_of_one_connection_are_its_own(report: &mut Report) -> Ended {
    let peer = Side::open(&["127.0.0.1"], 0)?;
    peer.socket().listen(true)?;
    let port = peer.port()?;
    let mut ours = Ours::open(Config::default())?;

    let mut config = Config::default();
    (config.max_segment, config.adaptation) = (1000, Some(7));
    ours.connect(port, Some(config))?;
    let id = ours.up()?;
    report.equal("its own adaptation indication", adaptation(&peer)?, 7);
    let chunks = ours.chunks(id, &peer)?;
    report.check("its own largest segment", chunks >= 10, format!("{chunks} chunks"));
    ours.end(id, &peer)?;

    ours.connect(port, None)?;
    let id = ours.up()?;
    peer.up()?;
    // The endpoint has no adaptation indication, so that the peer is told of none.
    report.equal("the next has the largest segment of the endpoint", ours.chunks(id, &peer)?, 1);
    ours.end(id, &peer)?;

    let mut config = Config::default();
    (config.max_segment, config.outbound_streams) = (64, 3);
    let refused = ours.connect(port, Some(config));
    report.check("a segment that the kernel refuses", refused.is_err(), format!("{refused:?}"));
    let own = ours.transport.endpoint_port(ours.endpoint).ok_or("no port")?;
    peer.socket().connect(&[address("127.0.0.1")?], own)?;
    let id = ours.up()?;
    report.equal("who comes then finds the endpoint as it was", peer.up()?.inbound_streams, 10);
    ours.end(id, &peer)
}
