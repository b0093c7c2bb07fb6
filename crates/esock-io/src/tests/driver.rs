//! Whole drivers: two stacks over real sockets.

use super::address;
#[cfg(target_os = "linux")]
use super::net::{self, Namespace};
use super::pair::{End, establish, fast, quiet, run_until};
use crate::config::Backend;
use crate::driver::Driver;
use crate::error::EndpointError;
use crate::impair::Direction;
use bytes::Bytes;
use esock_proto::{Address, CloseReason, Encapsulation, EndpointConfig, Event, PathState, Ppid, StreamId};
use std::time::{Duration, Instant};

const MESSAGES: usize = 300;

/// Message number `index`: of many sizes, some longer than a packet.
fn message(index: usize) -> Bytes {
    let len = 1 + index * 37 % 5000;
    (0..len).map(|at| (at * 31 + index * 7) as u8).collect()
}

/// Sends messages both ways on several streams, and checks that they arrive whole and in order.
fn exchange(a: &mut End, b: &mut End) {
    let (mut sent_a, mut sent_b) = (0, 0);
    run_until(a, b, "all messages have arrived", |a, b| {
        while sent_a < MESSAGES && a.send((sent_a % 7) as u16, message(sent_a)) {
            sent_a += 1;
        }
        while sent_b < MESSAGES && b.send((sent_b % 5) as u16, message(sent_b + 1)) {
            sent_b += 1;
        }
        a.messages.len() == MESSAGES && b.messages.len() == MESSAGES
    });
    for (received, streams, offset) in [(&b.messages, 7, 0), (&a.messages, 5, 1)] {
        for stream in 0..streams {
            let of_stream = received.iter().filter(|message| message.stream == StreamId(stream));
            let expected = (usize::from(stream)..MESSAGES).step_by(usize::from(streams));
            let mut count = 0;
            for (got, index) in of_stream.zip(expected.clone()) {
                assert_eq!(got.payload, message(index + offset), "stream {stream}");
                count += 1;
            }
            assert_eq!(count, expected.count());
        }
    }
}

fn shut_down(a: &mut End, b: &mut End) {
    let now = a.driver.now();
    let assoc = a.assoc.unwrap();
    a.driver.stack_mut().shutdown(now, assoc).unwrap();
    run_until(a, b, "both have ended", |a, b| a.closed().is_some() && b.closed().is_some());
    let happened = format!("{}\n{}", a.describe(), b.describe());
    assert_eq!(a.closed(), Some(&CloseReason::Shutdown), "{happened}");
    assert_eq!(b.closed(), Some(&CloseReason::Shutdown), "{happened}");
}

#[test]
fn two_drivers_connect_over_udp_exchange_messages_and_shut_down() {
    for at in ["127.0.0.1", "::1"] {
        let at = [address(at)];
        let mut a = End::open(quiet(Backend::Udp), &at, fast());
        let mut b = End::open(quiet(Backend::Udp), &at, fast());
        let encapsulation = b.over_udp();
        establish(&mut a, &mut b, &at, encapsulation);
        exchange(&mut a, &mut b);
        shut_down(&mut a, &mut b);
        assert_eq!(a.driver.stats().send_drops, 0);
    }
}

#[test]
fn drivers_that_poll_busily_exchange_messages() {
    let at = [address("127.0.0.1")];
    let busy = || crate::config::DriverConfig { busy_poll: Some(Duration::from_secs(60)), ..quiet(Backend::Udp) };
    let mut a = End::open(busy(), &at, fast());
    let mut b = End::open(busy(), &at, fast());
    let encapsulation = b.over_udp();
    establish(&mut a, &mut b, &at, encapsulation);
    exchange(&mut a, &mut b);
    shut_down(&mut a, &mut b);
}

