//! Packets of many associations that leave together.

use super::address;
#[cfg(target_os = "linux")]
use super::net::Namespace;
use super::pair::{fast, quiet};
use crate::config::Backend;
use crate::driver::Driver;
use bytes::Bytes;
use esock_proto::{Address, AssocId, Config, Encapsulation, EndpointConfig, Event, Peer, SendOptions};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const ASSOCIATIONS: usize = 150;

/// A driver, its associations, and the messages that they got.
struct Crowd {
    driver: Driver,
    associations: Vec<AssocId>,
    ups: usize,
    messages: HashMap<AssocId, Vec<Bytes>>,
}

impl Crowd {
    fn new(driver: Driver) -> Self {
        Self { driver, associations: Vec::new(), ups: 0, messages: HashMap::new() }
    }

    fn open(&mut self, at: Address, port: u16, config: &Config) -> esock_proto::EndpointId {
        let config = config.clone();
        let endpoint = EndpointConfig { port, addresses: vec![at], host_addresses: Vec::new(), config };
        self.driver.open_endpoint(endpoint).unwrap()
    }

    fn turn(&mut self) {
        let now = self.driver.now();
        self.driver.turn(now).unwrap();
        let stack = self.driver.stack_mut();
        while let Some(incoming) = stack.poll_incoming() {
            self.associations.extend(stack.accept(now, incoming));
        }
        while let Some((id, event)) = stack.poll_event() {
            match event {
                Event::Up(_) => self.ups += 1,
                Event::Closed(reason) => panic!("an association ended: {reason:?}"),
                Event::Readable => {
                    while let Some(message) = stack.recv(now, id) {
                        self.messages.entry(id).or_default().push(message.payload);
                    }
                }
                _ => {}
            }
        }
        self.driver.flush(now);
    }

    fn got(&self) -> usize {
        self.messages.values().map(Vec::len).sum()
    }
}

fn until(what: &str, a: &mut Crowd, b: &mut Crowd, mut holds: impl FnMut(&mut Crowd, &mut Crowd) -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !holds(a, b) {
        assert!(
            Instant::now() < give_up,
            "never: {what}: {} of {:?}, {:?}",
            b.got(),
            a.driver.stats(),
            b.driver.stats()
        );
        a.turn();
        b.turn();
    }
}

/// Sets up associations, each of an endpoint of its own at the one end.
fn establish(a: &mut Crowd, b: &mut Crowd, (from, to): (Address, Address)) {
    // Nothing but what the tests send.
    let mut config = fast();
    (config.heartbeat_interval, config.pmtud) = (None, false);
    // What is not sent, and sent again only when its time is over, is found.
    config.rto_initial = Duration::from_secs(30);
    (config.rto_min, config.rto_max) = (config.rto_initial, config.rto_initial);
    let endpoint = b.open(to, 0, &config);
    b.driver.stack_mut().set_accepting(endpoint, true);
    let peer = Peer {
        addresses: vec![to],
        port: b.driver.stack().endpoint_port(endpoint).unwrap(),
        encapsulation: match b.driver.backend().backend {
            Backend::Raw => Encapsulation::Native,
            _ => Encapsulation::Udp(b.driver.backend().udp_port.unwrap()),
        },
    };
    for port in 30_000..30_000 + ASSOCIATIONS as u16 {
        let endpoint = a.open(from, port, &config);
        let now = a.driver.now();
        a.associations.push(a.driver.stack_mut().connect(now, endpoint, &peer, None).unwrap());
        until("one more is up", a, b, |a, b| a.ups == a.associations.len() && b.ups == a.ups);
    }
}

/// A message for each association, which says whose it is.
fn message(number: usize, round: usize, bytes: usize) -> Bytes {
    let mut message = vec![round as u8; bytes];
    message[..2].copy_from_slice(&(number as u16).to_be_bytes());
    message.into()
}

fn send_all(a: &mut Crowd, round: usize, bytes: impl Fn(usize) -> usize) {
    let now = a.driver.now();
    for (number, id) in a.associations.clone().into_iter().enumerate() {
        let message = message(number, round, bytes(number));
        a.driver.stack_mut().send(now, id, SendOptions::default(), message).unwrap();
    }
    a.driver.flush(now);
}

/// Every association of `b` got what one of `a` sent, once and in order.
fn check(b: &Crowd, rounds: usize, bytes: impl Fn(usize) -> usize) {
    let mut whose: Vec<u16> = Vec::new();
    for messages in b.messages.values() {
        let number = u16::from_be_bytes(*messages[0].first_chunk().unwrap());
        let expected: Vec<Bytes> =
            (0..rounds).map(|round| message(usize::from(number), round, bytes(usize::from(number)))).collect();
        assert_eq!(*messages, expected);
        whose.push(number);
    }
    whose.sort_unstable();
    assert_eq!(whose, (0..ASSOCIATIONS as u16).collect::<Vec<_>>());
}

#[test]
fn small_packets_of_many_associations_leave_in_few_calls() {
    let at = address("127.0.0.1");
    let [mut a, mut b] = [(); 2].map(|()| Crowd::new(Driver::open(quiet(Backend::Udp)).unwrap()));
    establish(&mut a, &mut b, (at, at));
    let before = a.driver.stats();
    send_all(&mut a, 0, |_| 64);
    let after = a.driver.stats();
    assert_eq!(after.packets_sent - before.packets_sent, ASSOCIATIONS as u64);
    let calls = after.send_calls - before.send_calls;
    if cfg!(target_os = "linux") {
        assert!(calls <= 4, "{calls} calls");
    }
    until("all have arrived", &mut a, &mut b, |_, b| b.got() == ASSOCIATIONS);
    check(&b, 1, |_| 64);
}

#[test]
fn packets_of_several_sizes_all_leave() {
    let at = address("127.0.0.1");
    let [mut a, mut b] = [(); 2].map(|()| Crowd::new(Driver::open(quiet(Backend::Udp)).unwrap()));
    establish(&mut a, &mut b, (at, at));
    // Shorter ones, longer ones, and some that stay alone.
    let bytes = |number: usize| [64, 64, 40, 64, 900, 900, 100, 64, 1200, 30][number % 10];
    for round in 0..3 {
        send_all(&mut a, round, bytes);
        until("all have arrived", &mut a, &mut b, |_, b| b.got() == (round + 1) * ASSOCIATIONS);
    }
    check(&b, 3, bytes);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_full_socket_does_not_take_of_several_associations_leaves_later() {
    let Some((first, second)) = Namespace::pair() else { return };
    let at = (address("10.1.0.1"), address("10.1.0.2"));
    for backend in [Backend::Udp, Backend::Raw] {
        let mut config = quiet(backend);
        config.send_buffer_bytes = 1;
        let mut a = first.run(move || Crowd::new(Driver::open(config).unwrap()));
        let mut b = second.run(move || Crowd::new(Driver::open(quiet(backend)).unwrap()));
        establish(&mut a, &mut b, at);
        // The peer does not tell its hardware address for a while: packets queue in the kernel, charged to the socket.
        second.ip("link set veth0 arp off");
        first.ip("neigh flush dev veth0");
        let bytes = |number: usize| [64, 64, 300, 64, 64][number % 5];
        send_all(&mut a, 0, bytes);
        assert!(a.driver.stats().send_blocked > 0, "{backend:?}: {:?}", a.driver.stats());
        second.ip("link set veth0 arp on");
        until("all have arrived", &mut a, &mut b, |_, b| b.got() == ASSOCIATIONS);
        check(&b, 1, bytes);
        assert_eq!(a.driver.stats().send_drops, 0, "{backend:?}");
    }
}
