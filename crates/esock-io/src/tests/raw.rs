//! Native SCTP on raw IP, below the stack.

use super::net::Namespace;
use super::*;
use crate::config::{Backend, UdpPort};
use crate::error::{ClaimError, DriverError};
use std::net::UdpSocket;

fn raw() -> DriverConfig {
    DriverConfig { backend: Backend::Raw, udp_port: UdpPort::Ephemeral, ..DriverConfig::default() }
}

#[test]
fn packets_to_claimed_ports_arrive_with_their_addresses_and_ecn_bits_and_others_do_not() {
    let Some((first, second)) = Namespace::pair() else { return };
    let (mut a, mut b) = (first.run(|| open(&raw())), second.run(|| open(&raw())));
    // The claim is made in the namespace of the thread that makes it.
    let mut b = second.run(move || {
        b.claim_port(2905).unwrap();
        b.claim_port(30400).unwrap();
        b.release_port(30400);
        b
    });
    for (from, to) in [("10.1.0.1", "10.1.0.2"), ("fd00::1", "fd00::2")] {
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            send(&mut a, &transmit(from, to, None, 50, 50), &native(30400, 50));
            let data: Vec<u8> = (0..70).flat_map(|_| native(2905, 600)).collect();
            let batch = Transmit { ecn, ..transmit(from, to, None, data.len(), 600) };
            let (sent, told) = send(&mut a, &batch, &data);
            assert_eq!((sent.bytes, sent.dropped, sent.calls), (data.len(), 0, 2));
            assert_eq!(told, []);
            let (arrived, _) = receive(&mut b, 70);
            assert_eq!(arrived.len(), 70);
            for packet in arrived {
                assert_eq!(packet.data, native(2905, 600));
                assert_eq!((packet.local, packet.remote), (address(to), address(from)));
                assert_eq!((packet.encap_port, packet.ecn), (None, ecn));
            }
        }
    }
}

#[test]
fn a_port_is_held_by_one_driver_and_freed_when_that_ends() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let (mut first, mut second) = (open(&raw()), open(&raw()));
        first.claim_port(2905).unwrap();
        first.claim_port(2905).unwrap();
        let error = second.claim_port(2905).unwrap_err();
        assert!(matches!(error, ClaimError::InUse { port: 2905 }), "{error}");
        second.claim_port(2906).unwrap();
        first.release_port(2905);
        second.claim_port(2905).unwrap();
        drop(second);
        first.claim_port(2905).unwrap();
        first.claim_port(2906).unwrap();
    });
}

#[test]
fn who_answers_for_nobody_is_followed_by_another_when_it_ends() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let open = || {
            let mut config = raw();
            config.stack.answers_for_nobody = true;
            crate::Driver::open(config).unwrap()
        };
        let (first, mut second, third) = (open(), open(), open());
        let asks = |driver: &crate::Driver| driver.rest_due.is_some();
        assert_eq!([&first, &second, &third].map(asks), [false, true, true]);
        // Nobody asks before it is time; and while it is held, nobody gets it.
        let due = second.rest_due.unwrap();
        assert_eq!(second.turn(due).unwrap().deadline, second.rest_due);
        assert!(second.rest_due > Some(due));
        drop(first);
        let due = second.rest_due.unwrap();
        second.turn(due).unwrap();
        assert_eq!([&second, &third].map(asks), [false, true]);
    });
}

#[test]
fn looking_whether_a_port_is_held_holds_nothing() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let mut holder = open(&raw());
        std::thread::scope(|scope| {
            // Packets to a port that nobody has are looked at all the time.
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = crate::raw::Claim::is_held(2905);
                }
            });
            for _ in 0..2000 {
                holder.claim_port(2905).unwrap();
                assert!(crate::raw::Claim::is_held(2905));
                holder.release_port(2905);
                assert!(!crate::raw::Claim::is_held(2905));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}

#[test]
fn each_path_has_its_source_address() {
    let Some((first, second)) = Namespace::pair() else { return };
    for more in ["10.1.0.11/24", "10.1.0.12/24"] {
        first.ip(&format!("addr add {more} dev veth0"));
    }
    first.add_address("fd00::11");
    let mut a = first.run(|| open(&raw()));
    let mut b = second.run(|| {
        let mut b = open(&raw());
        b.claim_port(2905).unwrap();
        b
    });
    for (from, to) in [
        ("10.1.0.12", "10.1.0.2"),
        ("10.1.0.1", "10.1.0.2"),
        ("10.1.0.11", "10.1.0.2"),
        ("fd00::11", "fd00::2"),
        ("fd00::1", "fd00::2"),
    ] {
        send(&mut a, &transmit(from, to, None, 20, 20), &native(2905, 20));
        let (arrived, _) = receive(&mut b, 1);
        assert_eq!(arrived[0].remote, address(from));
    }
    // A source address that is not ours is refused by the kernel, and told.
    let (sent, told) = send(&mut a, &transmit("192.0.2.1", "10.1.0.2", None, 20, 20), &native(2905, 20));
    assert_eq!((sent.bytes, sent.dropped), (20, 1));
    assert_eq!(told[0].kind, IcmpKind::HostUnreachable);
}