#[test]
fn a_driver_polls_busily_for_as_long_as_it_is_told_and_then_sleeps() {
    let mut config = quiet(Backend::Udp);
    config.busy_poll = Some(Duration::from_millis(50));
    let mut driver = Driver::open(config).unwrap();
    let (start, long) = (Instant::now(), Duration::from_secs(10));
    while start.elapsed() < Duration::from_millis(50) {
        driver.wait(Some(long)).unwrap();
        let now = driver.now();
        assert_eq!(driver.turn(now).unwrap().received, 0);
    }
    // A wait that began in time has not slept. One that came too late for that, on a busy machine, ends after this.
    let slept = long..long + Duration::from_millis(50);
    assert!(!slept.contains(&start.elapsed()), "{:?}", start.elapsed());
    // The spin began after `start`.
    std::thread::sleep(Duration::from_millis(5));
    let start = Instant::now();
    driver.wait(Some(Duration::from_millis(30))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30), "nothing has come, and it does not sleep");
}

#[test]
fn two_endpoints_of_one_driver_talk_through_its_sockets() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let other = a
        .driver
        .open_endpoint(EndpointConfig { port: 0, addresses: at.to_vec(), host_addresses: Vec::new(), config: fast() })
        .unwrap();
    let port = a.driver.stack().endpoint_port(other).unwrap();
    a.driver.stack_mut().set_accepting(other, true);
    let encapsulation = a.over_udp();
    a.connect(&at, port, encapsulation);
    let (connector, end) = (a.assoc.unwrap(), Instant::now() + super::PATIENCE);
    let mut up = 0;
    while up < 2 {
        assert!(Instant::now() < end);
        a.turn();
        up = a.events.iter().filter(|event| matches!(event, Event::Up(_))).count();
    }
    let accepted = a.assoc.unwrap();
    assert_ne!(connector, accepted);
    let options = esock_proto::SendOptions { ppid: Ppid(46), ..Default::default() };
    let now = a.driver.now();
    a.driver.stack_mut().send(now, connector, options, Bytes::from_static(b"to myself")).unwrap();
    while a.messages.is_empty() {
        assert!(Instant::now() < end);
        a.turn();
    }
    assert_eq!(a.messages[0].payload, b"to myself"[..]);
    assert_eq!(a.messages[0].ppid, Ppid(46));
}

#[test]
fn a_blocked_path_is_left_and_used_again_when_it_is_free() {
    let both = [address("127.0.0.1"), address("127.0.0.2")];
    let mut a = End::open(quiet(Backend::Udp), &both, fast());
    let mut b = End::open(quiet(Backend::Udp), &both, fast());
    let encapsulation = b.over_udp();
    establish(&mut a, &mut b, &both, encapsulation);
    run_until(&mut a, &mut b, "both paths are active", |a, _| {
        a.stats().paths.iter().all(|path| path.state == PathState::Active)
    });
    let primary = a.stats().paths[usize::from(a.stats().primary.0)].remote;
    a.driver.impairment().block(primary, Direction::Both);
    exchange(&mut a, &mut b);
    let state = |end: &End| end.stats().paths.iter().find(|path| path.remote == primary).unwrap().state;
    run_until(&mut a, &mut b, "the blocked path is given up", |a, _| state(a) == PathState::Inactive);
    assert!(a.driver.impairment().dropped() > 0);
    a.driver.impairment().unblock(primary, Direction::Both);
    run_until(&mut a, &mut b, "the path is back", |a, _| state(a) == PathState::Active);
    shut_down(&mut a, &mut b);
}

#[test]
fn what_the_network_drops_is_sent_again() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let mut b = End::open(quiet(Backend::Udp), &at, fast());
    let encapsulation = b.over_udp();
    establish(&mut a, &mut b, &at, encapsulation);
    a.driver.impairment().set_drop_probability(at[0], Direction::Both, 0.1);
    exchange(&mut a, &mut b);
    a.driver.impairment().clear();
    assert!(a.driver.impairment().dropped() > 0);
    assert!(a.stats().counters.retransmissions > 0);
    shut_down(&mut a, &mut b);
}

#[test]
fn a_delay_shows_in_the_round_trip_time() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let mut b = End::open(quiet(Backend::Udp), &at, fast());
    let encapsulation = b.over_udp();
    a.driver.impairment().set_delay(at[0], Direction::Both, Duration::from_millis(15));
    establish(&mut a, &mut b, &at, encapsulation);
    exchange(&mut a, &mut b);
    let srtt = a.stats().paths[0].srtt.unwrap();
    assert!(srtt >= Duration::from_millis(30) && srtt < Duration::from_secs(3), "{srtt:?}");
    shut_down(&mut a, &mut b);
}

