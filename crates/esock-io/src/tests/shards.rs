//! Drivers that share a UDP port, or the ports of raw IP: who gets what.

use super::address;
use super::net::{self, Namespace};
use super::pair::fast;
use crate::config::{Backend, DriverConfig, UdpPort};
use crate::error::ClaimError;
use crate::transport::Transport;
use crate::{Driver, DriverError, DriverStats, Seat};
use bytes::Bytes;
use esock_proto::{
    AssocId, CloseReason, ConnectError, Encapsulation, EndpointConfig, EndpointId, Event, Peer, SendOptions, State,
};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

const SERVER_PORT: u16 = 2905;
const LOCALHOST: &str = "127.0.0.1";

fn endpoint(driver: &mut Driver, at: &str, port: u16) -> EndpointId {
    let config = EndpointConfig { port, addresses: vec![address(at)], host_addresses: Vec::new(), config: fast() };
    let id = driver.open_endpoint(config).unwrap();
    driver.set_accepting(id, true);
    id
}

fn config(backend: Backend, udp_port: UdpPort, seat: Option<Seat>) -> DriverConfig {
    DriverConfig { backend, udp_port, seat, ..Default::default() }
}

/// Runs a test over UDP, and over raw IP where that is permitted.
fn over_both(test: fn(Backend)) {
    test(Backend::Udp);
    if let Some(namespace) = Namespace::new() {
        namespace.run(move || test(Backend::Raw));
    }
}

/// One of several drivers, or the only one.
struct Party {
    driver: Driver,
    endpoint: EndpointId,
    assocs: Vec<AssocId>,
    events: Vec<(AssocId, Event)>,
    received: usize,
}

impl Party {
    fn open(config: DriverConfig, port: u16) -> Self {
        Self::open_at(LOCALHOST, config, port)
    }

