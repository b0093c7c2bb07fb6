//! The endpoints of the demo.

use super::director::{Director, Problem, paths};
use super::messages::Side;
use super::tree::Root;
use esock::{Address, Association, Backend, Config, ConnectTo, Direction, Encapsulation, Endpoint, UdpPort};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

/// The SCTP port of the server.
const PORT: u16 = 30400;

/// Two endpoints on two addresses of loopback.
pub struct Stage {
    endpoints: [Endpoint; 2],
    addresses: [Address; 2],
}

/// The two ends of one association.
pub struct Cast {
    associations: [Association; 2],
}

impl Cast {
    /// The association as one end sees it.
    pub fn of(&self, side: Side) -> &Association {
        &self.associations[side as usize]
    }

    /// Packets with data that both ends have sent to an address.
    pub fn data_packets(&self, remote: Address) -> u64 {
        self.associations
            .iter()
            .flat_map(paths)
            .filter(|path| path.remote == remote)
            .map(|path| path.data_packets_sent)
            .sum()
    }
}

impl Stage {
    /// Opens both endpoints on the same two addresses.
    pub async fn open() -> Result<Self, Problem> {
        let addresses = [Ipv4Addr::LOCALHOST.into(), second_address().into()];
        let server = open(&addresses, PORT).await?;
        let client = open(&addresses, 0).await?;
        Ok(Self { endpoints: [client, server], addresses })
    }

    /// The address of the primary path, and the other.
    pub fn addresses(&self) -> [Address; 2] {
        self.addresses
    }

    /// Connects the client to the server.
    pub async fn connect(&self) -> Result<(Cast, Director), Problem> {
        let [client, server] = &self.endpoints;
        let udp_port = server.backend().udp_port.ok_or_else(|| Problem("the server has no UDP port".to_owned()))?;
        let peer = ConnectTo::new(self.addresses, PORT).encapsulation(Encapsulation::Udp(udp_port));
        let (connected, accepted) = tokio::join!(client.connect(peer), server.accept());
        let (client, at_client) = connected.map_err(|error| Problem(format!("cannot connect: {error}")))?;
        let (server, at_server) = accepted.map_err(|error| Problem(format!("cannot accept: {error}")))?;
        Ok((Cast { associations: [client, server] }, Director::watch(at_client, at_server)))
    }

    /// Drops every packet to an address, whoever sends it.
    pub fn block(&self, address: Address) {
        // Both endpoints share their sockets, and so their bad network.
        self.endpoints[0].impairment(|network| network.block(address, Direction::Both));
    }

    /// Lets all packets pass again.
    pub fn unblock(&self) {
        self.endpoints[0].impairment(|network| network.clear());
    }

    /// What an endpoint's tree begins with.
    pub fn root(&self, side: Side) -> Root<'_> {
        let endpoint = &self.endpoints[side as usize];
        Root {
            name: side.name(),
            port: endpoint.port(),
            addresses: &self.addresses,
            udp_port: endpoint.backend().udp_port,
        }
    }

    /// Closes both endpoints.
    pub async fn close(self) {
        for endpoint in self.endpoints {
            endpoint.close().await;
        }
    }
}

async fn open(addresses: &[Address; 2], port: u16) -> Result<Endpoint, Problem> {
    Endpoint::builder()
        .addresses(addresses.iter().copied())
        .port(port)
        .backend(Backend::Udp)
        .udp_port(UdpPort::Auto)
        .config(config())
        .open()
        .await
        .map_err(|error| Problem(format!("cannot open an endpoint on SCTP port {port}: {error}")))
}

/// Timers that a spectator has the patience for.
fn config() -> Config {
    let mut config = Config::default();
    config.rto_initial = Duration::from_millis(200);
    config.rto_min = Duration::from_millis(100);
    config.rto_max = Duration::from_millis(400);
    config.sack_delay = Duration::from_millis(20);
    config.heartbeat_interval = Some(Duration::from_millis(200));
    config.path_max_retrans = Some(2);
    config
}

/// 127.0.0.2 where this system has it (Linux does), else ::1.
fn second_address() -> IpAddr {
    let second = Ipv4Addr::new(127, 0, 0, 2);
    match UdpSocket::bind((second, 0)) {
        Ok(_) => second.into(),
        Err(_) => Ipv6Addr::LOCALHOST.into(),
    }
}