#[test]
fn nobody_at_the_udp_port_ends_a_connect_before_its_time_is_out() {
    let at = [address("127.0.0.1")];
    let mut patient = fast();
    (patient.rto_initial, patient.rto_max) = (Duration::from_secs(60), Duration::from_secs(60));
    let mut a = End::open(quiet(Backend::Udp), &at, patient);
    let mut other = End::open(quiet(Backend::Udp), &at, fast());
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    a.connect(&at, 2905, Encapsulation::Udp(port));
    // Long before its first timeout.
    run_until(&mut a, &mut other, "the connect has failed", |a, _| a.closed().is_some());
    assert_eq!(a.closed(), Some(&CloseReason::Unreachable));
}

#[test]
fn a_refused_connect_says_so() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let mut b = End::open(quiet(Backend::Udp), &at, fast());
    let nobody = if b.port() == 7 { 8 } else { 7 };
    let encapsulation = b.over_udp();
    a.connect(&at, nobody, encapsulation);
    run_until(&mut a, &mut b, "the connect has failed", |a, _| a.closed().is_some());
    assert!(matches!(a.closed(), Some(CloseReason::Refused { .. })), "{:?}", a.closed());
}

#[test]
fn an_idle_driver_sleeps_even_after_a_report_that_nobody_waited_for() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    a.connect(&at, 2905, Encapsulation::Udp(port));
    a.driver.flush(a.driver.now());
    let (end, mut turns) = (Instant::now() + Duration::from_millis(500), 0);
    while Instant::now() < end {
        let now = a.driver.now();
        let turn = a.driver.turn(now).unwrap();
        turns += 1;
        let deadline = turn.deadline.map(|deadline| deadline.since(now));
        let patience = deadline.unwrap_or(Duration::MAX).min(Duration::from_millis(50));
        if !turn.more {
            a.driver.wait(Some(patience)).unwrap();
        }
    }
    assert!(turns < 100, "{turns} turns in half a second");
}

#[cfg(target_os = "linux")]
fn both_ways_over(a: Backend, b: Backend, at: [(&str, &str); 1], native: bool) {
    let Some((first, second)) = Namespace::pair() else { return };
    let (from, to): (Address, Address) = (address(at[0].0), address(at[0].1));
    let mut a = first.run(move || End::open(quiet(a), &[from], fast()));
    let mut b = second.run(move || End::open(quiet(b), &[to], fast()));
    let encapsulation = if native { Encapsulation::Native } else { b.over_udp() };
    establish(&mut a, &mut b, &[to], encapsulation);
    exchange(&mut a, &mut b);
    for end in [&a, &b] {
        assert_eq!(end.stats().paths[0].encap_port.is_none(), native);
    }
    shut_down(&mut a, &mut b);
}

#[cfg(target_os = "linux")]
#[test]
fn two_drivers_connect_over_raw_ip_exchange_messages_and_shut_down() {
    both_ways_over(Backend::Raw, Backend::Raw, [("10.1.0.1", "10.1.0.2")], true);
    both_ways_over(Backend::Raw, Backend::Raw, [("fd00::1", "fd00::2")], true);
}

#[cfg(target_os = "linux")]
#[test]
fn a_driver_with_raw_ip_speaks_udp_to_one_without() {
    both_ways_over(Backend::Raw, Backend::Udp, [("10.1.0.1", "10.1.0.2")], false);
    both_ways_over(Backend::Udp, Backend::Raw, [("fd00::1", "fd00::2")], false);
}