    fn open_at(at: &str, mut config: DriverConfig, port: u16) -> Self {
        config.addresses = vec![address(at)];
        // A port that was given back just now: a process that another test starts has copies of our sockets until it runs
        // a program of its own.
        let end = Instant::now() + Duration::from_secs(10);
        let mut driver = loop {
            match Driver::open(config.clone()) {
                Err(DriverError::UdpPortInUse { .. }) if Instant::now() < end => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        let endpoint = endpoint(&mut driver, at, port);
        Self { driver, endpoint, assocs: Vec::new(), events: Vec::new(), received: 0 }
    }

    fn turn(&mut self) {
        let now = self.driver.now();
        self.driver.turn(now).unwrap();
        while let Some(incoming) = self.driver.poll_incoming() {
            self.assocs.extend(self.driver.accept(now, incoming));
        }
        while let Some(event) = Transport::poll_event(&mut self.driver) {
            self.events.push(event);
        }
        for id in self.assocs.clone() {
            while let Some(message) = Transport::recv(&mut self.driver, id) {
                assert!(message.payload.iter().all(|byte| *byte == message.payload[0]));
                self.received += message.payload.len();
            }
        }
        self.driver.flush(now);
    }

    fn connect(&mut self, udp_port: u16) -> Result<AssocId, ConnectError> {
        let now = self.driver.now();
        let encapsulation = match self.driver.backend().backend {
            Backend::Raw => Encapsulation::Native,
            _ => Encapsulation::Udp(udp_port),
        };
        let peer = Peer { addresses: vec![address(LOCALHOST)], port: SERVER_PORT, encapsulation };
        let endpoint = self.endpoint;
        let id = Transport::connect(&mut self.driver, now, endpoint, &peer, None)?;
        self.assocs.push(id);
        Ok(id)
    }

    fn port(&self) -> u16 {
        self.driver.backend().udp_port.unwrap()
    }

    fn open_associations(&self) -> usize {
        self.driver.association_count(self.endpoint)
    }
}

/// Shards with an endpoint each.
fn group(backend: Backend, count: u16) -> Vec<Party> {
    group_at(LOCALHOST, backend, count)
}

fn group_at(at: &str, backend: Backend, count: u16) -> Vec<Party> {
    let seats = Seat::all(count).unwrap();
    let mut port = UdpPort::Ephemeral;
    let open = |seat: Seat| {
        let party = Party::open_at(at, config(backend, port, Some(seat)), SERVER_PORT);
        port = UdpPort::Listen(party.port());
        party
    };
    seats.into_iter().map(open).collect()
}

/// Runs turns until `done`, and says so if it is not in time.
fn run(what: &str, parties: &mut [&mut [Party]], done: impl Fn(&[&mut [Party]]) -> bool) {
    let end = Instant::now() + super::PATIENCE;
    while !done(parties) {
        parties.iter_mut().flat_map(|parties| parties.iter_mut()).for_each(Party::turn);
        let stats: Vec<_> =
            if Instant::now() > end { parties.iter().flat_map(|p| p.iter()).collect() } else { Vec::new() };
        assert!(
            stats.is_empty(),
            "{what}: {:?}",
            stats.iter().map(|p| (p.driver.stats(), &p.events)).collect::<Vec<_>>()
        );
    }
}

fn total(parties: &[Party], count: impl Fn(&DriverStats) -> u64) -> u64 {
    parties.iter().map(|party| count(&party.driver.stats())).sum()
}

fn is_up(party: &Party, id: AssocId) -> bool {
    party.driver.stack().state(id) == Some(State::Established)
}

#[test]
fn associations_spread_and_their_packets_reach_their_shard_without_being_forwarded() {
    over_both(packets_reach_their_shard);
}

fn packets_reach_their_shard(backend: Backend) {
    for count in [2, 3] {
        let mut server = group(backend, count);
        let port = server[0].port();
        // All of them between the same two UDP ports.
        let mut client = [Party::open(config(backend, UdpPort::Ephemeral, None), 0)];
        let mut assocs = Vec::new();
        for at in 0..6 {
            // Each from an SCTP port of its own.
            client[0].endpoint = endpoint(&mut client[0].driver, LOCALHOST, 0);
            let id = client[0].connect(port).unwrap();
            assocs.push(id);
            run("setup", &mut [&mut server, &mut client], |all| {
                is_up(&all[1][0], id) && all[0].iter().map(Party::open_associations).sum::<usize>() == at + 1
            });
        }
        let spread: Vec<_> = server.iter().map(Party::open_associations).collect();
        assert_eq!(spread, vec![6 / usize::from(count); usize::from(count)], "they are spread");
        let forwarded = total(&server, |stats| stats.forwarded);
        assert!(forwarded <= 6, "INITs only: {forwarded}");
        assert_eq!(total(&server, |stats| stats.taken_over), forwarded);

        let mut sent = 0;
        for round in 0..20 {
            for id in &assocs {
                let payload = Bytes::from(vec![round; 10_000]);
                let now = client[0].driver.now();
                if client[0].driver.stack_mut().send(now, *id, SendOptions::default(), payload).is_ok() {
                    sent += 10_000;
                }
            }
            let wanted = sent;
            run("data", &mut [&mut server, &mut client], |all| {
                all[0].iter().map(|party| party.received).sum::<usize>() == wanted
            });
        }
        assert_eq!(sent, 20 * 6 * 10_000);
        assert_eq!(total(&server, |stats| stats.forwarded), forwarded, "no packet went to another shard");
        assert!(server.iter().all(|party| party.driver.stats().packets_received > 100));
    }
}

#[test]
fn a_peer_that_restarts_finds_its_association_whichever_shard_gets_its_init() {
    over_both(restarts_find_their_association);
}

fn restarts_find_their_association(backend: Backend) {
    let mut server = group(backend, 3);
    let port = server[0].port();
    let mut client = [Party::open(config(backend, UdpPort::Ephemeral, None), 4000)];
    let udp_port = client[0].port();
    let id = client[0].connect(port).unwrap();
    run("setup", &mut [&mut server, &mut client], |all| is_up(&all[1][0], id));
    let restarts = |server: &[Party]| {
        let events = server.iter().flat_map(|party| party.events.iter());
        events.filter(|(_, event)| matches!(event, Event::Restarted(_))).count()
    };
    for time in 1..=8 {
        // It goes without a word, and comes back where it was.
        drop(client);
        client = [Party::open(config(backend, UdpPort::Listen(udp_port), None), 4000)];
        let id = client[0].connect(port).unwrap();
        run("restart", &mut [&mut server, &mut client], |all| is_up(&all[1][0], id) && restarts(all[0]) == time);
        assert_eq!(server.iter().map(Party::open_associations).sum::<usize>(), 1, "it has one association");
    }
    assert!(total(&server, |stats| stats.forwarded) > 0, "eight INITs that all came to the right shard");
}

#[test]
fn a_reflected_tag_ends_the_association_in_whichever_shard_it_is() {
    over_both(reflected_tags_end_their_association);
}

fn reflected_tags_end_their_association(backend: Backend) {
    let mut server = group(backend, 2);
    let port = server[0].port();
    for _ in 0..6 {
        let mut client = [Party::open(config(backend, UdpPort::Ephemeral, None), 0)];
        let udp_port = client[0].port();
        let id = client[0].connect(port).unwrap();
        run("setup", &mut [&mut server, &mut client], |all| {
            is_up(&all[1][0], id) && all[0].iter().map(Party::open_associations).sum::<usize>() == 1
        });
        // It has forgotten the association, and answers a HEARTBEAT with an ABORT that carries the tag it came with.
        let sctp_port = client[0].driver.stack().endpoint_port(client[0].endpoint).unwrap();
        drop(client);
        let mut client = [Party::open(config(backend, UdpPort::Listen(udp_port), None), sctp_port)];
        run("abort", &mut [&mut server, &mut client], |all| all[0].iter().all(|party| party.open_associations() == 0));
        let aborted = |event: &Event| matches!(event, Event::Closed(CloseReason::PeerAbort { .. }));
        let ends: usize =
            server.iter_mut().map(|party| party.events.drain(..).filter(|(_, event)| aborted(event)).count()).sum();
        assert_eq!(ends, 1);
    }
}

#[test]
fn a_peer_belongs_to_one_shard_at_a_time() {
    let mut server = group(Backend::Udp, 2);
    let client = Party::open(config(Backend::Udp, UdpPort::Ephemeral, None), SERVER_PORT + 1);
    let (udp_port, now) = (client.port(), client.driver.now());
    let peer = Peer {
        addresses: vec![address("127.0.0.1"), address("127.0.0.2")],
        port: SERVER_PORT + 1,
        encapsulation: Encapsulation::Udp(udp_port),
    };
    let endpoints = [server[0].endpoint, server[1].endpoint];
    let id = Transport::connect(&mut server[0].driver, now, endpoints[0], &peer, None).unwrap();
    let by_one = Peer { addresses: vec![address("127.0.0.2")], ..peer.clone() };
    let again = Transport::connect(&mut server[1].driver, now, endpoints[1], &by_one, None);
    assert_eq!(again, Err(ConnectError::Exists));
    server[0].driver.release(now, id);
    server[0].driver.flush(now);
    Transport::connect(&mut server[1].driver, now, endpoints[1], &by_one, None).unwrap();
    // A driver that goes has nobody any more, nor has an endpoint that is closed.
    let again = Transport::connect(&mut server[0].driver, now, endpoints[0], &peer, None);
    assert_eq!(again, Err(ConnectError::Exists));
    server[1].driver.close_endpoint(now, endpoints[1]);
    Transport::connect(&mut server[0].driver, now, endpoints[0], &peer, None).unwrap();
}

#[test]
fn a_buffer_that_holds_packets_of_two_shards_is_taken_apart() {
    let mut server = group(Backend::Udp, 2);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", server[0].port())).unwrap();
    let state = quinn_udp::UdpSocketState::new((&socket).into()).unwrap();
    let mut contents = vec![0; 200];
    (contents[7], contents[107]) = (2, 3);
    let packets = quinn_udp::Transmit {
        destination: socket.peer_addr().unwrap(),
        ecn: None,
        contents: &contents,
        segment_size: Some(100),
        src_ip: None,
    };
    state.try_send((&socket).into(), &packets).unwrap();
    run("both", &mut [&mut server], |all| all[0].iter().all(|party| party.driver.stack().stats().malformed > 0));
    let [even, odd] = [0, 1].map(|shard: usize| server[shard].driver.stats());
    assert_eq!((even.packets_received, even.forwarded, odd.taken_over), (2, 1, 1));
}

#[test]
fn a_driver_that_is_opened_anew_gets_its_packets_again() {
    let mut server = group(Backend::Udp, 3);
    let port = server[0].port();
    let seats = {
        // The first place is taken by the last socket when its own goes.
        let Party { mut driver, .. } = server.remove(0);
        let seat = driver.seat().unwrap();
        driver.close_sockets();
        seat
    };
    server.insert(0, Party::open(config(Backend::Udp, UdpPort::Listen(port), Some(seats)), SERVER_PORT));
    let mut client = [Party::open(config(Backend::Udp, UdpPort::Ephemeral, None), 0)];
    for at in 0..6 {
        client[0].endpoint = endpoint(&mut client[0].driver, LOCALHOST, 0);
        let id = client[0].connect(port).unwrap();
        run("setup", &mut [&mut server, &mut client], |all| {
            is_up(&all[1][0], id) && all[0].iter().map(Party::open_associations).sum::<usize>() == at + 1
        });
    }
    assert!(server.iter().all(|party| party.open_associations() == 2));
    assert!(total(&server, |stats| stats.forwarded) <= 6);
}

#[test]
fn new_peers_do_not_go_to_a_shard_whose_sockets_are_closed() {
    let mut server = group(Backend::Udp, 2);
    let port = server[0].port();
    let mut client = [Party::open(config(Backend::Udp, UdpPort::Ephemeral, None), 0)];
    let mut come = |server: &mut [Party], open: usize| {
        client[0].endpoint = endpoint(&mut client[0].driver, LOCALHOST, 0);
        let id = client[0].connect(port).unwrap();
        run("setup", &mut [server, &mut client], |all| {
            is_up(&all[1][0], id) && all[0].iter().map(Party::open_associations).sum::<usize>() == open
        });
    };
    come(&mut server, 1);
    come(&mut server, 2);
    assert!(server.iter().all(|party| party.open_associations() == 1), "each has one");
    server[1].driver.close_sockets();
    let forwarded = server[0].driver.stats().forwarded;
    for open in 2..=11 {
        come(&mut server[..1], open);
    }
    assert_eq!(server[0].driver.stats().forwarded, forwarded, "there is nobody to give them to");
}

#[test]
fn a_port_of_shards_is_nobody_elses() {
    let server = group(Backend::Udp, 2);
    let port = server[0].port();
    let in_use = |seat: Option<Seat>| {
        let opened = Driver::open(config(Backend::Udp, UdpPort::Listen(port), seat));
        assert!(matches!(opened, Err(DriverError::UdpPortInUse { .. })), "{opened:?}");
    };
    in_use(None);
    in_use(Some(Seat::all(2).unwrap().remove(0)));
    drop(server);
    // Nor is one that somebody shares already.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    in_use(Some(Seat::all(2).unwrap().remove(0)));
}

#[test]
fn a_port_of_raw_ip_is_held_by_the_last_of_its_shards() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let mut server = group(Backend::Raw, 2);
        let mut stranger = Driver::open(config(Backend::Raw, UdpPort::Ephemeral, None)).unwrap();
        for _ in 0..2 {
            let claimed = stranger.claim_port(SERVER_PORT);
            assert!(matches!(claimed, Err(ClaimError::InUse { port: SERVER_PORT })), "{claimed:?}");
            server.pop();
        }
        stranger.claim_port(SERVER_PORT).unwrap();
    });
}

