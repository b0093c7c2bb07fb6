//! TCP: where connections leave from, and what waits to be written.

use super::address;
use super::net::Namespace;
use super::pair::fast;
use crate::config::DriverConfig;
use crate::{Backend, Protocol, Transport};
use esock_proto::{Address, AssocId, Encapsulation, EndpointConfig, EndpointId, Event, Peer, SendError, SendOptions};
use std::net::TcpListener;
use std::time::{Duration, Instant};

struct Party {
    transport: Box<dyn Transport>,
    endpoint: EndpointId,
}

impl Party {
    fn open(addresses: &[&str], framing: crate::TcpFraming) -> Self {
        let config = DriverConfig { backend: Backend::Auto, tcp_framing: framing, ..DriverConfig::default() };
        let mut transport = crate::open(Protocol::Tcp, config).unwrap();
        let addresses = addresses.iter().map(|text| address(text)).collect();
        let config = EndpointConfig { port: 0, addresses, host_addresses: Vec::new(), config: fast() };
        let endpoint = transport.open_endpoint(config).unwrap();
        transport.set_accepting(endpoint, true);
        Self { transport, endpoint }
    }

    fn connect(&mut self, addresses: Vec<Address>, port: u16) -> AssocId {
        let peer = Peer { addresses, port, encapsulation: Encapsulation::Native };
        let now = self.transport.now();
        self.transport.connect(now, self.endpoint, &peer, None).unwrap()
    }

    fn turn(&mut self) -> Vec<Event> {
        let now = self.transport.now();
        self.transport.turn(now).unwrap();
        while let Some(incoming) = self.transport.poll_incoming() {
            self.transport.accept(now, incoming);
        }
        std::iter::from_fn(|| self.transport.poll_event()).map(|(_, event)| event).collect()
    }
}

/// Turns until the last of them is up.
fn come_up(parties: &mut [&mut Party]) {
    let end = Instant::now() + super::PATIENCE;
    loop {
        let mut told = Vec::new();
        parties.iter_mut().for_each(|party| told = party.turn());
        if told.iter().any(|event| matches!(event, Event::Up(_))) {
            return;
        }
        assert!(!told.iter().any(|event| matches!(event, Event::Closed(_))), "{told:?}");
        assert!(Instant::now() < end, "it does not come up");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn where_one_network_is_down_a_connection_leaves_by_the_other_from_its_address() {
    let Some((first, second)) = Namespace::pair() else { return };
    first.join(&second);
    let open =
        |last: u8| move || Party::open(&[&format!("10.1.0.{last}"), &format!("10.2.0.{last}")], Default::default());
    let (mut client, mut server) = (first.run(open(1)), second.run(open(2)));
    second.ip("link set veth0 down");
    let port = server.transport.endpoint_port(server.endpoint).unwrap();
    // Sockets are opened where the thread is.
    let (client, id) = first.run(move || {
        let id = client.connect(vec![address("10.1.0.2"), address("10.2.0.2")], port);
        come_up(&mut [&mut server, &mut client]);
        (client, id)
    });
    assert_eq!(client.transport.local_addresses(id), [address("10.2.0.1")]);
}

#[test]
fn tiny_messages_that_nobody_reads_take_their_memory_of_the_send_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Party::open(&["127.0.0.1"], crate::TcpFraming::Raw);
    let id = client.connect(vec![address("127.0.0.1")], listener.local_addr().unwrap().port());
    come_up(&mut [&mut client]);
    let _silent = listener.accept().unwrap();
    // The system takes no more: what follows waits here.
    let now = client.transport.now();
    let send = |client: &mut Party, len: usize| {
        client.transport.send(now, id, SendOptions::default(), vec![7; len].into()).map_err(|rejected| rejected.error)
    };
    let limit = fast().send_buffer;
    let fill = |client: &mut Party, len: usize| {
        let mut count = 0;
        loop {
            match send(client, len) {
                Ok(()) => count += 1,
                Err(error) => {
                    assert_eq!(error, SendError::Full);
                    return count;
                }
            }
            client.transport.flush(now);
        }
    };
    while client.transport.association(now, id).unwrap().queued < limit / 2 {
        send(&mut client, limit / 8).unwrap();
        client.transport.flush(now);
    }
    let count = fill(&mut client, 1);
    assert!(count <= limit / 64, "{count} messages of one byte in {limit} bytes");
}
