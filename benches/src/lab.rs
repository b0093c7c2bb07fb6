//! Two stacks in memory, without sockets and with a clock of their own: for what is counted or measured of the stack
//! alone.

use crate::plan::OUTER_BYTES;
use esock_proto::{
    Address, AssocId, Config, Datagram, Encapsulation, EndpointConfig, EndpointId, Event, Local, Peer, Stack,
    StackConfig, Time, Transmit,
};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Packets of one poll.
const MAX_SEGMENTS: usize = 46;

const UDP_PORT: u16 = 9899;
const FIRST_PORT: u16 = 5000;

/// Endpoints of the one side per endpoint of the other: a pair of them has one association.
const CLIENTS: usize = 50_000;

/// One of the two.
pub struct Side {
    /// The stack.
    pub stack: Stack,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its associations, in the order in which they were made.
    pub associations: Vec<AssocId>,
    endpoints: Vec<EndpointId>,
    ups: usize,
}

/// Packets that one has to send.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
    transmits: Vec<(usize, Transmit)>,
}

/// See the module.
pub struct Lab {
    /// The time.
    pub now: Time,
    /// Who connects, and sends.
    pub a: Side,
    /// Who accepts, and receives.
    pub b: Side,
    /// What is under way.
    pub packets: Packets,
}

/// Packets of this size, and large windows.
pub fn config(packet_bytes: usize) -> Config {
    let mut config = Config::default();
    config.initial_mtu = (packet_bytes + OUTER_BYTES) as u16;
    config.pmtud = false;
    config.receive_window = 8 << 20;
    config.send_buffer = 8 << 20;
    config
}

impl Side {
    fn new(host: u8, paths: u8, now: Time) -> Self {
        let addresses = (0..paths).map(|net| Address::from(Ipv4Addr::new(10, 0, net, host))).collect();
        let stack = Stack::new(StackConfig::default(), [host; 32], now);
        Self { stack, addresses, associations: Vec::new(), endpoints: Vec::new(), ups: 0 }
    }

    fn open(&mut self, port: u16, config: &Config) {
        let endpoint = EndpointConfig {
            port,
            addresses: self.addresses.clone(),
            host_addresses: Vec::new(),
            config: config.clone(),
        };
        self.endpoints.push(self.stack.open(endpoint).expect("the port is free"));
    }

    /// Takes all packets that there are to send.
    pub fn poll(&mut self, now: Time, packets: &mut Packets) {
        packets.transmits.clear();
        let mut used = 0;
        loop {
            if packets.bytes.len() < used + (1 << 16) {
                packets.bytes.resize(packets.bytes.len() + (1 << 20), 0);
            }
            let polled = self.stack.poll_transmit(now, MAX_SEGMENTS, &mut packets.bytes[used..]);
            let Some(transmit) = polled else { return };
            packets.transmits.push((used, transmit));
            used += transmit.size;
        }
    }

    /// Is given packets.
    pub fn handle(&mut self, now: Time, packets: &Packets) {
        for (from, transmit) in &packets.transmits {
            let local = Local { address: Some(transmit.remote), ..Local::default() };
            let remote = transmit.local.address.expect("the endpoints have addresses");
            let data = &packets.bytes[*from..from + transmit.size];
            for data in data.chunks(transmit.segment_size.unwrap_or(transmit.size)) {
                let encap_port = Some(UDP_PORT);
                self.stack.handle_datagram(now, Datagram { local, remote, encap_port, ecn: None, data });
            }
        }
    }

    fn events(&mut self) {
        while let Some((_, event)) = self.stack.poll_event() {
            match event {
                Event::Up(_) => self.ups += 1,
                Event::Closed(reason) => panic!("an association ended: {reason:?}"),
                _ => {}
            }
        }
    }
}

impl Packets {
    /// How many there are.
    pub fn count(&self) -> usize {
        let count = |transmit: &Transmit| transmit.segment_size.map_or(1, |size| transmit.size.div_ceil(size));
        self.transmits.iter().map(|(_, transmit)| count(transmit)).sum()
    }
}

impl Lab {
    /// Two stacks with endpoints for so many associations between them, over so many paths each.
    pub fn new(associations: usize, paths: u8, config: &Config) -> Self {
        let now = Time::from_millis(1_000);
        let (mut a, mut b) = (Side::new(1, paths, now), Side::new(2, paths, now));
        for number in 0..associations.min(CLIENTS) {
            a.open(FIRST_PORT + number as u16, config);
        }
        for number in 0..associations.div_ceil(CLIENTS) {
            b.open(FIRST_PORT + number as u16, config);
            b.stack.set_accepting(b.endpoints[number], true);
        }
        Self { now, a, b, packets: Packets::default() }
    }

    /// Begins the next `count` associations.
    pub fn connect(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.a.associations.len();
            let peer = Peer {
                addresses: self.b.addresses.clone(),
                port: FIRST_PORT + (number / CLIENTS) as u16,
                encapsulation: Encapsulation::Udp(UDP_PORT),
            };
            let endpoint = self.a.endpoints[number % CLIENTS];
            let connected = self.a.stack.connect(self.now, endpoint, &peer, None);
            self.a.associations.push(connected.expect("there is room"));
        }
    }

    /// Sets up the next `count` associations.
    ///
    /// # Panics
    ///
    /// If they do not come up.
    pub fn set_up(&mut self, count: usize) {
        let ups = [self.a.ups + count, self.b.ups + count];
        self.connect(count);
        self.settle();
        assert_eq!([self.a.ups, self.b.ups], ups, "not all are up");
    }

    /// Lets packets pass until there are none.
    pub fn settle(&mut self) {
        loop {
            let Self { now, a, b, packets } = self;
            a.poll(*now, packets);
            b.handle(*now, packets);
            let mut count = packets.count();
            while let Some(incoming) = b.stack.poll_incoming() {
                b.associations.extend(b.stack.accept(*now, incoming));
            }
            b.poll(*now, packets);
            a.handle(*now, packets);
            count += packets.count();
            a.events();
            b.events();
            if count == 0 {
                return;
            }
        }
    }

    /// Lets time pass, with all that is due in it, until `end`. Says how often something was due.
    pub fn pass(&mut self, time: Duration) -> usize {
        let (end, mut turns) = (self.now + time, 0);
        loop {
            let due = [self.a.stack.poll_timeout(), self.b.stack.poll_timeout()];
            let Some(at) = due.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.a.stack.handle_timeout(self.now);
            self.b.stack.handle_timeout(self.now);
            self.settle();
            turns += 1;
        }
        self.now = end;
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esock_proto::SendOptions;

    #[test]
    fn messages_pass_between_the_stacks() {
        let mut lab = Lab::new(3, 2, &config(1400));
        lab.set_up(3);
        lab.pass(Duration::from_secs(1));
        let sender = lab.a.associations[1];
        let payload = bytes::Bytes::from(vec![7; 10_000]);
        lab.a.stack.send(lab.now, sender, SendOptions::default(), payload.clone()).unwrap();
        lab.settle();
        let received: Vec<_> =
            lab.b.associations.clone().into_iter().filter_map(|id| lab.b.stack.recv(lab.now, id)).collect();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].payload, payload);
    }
}