#[test]
fn link_local_addresses_work_with_their_scope() {
    let Some((first, second)) = Namespace::pair() else { return };
    for (namespace, number) in [(&first, 1), (&second, 2)] {
        namespace.add_address(&format!("fe80::{number}"));
    }
    let (mut a, mut b) = (
        first.run(|| open(&raw())),
        second.run(|| {
            let mut b = open(&raw());
            b.claim_port(2905).unwrap();
            b
        }),
    );
    let index = first.run(|| {
        // SAFETY: the name is a C string.
        unsafe { libc::if_nametoindex(c"veth0".as_ptr()) }
    });
    for encap_port in [None, b.udp_port()] {
        let to = Address::new("fe80::2".parse().unwrap(), index);
        let from = Address::new("fe80::1".parse().unwrap(), index);
        let mut scoped = transmit("::1", "::1", encap_port, 20, 20);
        (scoped.local.address, scoped.remote) = (Some(from), to);
        let (sent, told) = send(&mut a, &scoped, &native(2905, 20));
        assert_eq!((sent.calls, told), (1, vec![]));
        let (arrived, _) = receive(&mut b, 1);
        assert_eq!(arrived[0].remote.ip(), from.ip());
        assert_eq!(arrived[0].local.ip(), to.ip());
        assert_ne!(arrived[0].remote.scope_id(), 0);
    }
}

#[test]
fn a_native_packet_larger_than_the_link_is_reported_and_leaves_in_fragments_if_it_may() {
    let Some((first, second)) = Namespace::pair() else { return };
    let mut a = first.run(|| open(&raw()));
    let mut b = second.run(|| {
        let mut b = open(&raw());
        b.claim_port(2905).unwrap();
        b
    });
    for (from, to) in [("10.1.0.1", "10.1.0.2"), ("fd00::1", "fd00::2")] {
        let data = native(2905, 3000);
        let large = transmit(from, to, None, 3000, 3000);
        let (sent, told) = send(&mut a, &large, &data);
        assert_eq!((sent.bytes, sent.dropped), (3000, 1));
        assert_eq!(told[0].kind, IcmpKind::PacketTooBig(1500));
        let (sent, told) = send(&mut a, &Transmit { dont_fragment: false, ..large }, &data);
        assert_eq!((sent.calls, sent.dropped, told), (1, 0, vec![]));
        assert_eq!(receive(&mut b, 1).0[0].data, data);
        assert_eq!(send(&mut a, &large, &data).0.dropped, 1, "only that once");
    }
}

#[test]
fn beside_raw_ip_a_clash_of_the_udp_port_is_a_warning() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _taken = UdpSocket::bind("127.0.0.1:9899").unwrap();
        for backend in [Backend::Raw, Backend::Auto] {
            let _guard = net::no_children();
            let config = DriverConfig { backend, udp_port: UdpPort::Listen(9899), ..raw() };
            let (sockets, chosen) = sockets::open(&config).unwrap();
            assert_eq!(chosen.backend, Backend::Raw);
            assert_eq!(chosen.udp_port, sockets.udp_port());
            assert_ne!(chosen.udp_port, Some(9899));
            assert!(chosen.warnings[0].contains("9899"), "{chosen:?}");
        }
        let config = DriverConfig { backend: Backend::Udp, udp_port: UdpPort::Listen(9899), ..raw() };
        assert!(matches!(sockets::open(&config).unwrap_err(), DriverError::UdpPortInUse { port: 9899, .. }));
    });
}

#[test]
fn without_the_right_to_raw_ip_auto_takes_udp_and_raw_says_what_to_do() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        // The system call changes the user of this thread only, and with it its rights; the C library's
        // function would change the whole process.
        // SAFETY: takes three integers.
        let code = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(code, 0);
        let (sockets, chosen) = sockets::open(&DriverConfig { backend: Backend::Auto, ..raw() }).unwrap();
        assert_eq!(chosen.backend, Backend::Udp);
        assert!(chosen.why.contains("not permitted"), "{}", chosen.why);
        assert!(sockets.udp_port().is_some());
        let error = sockets::open(&raw()).unwrap_err();
        assert!(matches!(error, DriverError::RawNotPermitted(_)));
        assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
    });
}
