//! esock: two drivers in two threads, one association over loopback, by UDP encapsulation or on raw IP.

use crate::pattern::{Checker, Pattern};
use crate::plan::{BUFFER_BYTES, OUTER_BYTES, enlarge};
use crate::{Bulk, End, Plan, RoundTrips};
pub use esock_io::Backend;
use esock_io::{Driver, DriverConfig, Turn, UdpPort};
use esock_proto::{Address, AssocId, Config, Encapsulation, EndpointConfig, Event, Peer, SendOptions, Time};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The header that native packets do without.
const UDP_BYTES: u16 = 8;

/// How long a wait lasts at most: the other thread may want us to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Packets of the plan's size, large windows, the rest as the library has it.
pub fn config(plan: &Plan) -> Config {
    let mut config = Config::default();
    config.initial_mtu = (plan.packet_bytes + OUTER_BYTES) as u16;
    config.pmtud = false;
    config.receive_window = BUFFER_BYTES as u32;
    config.send_buffer = BUFFER_BYTES;
    config
}

/// One end.
struct Party {
    driver: Driver,
    assoc: AssocId,
}

/// A driver with an endpoint on an address of loopback: on raw IP each end has its own, or it would see what it sends.
pub(super) fn open(plan: &Plan, backend: Backend, host: u8) -> (Driver, esock_proto::EndpointId) {
    let address = Address::from(Ipv4Addr::new(127, 0, 0, host));
    let mut driver_config = DriverConfig::default();
    driver_config.backend = backend;
    driver_config.addresses = vec![address];
    driver_config.udp_port = UdpPort::Ephemeral;
    driver_config.busy_poll = plan.busy_poll();
    let mut driver = Driver::open(driver_config).expect("the sockets open");
    driver.descriptors().expect("they are open").iter().for_each(enlarge);
    let mut config = config(plan);
    if backend == Backend::Raw {
        config.initial_mtu -= UDP_BYTES;
    }
    let endpoint = driver
        .open_endpoint(EndpointConfig { port: 0, addresses: vec![address], host_addresses: Vec::new(), config })
        .expect("the port is free");
    (driver, endpoint)
}

/// Two ends with an association between them.
fn pair(plan: &Plan, backend: Backend) -> (Party, Party) {
    let (mut a, endpoint_a) = open(plan, backend, 1);
    let (mut b, endpoint_b) = open(plan, backend, 2);
    b.stack_mut().set_accepting(endpoint_b, true);
    let peer = Peer {
        addresses: vec![Ipv4Addr::new(127, 0, 0, 2).into()],
        port: b.stack().endpoint_port(endpoint_b).expect("an open endpoint has a port"),
        encapsulation: match backend {
            Backend::Raw => Encapsulation::Native,
            _ => Encapsulation::Udp(b.backend().udp_port.expect("a UDP socket is open")),
        },
    };
    let now = a.now();
    let assoc_a = a.stack_mut().connect(now, endpoint_a, &peer, None).expect("loopback connects");
    let (mut assoc_b, mut up_a, mut up_b) = (None, false, false);
    let give_up = Instant::now() + Duration::from_secs(10);
    while !(up_a && up_b) {
        assert!(Instant::now() < give_up, "no association after 10 s");
        for driver in [&mut a, &mut b] {
            let now = driver.now();
            driver.turn(now).expect("sockets work");
        }
        while let Some(incoming) = b.stack_mut().poll_incoming() {
            let now = b.now();
            assoc_b = b.stack_mut().accept(now, incoming);
        }
        up_a |= is_up(&mut a);
        up_b |= is_up(&mut b);
    }
    let assoc_b = assoc_b.expect("who is up was accepted");
    (Party { driver: a, assoc: assoc_a }, Party { driver: b, assoc: assoc_b })
}

fn is_up(driver: &mut Driver) -> bool {
    let mut up = false;
    while let Some((_, event)) = driver.stack_mut().poll_event() {
        match event {
            Event::Up(_) => up = true,
            Event::Closed(reason) => panic!("the association ended: {reason:?}"),
            _ => {}
        }
    }
    up
}

