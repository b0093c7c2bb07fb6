//! Many associations between two threads: a message goes back and forth on each of them, on all at the same time.

use super::esock::{Backend, config, open};
use super::esock_async::{Player, connect, echo, open_in, two_ends};
use crate::pattern::{Checker, Pattern};
use crate::{End, Plan, Rate, RoundTrips};
use bytes::Bytes;
use esock::Context;
use esock_io::Driver;
use esock_proto::{AssocId, Encapsulation, EndpointConfig, Event, Peer, SendOptions};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a wait lasts at most: the other thread may want us to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// One driver with its associations.
struct Crowd {
    driver: Driver,
    associations: Vec<AssocId>,
    readable: Vec<AssocId>,
    ups: usize,
    /// There may be more to receive or to send.
    more: bool,
}

impl Crowd {
    fn new(driver: Driver) -> Self {
        Self { driver, associations: Vec::new(), readable: Vec::new(), ups: 0, more: false }
    }

    fn events(&mut self) {
        while let Some((id, event)) = self.driver.stack_mut().poll_event() {
            match event {
                Event::Up(_) => self.ups += 1,
                Event::Readable => self.readable.push(id),
                Event::Closed(reason) => panic!("an association ended: {reason:?}"),
                _ => {}
            }
        }
    }

    /// Sends a message on an association.
    fn send(&mut self, id: AssocId, payload: Bytes) {
        let now = self.driver.now();
        self.driver.stack_mut().send(now, id, SendOptions::default(), payload).expect("room for one");
    }

    /// Sends what there is, waits for what comes, and calls `each` with every message.
    fn turn(&mut self, mut each: impl FnMut(&mut Self, AssocId, Bytes)) {
        let now = self.driver.now();
        let flushed = self.driver.flush(now);
        if !self.more && !flushed.more {
            let until = flushed.deadline.map_or(LONGEST_WAIT, |deadline| deadline.since(now));
            self.driver.wait(Some(until.min(LONGEST_WAIT))).expect("descriptors are open");
        }
        let now = self.driver.now();
        self.more = self.driver.turn(now).expect("sockets work").more;
        self.events();
        let mut readable = std::mem::take(&mut self.readable);
        for id in readable.drain(..) {
            while let Some(message) = self.driver.stack_mut().recv(now, id) {
                each(self, id, message.payload);
            }
        }
        self.readable = readable;
    }
}

/// Two drivers with so many associations between them, each of an endpoint of its own at the one end.
fn pair(plan: &Plan, associations: usize) -> (Crowd, Crowd) {
    let ((a, _), (b, endpoint)) = (open(plan, Backend::Udp, 1), open(plan, Backend::Udp, 2));
    let (mut a, mut b) = (Crowd::new(a), Crowd::new(b));
    b.driver.stack_mut().set_accepting(endpoint, true);
    let peer = Peer {
        addresses: vec![Ipv4Addr::new(127, 0, 0, 2).into()],
        port: b.driver.stack().endpoint_port(endpoint).expect("an open endpoint has a port"),
        encapsulation: Encapsulation::Udp(b.driver.backend().udp_port.expect("a UDP socket is open")),
    };
    let give_up = Instant::now() + Duration::from_secs(10);
    while a.ups < associations || b.ups < associations {
        assert!(Instant::now() < give_up, "not all are up after 10 s");
        if a.associations.len() < associations {
            let (addresses, config) = (vec![Ipv4Addr::LOCALHOST.into()], config(plan));
            let endpoint = EndpointConfig { port: 0, addresses, host_addresses: Vec::new(), config };
            let endpoint = a.driver.open_endpoint(endpoint).expect("there are ports");
            let now = a.driver.now();
            a.associations.push(a.driver.stack_mut().connect(now, endpoint, &peer, None).expect("loopback connects"));
        }
        for end in [&mut a, &mut b] {
            let now = end.driver.now();
            end.driver.turn(now).expect("sockets work");
            while let Some(incoming) = end.driver.stack_mut().poll_incoming() {
                end.associations.extend(end.driver.stack_mut().accept(now, incoming));
            }
            end.events();
        }
    }
    (a, b)
}

/// On the driver: the next round begins when all messages of the last are back.
pub fn on_driver(plan: &Plan, message_bytes: usize, associations: usize) -> (Rate, RoundTrips) {
    let (mut client, mut server) = pair(plan, associations);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                server.turn(Crowd::send);
            }
        });
        plan.cores.pin(End::First);
        let (mut times, mut n, all) = (Vec::new(), 0, client.associations.clone());
        let pattern = Pattern::new(message_bytes);
        let mut checkers: HashMap<_, _> = all.iter().map(|id| (*id, Checker::new(message_bytes))).collect();
        let (mut began, warm) = (Instant::now(), Instant::now() + plan.warm_up);
        let mut warming = true;
        while warming || began.elapsed() < plan.measure {
            let start = Instant::now();
            if warming && start >= warm {
                (warming, began) = (false, start);
                times.clear();
            }
            for id in &all {
                client.send(*id, pattern.message(n).clone());
            }
            n += 1;
            let mut missing = all.len();
            while missing > 0 {
                client.turn(|_, id, payload| {
                    checkers.get_mut(&id).expect("it is one of them").message(&payload);
                    times.push(start.elapsed());
                    missing -= 1;
                });
            }
        }
        let rate = Rate { count: times.len() as u64, time: began.elapsed() };
        stop.store(true, Ordering::Relaxed);
        (rate, RoundTrips::new(times))
    })
}

/// On the API for tokio: each association has a task at either end.
pub fn on_tokio(plan: &Plan, message_bytes: usize, associations: usize) -> (Rate, RoundTrips) {
    let serve = async |endpoint: esock::Endpoint| {
        while let Ok((association, receiver)) = endpoint.accept().await {
            tokio::spawn(echo(association, receiver));
        }
    };
    two_ends(plan, config(plan), [End::Second, End::First], serve, async |place| {
        let (context, mut ready) = (Context::new(), Vec::new());
        for _ in 0..associations {
            let endpoint = open_in(&context, plan, config(plan)).await;
            ready.push((connect(&endpoint, place).await, endpoint));
        }
        let warm = Instant::now() + plan.warm_up;
        let end = warm + plan.measure;
        let mut tasks = tokio::task::JoinSet::new();
        for ((association, mut receiver), _endpoint) in ready {
            tasks.spawn(async move {
                let (mut player, mut times) = (Player::new(message_bytes), Vec::new());
                loop {
                    let time = player.exchange(&association, &mut receiver).await;
                    match Instant::now() {
                        now if now >= end => return (times, _endpoint, association, receiver),
                        now if now >= warm => times.push(time),
                        _ => {}
                    }
                }
            });
        }
        let ended = tasks.join_all().await;
        let times: Vec<Duration> = ended.iter().flat_map(|(times, ..)| times.iter().copied()).collect();
        (Rate { count: times.len() as u64, time: plan.measure }, RoundTrips::new(times))
    })
}
