//! Two drivers with an endpoint each, and what happens between them.

use crate::config::{Backend, DriverConfig, UdpPort};
use crate::driver::Driver;
use bytes::Bytes;
use esock_proto::{
    Address, AssocId, Config, Encapsulation, EndpointConfig, EndpointId, Event, Message, Peer, SendOptions,
};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A driver with one endpoint, and all that has happened there.
pub(super) struct End {
    pub(super) driver: Driver,
    pub(super) endpoint: EndpointId,
    pub(super) assoc: Option<AssocId>,
    pub(super) events: Vec<Event>,
    pub(super) messages: Vec<Message>,
    /// Whether messages are read as they come.
    pub(super) reads: bool,
}

/// Timers for tests: fast, and a host that is busy with other tests still keeps them.
pub(super) fn fast() -> Config {
    let millis = Duration::from_millis;
    let mut config = Config::default();
    config.rto_initial = millis(200);
    config.rto_min = millis(100);
    config.rto_max = millis(400);
    config.heartbeat_interval = Some(millis(100));
    config.sack_delay = millis(20);
    config.path_max_retrans = Some(1);
    config
}

/// A driver that is in nobody's way.
pub(super) fn quiet(backend: Backend) -> DriverConfig {
    DriverConfig { backend, udp_port: UdpPort::Ephemeral, ..DriverConfig::default() }
}

impl End {
    /// Opens a driver and an endpoint that accepts.
    pub(super) fn open(config: DriverConfig, addresses: &[Address], sctp: Config) -> Self {
        // Ends of one host, with one address, are one peer if they happen to have the same port.
        static NEXT_PORT: AtomicU16 = AtomicU16::new(20_000);
        let port = if config.backend == Backend::Udp { NEXT_PORT.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let mut driver = Driver::open(config).unwrap();
        let endpoint = driver
            .open_endpoint(EndpointConfig {
                port,
                addresses: addresses.to_vec(),
                host_addresses: Vec::new(),
                config: sctp,
            })
            .unwrap();
        driver.stack_mut().set_accepting(endpoint, true);
        Self { driver, endpoint, assoc: None, events: Vec::new(), messages: Vec::new(), reads: true }
    }

    pub(super) fn port(&self) -> u16 {
        self.driver.stack().endpoint_port(self.endpoint).unwrap()
    }

    /// Encapsulation in UDP to this end.
    pub(super) fn over_udp(&self) -> Encapsulation {
        Encapsulation::Udp(self.driver.backend().udp_port.unwrap())
    }

    pub(super) fn connect(&mut self, to: &[Address], port: u16, encapsulation: Encapsulation) {
        let now = self.driver.now();
        let peer = Peer { addresses: to.to_vec(), port, encapsulation };
        let stack = self.driver.stack_mut();
        self.assoc = Some(stack.connect(now, self.endpoint, &peer, None).unwrap());
    }

    /// Takes a message if there is room for it.
    pub(super) fn send(&mut self, stream: u16, payload: impl Into<Bytes>) -> bool {
        let now = self.driver.now();
        let options = SendOptions { stream: esock_proto::StreamId(stream), ..Default::default() };
        let stack = self.driver.stack_mut();
        stack.send(now, self.assoc.unwrap(), options, payload.into()).is_ok()
    }

    /// One turn, and all that it brought.
    pub(super) fn turn(&mut self) -> bool {
        let now = self.driver.now();
        let turn = self.driver.turn(now).unwrap();
        let stack = self.driver.stack_mut();
        while let Some(incoming) = stack.poll_incoming() {
            self.assoc = stack.accept(now, incoming);
        }
        while let Some((_, event)) = stack.poll_event() {
            // The others are many, or long.
            if !matches!(event, Event::Readable | Event::Writable | Event::Undelivered(_)) {
                self.events.push(event);
            }
        }
        if let Some(assoc) = self.assoc.filter(|_| self.reads) {
            while let Some(message) = stack.recv(now, assoc) {
                self.messages.push(message);
            }
        }
        self.driver.flush(now);
        turn.more || turn.received > 0
    }

    pub(super) fn is_up(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Up(_)))
    }

    pub(super) fn closed(&self) -> Option<&esock_proto::CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// All that is known of it.
    pub(super) fn describe(&self) -> String {
        format!(
            "{:?}\n{:?}\n{:?}\n{:#?}",
            self.events,
            self.driver.stats(),
            self.driver.stack().stats(),
            self.assoc.map(|_| self.stats())
        )
    }

    pub(super) fn stats(&self) -> esock_proto::AssociationStats {
        self.driver.stack().association(self.driver.now(), self.assoc.unwrap()).unwrap()
    }
}

/// Runs both ends until something holds. Panics with what happened if it does not.
pub(super) fn run_until(a: &mut End, b: &mut End, what: &str, mut holds: impl FnMut(&mut End, &mut End) -> bool) {
    let give_up = Instant::now() + super::PATIENCE;
    loop {
        let busy = a.turn() | b.turn();
        if holds(a, b) {
            return;
        }
        if Instant::now() > give_up {
            panic!("never: {what}\n{}\n{}", a.describe(), b.describe());
        }
        if !busy {
            a.driver.wait(Some(Duration::from_millis(1))).unwrap();
        }
    }
}

/// Connects, or panics.
pub(super) fn establish(a: &mut End, b: &mut End, to: &[Address], encapsulation: Encapsulation) {
    a.connect(to, b.port(), encapsulation);
    run_until(a, b, "both are up", |a, b| a.is_up() && b.is_up());
}