impl Party {
    /// Takes one turn.
    fn turn(&mut self, now: Time) -> Turn {
        let turn = self.driver.turn(now).expect("sockets work");
        while let Some((_, event)) = self.driver.stack_mut().poll_event() {
            if let Event::Closed(reason) = event {
                panic!("the association ended: {reason:?}");
            }
        }
        turn
    }

    /// Waits for the next turn, unless there is more to do now.
    fn rest(&mut self, now: Time, turn: Turn) {
        if !turn.more {
            let until = turn.deadline.map_or(LONGEST_WAIT, |deadline| deadline.since(now));
            self.driver.wait(Some(until.min(LONGEST_WAIT))).expect("descriptors are open");
        }
    }

    /// Fills the send buffer, beginning with the `n`th message.
    fn fill(&mut self, now: Time, pattern: &Pattern, n: &mut u64) {
        let options = SendOptions::default();
        while self.driver.stack_mut().send(now, self.assoc, options, pattern.message(*n).clone()).is_ok() {
            *n += 1;
        }
    }

    /// Reads all that is there: messages and bytes.
    fn drain(&mut self, now: Time, checker: &mut Checker) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        while let Some(message) = self.driver.stack_mut().recv(now, self.assoc) {
            checker.message(&message.payload);
            messages += 1;
            bytes += message.payload.len() as u64;
        }
        (messages, bytes)
    }
}

/// One end sends messages, the other reads them.
pub fn bulk(plan: Plan, message_bytes: usize, backend: Backend) -> Bulk {
    let (mut sender, mut receiver) = pair(&plan, backend);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            plan.cores.pin(End::First);
            let (pattern, mut n) = (Pattern::new(message_bytes), 0);
            while !stop.load(Ordering::Relaxed) {
                let now = sender.driver.now();
                sender.fill(now, &pattern, &mut n);
                let turn = sender.turn(now);
                sender.rest(now, turn);
            }
        });
        let mut checker = Checker::new(message_bytes);
        let mut measure_for = |time: Duration| {
            let start = Instant::now();
            let mut bulk = Bulk::default();
            while start.elapsed() < time {
                let now = receiver.driver.now();
                let mut turn = receiver.turn(now);
                let (messages, bytes) = receiver.drain(now, &mut checker);
                bulk.messages += messages;
                bulk.bytes += bytes;
                // Reading may have opened the window, which the peer is to be told.
                turn.deadline = receiver.driver.flush(now).deadline;
                receiver.rest(now, turn);
            }
            bulk.time = start.elapsed();
            bulk
        };
        measure_for(plan.warm_up);
        let result = measure_for(plan.measure);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// A message back and forth.
pub fn ping_pong(plan: Plan, message_bytes: usize) -> RoundTrips {
    let (mut client, mut server) = pair(&plan, Backend::Udp);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // It begins where it stays: who spins leaves its core to nobody.
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let now = server.driver.now();
                let mut turn = server.turn(now);
                while let Some(message) = server.driver.stack_mut().recv(now, server.assoc) {
                    let options = SendOptions::default();
                    let stack = server.driver.stack_mut();
                    stack.send(now, server.assoc, options, message.payload).expect("room for one");
                    turn.deadline = server.driver.flush(now).deadline;
                }
                server.rest(now, turn);
            }
        });
        plan.cores.pin(End::First);
        let (pattern, mut checker) = (Pattern::new(message_bytes), Checker::new(message_bytes));
        let mut times = Vec::with_capacity(plan.exchanges);
        for exchange in 0..plan.exchanges + plan.exchanges / 10 {
            let message = pattern.message(exchange as u64).clone();
            let start = Instant::now();
            let now = client.driver.now();
            let stack = client.driver.stack_mut();
            stack.send(now, client.assoc, SendOptions::default(), message).expect("room for one");
            client.driver.flush(now);
            while client.drain(client.driver.now(), &mut checker).0 == 0 {
                client.driver.wait(Some(LONGEST_WAIT)).expect("descriptors are open");
                client.turn(client.driver.now());
            }
            if exchange >= plan.exchanges / 10 {
                times.push(start.elapsed());
            }
        }
        stop.store(true, Ordering::Relaxed);
        RoundTrips::new(times)
    })
}