#[cfg(target_os = "linux")]
#[test]
fn with_both_encapsulations_tried_the_one_that_is_answered_wins() {
    for (backend, native) in [(Backend::Raw, true), (Backend::Udp, false)] {
        let Some((first, second)) = Namespace::pair() else { return };
        let (from, to) = (address("10.1.0.1"), address("10.1.0.2"));
        let mut a = first.run(move || End::open(quiet(Backend::Raw), &[from], fast()));
        let mut b = second.run(move || End::open(quiet(backend), &[to], fast()));
        let encapsulation = Encapsulation::Both(b.driver.backend().udp_port.unwrap());
        establish(&mut a, &mut b, &[to], encapsulation);
        exchange(&mut a, &mut b);
        assert_eq!(a.stats().paths[0].encap_port.is_none(), native);
        shut_down(&mut a, &mut b);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_over_raw_ip_of_both_families_fail_over() {
    let Some((first, second)) = Namespace::pair() else { return };
    let from = [address("10.1.0.1"), address("fd00::1")];
    let to = [address("10.1.0.2"), address("fd00::2")];
    let mut a = first.run(move || End::open(quiet(Backend::Raw), &from, fast()));
    let mut b = second.run(move || End::open(quiet(Backend::Raw), &to, fast()));
    establish(&mut a, &mut b, &to, Encapsulation::Native);
    run_until(&mut a, &mut b, "both paths are active", |a, _| {
        a.stats().paths.iter().all(|path| path.state == PathState::Active)
    });
    b.driver.impairment().block(from[0], Direction::Incoming);
    exchange(&mut a, &mut b);
    let used = a.stats().paths.iter().find(|path| path.remote == to[1]).unwrap().data_packets_sent;
    assert!(used > 0, "the second path carried data");
    shut_down(&mut a, &mut b);
}

#[cfg(target_os = "linux")]
#[test]
fn an_sctp_port_on_raw_ip_has_one_driver_and_is_free_again_after_it() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let endpoint = |port| EndpointConfig {
            port,
            addresses: vec![address("127.0.0.1")],
            host_addresses: Vec::new(),
            config: fast(),
        };
        let mut first = Driver::open(quiet(Backend::Raw)).unwrap();
        let mut second = Driver::open(quiet(Backend::Raw)).unwrap();
        let held = first.open_endpoint(endpoint(2905)).unwrap();
        let error = second.open_endpoint(endpoint(2905)).unwrap_err();
        assert!(matches!(error, EndpointError::Claim(_)), "{error}");
        assert!(error.to_string().contains("2905"), "{error}");
        assert!(second.open_endpoint(endpoint(0)).is_ok());
        // The same port at an address that overlaps: the stack says no, and the first keeps its claim.
        assert!(matches!(first.open_endpoint(endpoint(2905)), Err(EndpointError::Open(_))));
        assert!(second.open_endpoint(endpoint(2905)).is_err());
        first.close_endpoint(first.now(), held);
        second.open_endpoint(endpoint(2905)).unwrap();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_small_send_buffer_slows_down_and_loses_nothing() {
    let Some((first, second)) = Namespace::pair() else { return };
    let (from, to) = (address("10.1.0.1"), address("10.1.0.2"));
    for backend in [Backend::Udp, Backend::Raw] {
        let mut config = quiet(backend);
        config.send_buffer_bytes = 1;
        // A probe that is too large for the link would count as dropped.
        let mut sctp = fast();
        sctp.pmtud = false;
        let for_b = sctp.clone();
        let mut a = first.run(move || End::open(config, &[from], sctp));
        let mut b = second.run(move || End::open(quiet(backend), &[to], for_b));
        let encapsulation = if backend == Backend::Raw { Encapsulation::Native } else { b.over_udp() };
        establish(&mut a, &mut b, &[to], encapsulation);
        exchange(&mut a, &mut b);
        // The peer's hardware address is forgotten, and the peer does not tell it for a while: packets
        // queue in the kernel, charged to the socket.
        second.ip("link set veth0 arp off");
        first.ip("neigh flush dev veth0");
        let mut silent = true;
        run_until(&mut a, &mut b, "the socket is full", |a, _| {
            a.send(9, vec![0; 5000]);
            a.driver.stats().send_blocked > 0
        });
        run_until(&mut a, &mut b, "the socket takes packets again", |a, _| {
            if std::mem::take(&mut silent) {
                second.ip("link set veth0 arp on");
            }
            a.stats().send_buffered == 0
        });
        a.messages.clear();
        b.messages.clear();
        exchange(&mut a, &mut b);
        assert_eq!(a.driver.stats().send_drops, 0);
        shut_down(&mut a, &mut b);
    }
}

#[test]
fn whoever_turns_until_nothing_comes_names_sockets_and_those_that_were_used_need_no_name() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let Some(port) = a.driver.backend().udp_port else { panic!("a driver over UDP has a port") };
    let place = a.driver.interests().count();
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&[0; 12], ("127.0.0.1", port)).unwrap();
    let now = a.driver.now();
    // Nobody was named, and nothing was used.
    a.driver.set_ready_until_empty(0);
    assert_eq!(a.driver.turn(now).unwrap().received, 0);
    a.driver.set_ready_until_empty((1 << place) - 1);
    assert_eq!(a.driver.turn(now).unwrap().received, 1);
    // A handshake with itself, over the sockets that it uses alone.
    let (own, encapsulation) = (a.port(), a.over_udp());
    let other = EndpointConfig { port: 0, addresses: at.to_vec(), host_addresses: Vec::new(), config: fast() };
    let other = a.driver.open_endpoint(other).unwrap();
    let port = a.driver.stack().endpoint_port(other).unwrap();
    assert_ne!(own, port);
    a.driver.stack_mut().set_accepting(other, true);
    a.connect(&at, port, encapsulation);
    a.driver.flush(now);
    let mut received = 0;
    for _ in 0..4 {
        a.driver.set_ready_until_empty(0);
        received += a.driver.turn(now).unwrap().received;
        while let Some(incoming) = a.driver.stack_mut().poll_incoming() {
            a.driver.stack_mut().accept(now, incoming);
        }
        a.driver.flush(now);
    }
    // INIT, INIT ACK, COOKIE ECHO; the last may have been answered.
    assert!(received >= 3, "{received}");
}

