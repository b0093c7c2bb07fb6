//! UDP encapsulation, below the stack.

use super::net::Namespace;
use super::*;
use crate::config::{Backend, ENCAPSULATION_PORT, UdpPort};
use crate::error::DriverError;
use std::net::UdpSocket;

fn udp(udp_port: UdpPort) -> DriverConfig {
    DriverConfig { backend: Backend::Udp, udp_port, ..DriverConfig::default() }
}

#[test]
fn a_batch_of_segments_arrives_packet_by_packet_with_its_addresses_ports_and_ecn_bits() {
    let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&udp(UdpPort::Ephemeral)));
    let (from_port, to_port) = (a.udp_port().unwrap(), b.udp_port());
    let data = pattern(10 * 1200 + 77);
    for (from, to) in [("127.0.0.3", "127.0.0.2"), ("::1", "::1")] {
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            let transmit = Transmit { ecn, ..transmit(from, to, to_port, data.len(), 1200) };
            let (sent, told) = send(&mut a, &transmit, &data);
            assert_eq!(sent, Sent { bytes: data.len(), calls: 1, ..Sent::default() });
            assert_eq!(told, []);
            let (arrived, _) = receive(&mut b, 11);
            assert_eq!(arrived.len(), 11);
            for (packet, expected) in arrived.iter().zip(data.chunks(1200)) {
                assert_eq!(packet.data, expected);
                assert_eq!((packet.local, packet.remote), (address(to), address(from)));
                assert_eq!((packet.encap_port, packet.ecn), (Some(from_port), ecn));
            }
        }
    }
}

#[test]
fn more_segments_than_the_kernel_takes_at_once_leave_in_several_calls() {
    let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&udp(UdpPort::Ephemeral)));
    let data = pattern(65536);
    let transmit = transmit("127.0.0.1", "127.0.0.1", b.udp_port(), data.len(), 512);
    let (sent, _) = send(&mut a, &transmit, &data);
    assert_eq!((sent.bytes, sent.calls), (data.len(), 2));
    let (arrived, _) = receive(&mut b, 128);
    let got: Vec<u8> = arrived.into_iter().flat_map(|packet| packet.data).collect();
    assert_eq!(got, data);
}

#[test]
fn who_only_connects_takes_another_port_where_a_listener_gets_an_error_that_helps() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let first = open(&udp(UdpPort::Auto));
        assert_eq!(first.udp_port(), Some(ENCAPSULATION_PORT));
        let second = open(&udp(UdpPort::Auto));
        assert_ne!(second.udp_port(), Some(ENCAPSULATION_PORT));
        let error = sockets::open(&udp(UdpPort::Listen(ENCAPSULATION_PORT))).unwrap_err();
        assert!(matches!(error, DriverError::UdpPortInUse { port: ENCAPSULATION_PORT, .. }));
        let text = error.to_string();
        assert!(text.contains("9899") && text.contains("choose another port"), "{text}");
        drop(first);
        let third = open(&udp(UdpPort::Listen(ENCAPSULATION_PORT)));
        assert_eq!(third.udp_port(), Some(ENCAPSULATION_PORT));
    });
}

#[test]
fn both_families_have_one_port_and_a_clash_in_either_is_seen() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let _guard = net::no_children();
        let taken = UdpSocket::bind("[::1]:9899").unwrap();
        assert!(sockets::open(&udp(UdpPort::Listen(9899))).is_err(), "IPv6 is taken");
        drop(taken);
        let taken = UdpSocket::bind("127.0.0.1:9899").unwrap();
        assert!(sockets::open(&udp(UdpPort::Listen(9899))).is_err(), "IPv4 is taken");
        drop(taken);
        let sockets = open(&udp(UdpPort::Listen(9899)));
        for both in ["127.0.0.1:9899", "[::1]:9899"] {
            let error = UdpSocket::bind(both).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{both}");
        }
        drop(sockets);
    });
}

#[test]
fn sockets_bound_to_given_addresses_receive_there_only() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let addresses = vec![address("127.0.0.1"), address("127.0.0.2"), address("::1")];
        let config = DriverConfig { addresses, ..udp(UdpPort::Listen(9899)) };
        let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&config));
        for to in ["127.0.0.3", "127.0.0.2", "127.0.0.1", "::1"] {
            let from = if to == "::1" { "::1" } else { "127.0.0.1" };
            send(&mut a, &transmit(from, to, Some(9899), 5, 5), b"hello");
        }
        let (mut arrived, _) = receive(&mut b, 3);
        arrived.extend(receive_for(&mut b, 1, Duration::from_millis(100)).0);
        let mut locals: Vec<Address> = arrived.iter().map(|packet| packet.local).collect();
        locals.sort();
        assert_eq!(locals, [address("127.0.0.1"), address("127.0.0.2"), address("::1")]);

        // And each sends from where it is bound.
        let to_port = a.udp_port();
        send(&mut b, &transmit("127.0.0.2", "127.0.0.1", to_port, 5, 5), b"hello");
        assert_eq!(receive(&mut a, 1).0[0].remote, address("127.0.0.2"));
    });
}