#[test]
fn a_report_ends_the_setup_in_whichever_shard_it_is() {
    // Nobody has the UDP port.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = hear_of_nobody(group(Backend::Udp, 2), "127.0.0.1", Encapsulation::Udp(port));
    assert_eq!(total(&server, |stats| stats.forwarded), 1, "the system tells the same socket of both");
    assert_eq!(total(&server, |stats| stats.taken_over), 1);
    // Nobody speaks SCTP. Each raw socket is told of the packets of both.
    let Some((first, _second)) = Namespace::pair() else { return };
    let server = first.run(|| group_at("10.1.0.1", Backend::Raw, 2));
    let server = hear_of_nobody(server, "10.1.0.2", Encapsulation::Native);
    assert_eq!(total(&server, |stats| stats.forwarded), 0);
}

/// Has each shard connect to where nobody is.
fn hear_of_nobody(mut server: Vec<Party>, remote: &str, encapsulation: Encapsulation) -> Vec<Party> {
    for at in 0..server.len() {
        let party = &mut server[at];
        let peer = Peer { addresses: vec![address(remote)], port: 9, encapsulation };
        let now = party.driver.now();
        let id = Transport::connect(&mut party.driver, now, party.endpoint, &peer, None).unwrap();
        party.driver.flush(now);
        let end = (id, Event::Closed(CloseReason::Unreachable));
        run("the end", &mut [&mut server], |all| all[0][at].events.contains(&end));
        server[at].driver.release(now, id);
    }
    server
}