#[test]
fn who_was_held_up_reads_what_has_come_before_anything_is_taken_for_lost() {
    let at = [address("127.0.0.1")];
    let mut a = End::open(quiet(Backend::Udp), &at, fast());
    let mut b = End::open(quiet(Backend::Udp), &at, fast());
    let encapsulation = b.over_udp();
    establish(&mut a, &mut b, &at, encapsulation);
    assert!(a.send(0, vec![1; 1000]) && a.send(0, vec![2; 1000]));
    a.driver.flush(a.driver.now());
    let give_up = Instant::now() + super::PATIENCE;
    while b.messages.len() < 2 {
        assert!(Instant::now() < give_up, "{}", b.describe());
        b.turn();
    }
    // What b answered has come, and a is told of nothing until long after its timer.
    let later = a.driver.now() + Duration::from_secs(2);
    a.driver.flush(later);
    a.driver.set_ready(0);
    a.driver.turn(later).unwrap();
    let after = a.stats();
    assert_eq!((after.send_buffered, after.counters.t3_timeouts), (0, 0), "{}", a.describe());
}

#[cfg(target_os = "linux")]
#[test]
fn who_spins_asks_sockets_that_have_had_packets_each_time_and_the_others_now_and_then() {
    let mut driver = Driver::open(quiet(Backend::Udp)).unwrap();
    let port = driver.backend().udp_port.unwrap();
    let v4 = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = || v4.send_to(&[0; 12], ("127.0.0.1", port)).unwrap();
    let look = |driver: &mut Driver| {
        driver.spin();
        let now = driver.now();
        driver.turn(now).unwrap().received
    };
    assert_eq!(look(&mut driver), 0);
    send();
    assert_eq!(look(&mut driver), 1, "nobody has had a packet yet");
    (0..3).for_each(|_| _ = send());
    assert_eq!(look(&mut driver), 3, "one has just come");
    for _ in 0..100 {
        assert_eq!(look(&mut driver), 0);
    }
    (0..3).for_each(|_| _ = send());
    assert_eq!([look(&mut driver), look(&mut driver), look(&mut driver)], [1, 2, 0], "first it asks for one alone");

    let Ok(v6) = std::net::UdpSocket::bind("[::1]:0") else { return };
    if driver.interests().count() < 2 {
        return;
    }
    let mut looks = [0; 5].map(|_| {
        v6.send_to(&[0; 12], ("::1", port)).unwrap();
        (1..=100).find(|_| look(&mut driver) == 1).expect("it is asked now and then")
    });
    assert!(looks[0] <= 16, "{looks:?}");
    looks[0] = 1;
    assert_eq!(looks, [1; 5], "it has had one now");
}