#[test]
fn a_packet_larger_than_the_link_is_reported_with_its_mtu_and_leaves_in_fragments_if_it_may() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.ip("link set lo mtu 1500");
    namespace.run(|| {
        let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&udp(UdpPort::Ephemeral)));
        for (at, headers) in [("127.0.0.1", 28), ("::1", 48)] {
            let data = pattern(4000);
            let large = transmit(at, at, b.udp_port(), 2000, 2000);
            let (sent, told) = send(&mut a, &large, &data[..2000]);
            assert_eq!((sent.bytes, sent.dropped, sent.blocked), (2000, 1, false));
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].kind, IcmpKind::PacketTooBig(1500));
            assert_eq!((told[0].remote, told[0].encap_port), (address(at), b.udp_port()));
            assert_eq!(told[0].quoted, data[..256]);

            // Several segments that are too large are no reason to give segments up.
            let batch = transmit(at, at, b.udp_port(), 4000, 2000);
            let (sent, told) = send(&mut a, &batch, &data);
            assert_eq!((sent.dropped, told.len()), (2, 2));
            let segment = 1500 - headers;
            let batch = transmit(at, at, b.udp_port(), 2 * segment, segment);
            let (sent, _) = send(&mut a, &batch, &data[..2 * segment]);
            assert_eq!((sent.calls, sent.dropped), (1, 0));
            assert_eq!(receive(&mut b, 2).0.len(), 2);

            let fragments = Transmit { dont_fragment: false, ..large };
            let (sent, told) = send(&mut a, &fragments, &data[..2000]);
            assert_eq!((sent.calls, sent.dropped, told.len()), (1, 0, 0));
            assert_eq!(receive(&mut b, 1).0[0].data, data[..2000]);

            // And the next packet may not be fragmented again.
            assert_eq!(send(&mut a, &large, &data[..2000]).0.dropped, 1);
        }
    });
}

#[test]
fn a_source_address_that_is_gone_costs_its_packets_and_neither_segments_nor_ecn() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run(|| {
        let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&udp(UdpPort::Ephemeral)));
        let data = pattern(3000);
        for (at, from) in [("127.0.0.1", "192.0.2.7"), ("::1", "2001:db8::7")] {
            let gone = transmit(from, at, b.udp_port(), 3000, 1000);
            let (sent, told) = send(&mut a, &gone, &data);
            assert_eq!((sent.bytes, sent.dropped, sent.calls), (3000, 3, 0));
            assert!(!told.is_empty());
            assert!(told.iter().all(|told| told.kind == IcmpKind::HostUnreachable), "{told:?}");

            let ecn = Some(Ecn::Ect0);
            let good = Transmit { ecn, ..transmit(at, at, b.udp_port(), 3000, 1000) };
            let (sent, _) = send(&mut a, &good, &data);
            assert_eq!((sent.calls, sent.dropped), (1, 0));
            let (arrived, _) = receive(&mut b, 3);
            assert_eq!(arrived.iter().map(|packet| packet.ecn).collect::<Vec<_>>(), [ecn; 3]);
        }
    });
}

#[test]
fn packets_that_would_block_leave_later_and_none_is_lost_or_overtaken() {
    let Some((first, second)) = Namespace::pair() else { return };
    // The second host does not answer for its address yet: packets queue in the first one's kernel,
    // charged to its socket.
    second.ip("addr del 10.1.0.2/24 dev veth0");
    let config = DriverConfig { send_buffer_bytes: 1, ..udp(UdpPort::Ephemeral) };
    let mut a = first.run(move || open(&config));
    let mut b = second.run(|| open(&udp(UdpPort::Ephemeral)));
    let data = pattern(64 * 1000);
    let batch = transmit("10.1.0.1", "10.1.0.2", b.udp_port(), data.len(), 1000);

    let (mut got, mut blocked) = (Vec::new(), 0);
    let end = Instant::now() + PATIENCE;
    for _ in 0..8 {
        let mut done = 0;
        while done < data.len() {
            let (sent, told) = send(&mut a, &batch, &data[done..]);
            assert_eq!((sent.dropped, told), (0, vec![]));
            done += sent.bytes;
            if sent.blocked {
                assert!(a.interests().any(|interest| interest.writable), "asks for writability");
                if blocked == 0 {
                    second.ip("addr add 10.1.0.2/24 dev veth0");
                }
                blocked += 1;
                assert!(Instant::now() < end, "stuck at {done} bytes");
                wait::wait(a.interests(), Some(Duration::from_millis(100))).unwrap();
            }
        }
    }
    assert!(blocked > 0, "nothing blocked");
    assert!(!a.interests().any(|interest| interest.writable), "asks no more");
    let (arrived, _) = receive_for(&mut b, 8 * 64, PATIENCE);
    got.extend(arrived.into_iter().flat_map(|packet| packet.data));
    assert_eq!(got.len(), 8 * data.len());
    assert!(got.chunks(data.len()).all(|batch| batch == data));
}

#[cfg(target_os = "linux")]
#[test]
fn where_the_kernel_cuts_no_segments_packets_leave_one_by_one_with_their_ecn_bits() {
    struct Descriptor(std::os::fd::RawFd);
    impl std::os::fd::AsRawFd for Descriptor {
        fn as_raw_fd(&self) -> std::os::fd::RawFd {
            self.0
        }
    }
    let (mut a, mut b) = (open(&udp(UdpPort::Ephemeral)), open(&udp(UdpPort::Ephemeral)));
    // The kernel cuts segments only where it computes their checksums.
    for interest in a.interests().collect::<Vec<_>>() {
        crate::sys::set_option(&Descriptor(interest.fd), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    }
    let data = pattern(9 * 1000 + 10);
    let ecn = Some(Ecn::Ect0);
    let batch = Transmit { ecn, ..transmit("127.0.0.1", "127.0.0.1", b.udp_port(), data.len(), 1000) };
    for _ in 0..2 {
        let (sent, told) = send(&mut a, &batch, &data);
        assert_eq!((sent.bytes, sent.calls, sent.dropped, told), (data.len(), 10, 0, vec![]));
        let (arrived, _) = receive(&mut b, 10);
        assert!(arrived.iter().all(|packet| packet.ecn == ecn));
        assert_eq!(arrived.into_iter().flat_map(|packet| packet.data).collect::<Vec<_>>(), data);
    }
}