/// Nanoseconds of one of many.
fn nanoseconds(what: &str, count: u32, mut work: impl FnMut(u32)) {
    let runs = (0..7).map(|_| {
        let start = Instant::now();
        (0..count).for_each(&mut work);
        start.elapsed().as_nanos() as f64 / f64::from(count)
    });
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by(f64::total_cmp);
    println!("{what}: {:.0} ns ({:.0} to {:.0})", runs[3], runs[0], runs[6]);
}

/// What the model of shards in esock-sim charges: `--nocapture` shows it.
#[test]
fn what_shards_cost_is_measured() {
    use crate::shards::{Inbox, Parcel};
    use esock_proto::{Datagram, Homes, Local, PeerKey};
    let remote = address("127.0.0.1");
    let data = [0; 1400];
    let datagram = Datagram { local: Local::default(), remote, encap_port: Some(9899), ecn: None, data: &data };
    let inbox = Inbox::new().unwrap();
    inbox.open();
    nanoseconds("a packet put into an inbox and taken out, 16 at a time", 16_000, |number| {
        assert!(inbox.put(Parcel::of(&datagram, false)));
        if number % 16 == 15 {
            assert_eq!(inbox.take().len(), 16);
        }
    });
    let homes = std::sync::Mutex::new(Homes::new(64));
    let key = |number: u32| {
        let remote = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
        PeerKey { endpoint: (SERVER_PORT, None), remote, port: 5000 }
    };
    (0..10_000).for_each(|number| homes.lock().unwrap().hold(number as u16 % 64, key(number)));
    nanoseconds("a look at who has a peer, among 10,000", 10_000, |number| {
        assert!(homes.lock().unwrap().find([key(number)]).is_some());
    });
    let mut driver = Driver::open(config(Backend::Udp, UdpPort::Ephemeral, None)).unwrap();
    nanoseconds("a turn that finds nothing", 10_000, |_| {
        let now = driver.now();
        driver.turn(now).unwrap();
    });
    let (from, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    to.set_nonblocking(true).unwrap();
    let place = to.local_addr().unwrap();
    let mut runs: Vec<_> = (0..1000)
        .map(|_| {
            let start = Instant::now();
            (0..16).for_each(|_| assert!(from.send_to(&data[..28], place).is_ok()));
            let time = start.elapsed().as_nanos() / 16;
            while to.recv(&mut [0; 64]).is_ok() {}
            time
        })
        .collect();
    runs.sort_unstable();
    println!("a packet of 28 bytes sent alone: {} ns ({} to {})", runs[500], runs[50], runs[950]);
}
