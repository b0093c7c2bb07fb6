//! What ICMP says, over UDP and raw IP.

use super::net::Namespace;
use super::*;
use crate::config::{Backend, UdpPort};

fn udp() -> DriverConfig {
    DriverConfig { backend: Backend::Udp, udp_port: UdpPort::Ephemeral, ..DriverConfig::default() }
}

#[test]
fn a_closed_udp_port_is_reported_with_the_packet_that_found_it() {
    let Some((first, second)) = Namespace::pair() else { return };
    let mut a = first.run(|| open(&udp()));
    for (from, to) in [("10.1.0.1", "10.1.0.2"), ("fd00::1", "fd00::2")] {
        let data = pattern(100);
        send(&mut a, &transmit(from, to, Some(7), data.len(), data.len()), &data);
        let told = reports(&mut a);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].kind, IcmpKind::PortUnreachable);
        assert_eq!((told[0].remote, told[0].encap_port), (address(to), Some(7)));
        assert!(told[0].quoted.len() >= 8 && data.starts_with(&told[0].quoted), "{told:?}");
    }
    drop(second);
}

#[test]
fn a_report_about_one_peer_does_not_stop_packets_to_another() {
    let Some((first, second)) = Namespace::pair() else { return };
    let mut a = first.run(|| open(&udp()));
    let mut b = second.run(|| open(&udp()));
    for round in 0..20u8 {
        send(&mut a, &transmit("10.1.0.1", "10.1.0.2", Some(7), 3, 3), b"bad");
        // Until the report is there.
        std::thread::sleep(Duration::from_millis(2));
        let good = transmit("10.1.0.1", "10.1.0.2", b.udp_port(), 1, 1);
        let (sent, _) = send(&mut a, &good, &[round]);
        assert_eq!((sent.calls, sent.dropped), (1, 0), "round {round}");
        let (arrived, _) = receive(&mut b, 1);
        assert_eq!(arrived[0].data, [round]);
        // The other way, too: a report does not swallow a packet.
        send(&mut a, &transmit("10.1.0.1", "10.1.0.2", Some(7), 3, 3), b"bad");
        std::thread::sleep(Duration::from_millis(2));
        let back = transmit("10.1.0.2", "10.1.0.1", a.udp_port(), 1, 1);
        send(&mut b, &back, &[round]);
        let (arrived, told) = receive(&mut a, 1);
        assert_eq!(arrived[0].data, [round]);
        assert!(told.iter().all(|told| told.kind == IcmpKind::PortUnreachable));
    }
}

#[test]
fn a_routers_packet_too_big_is_reported_over_udp_and_raw_ip() {
    let Some((first, router)) = Namespace::pair() else { return };
    router.set("ipv4/ip_forward", "1");
    router.set("ipv6/conf/all/forwarding", "1");
    router.ip("link add narrow0 mtu 1300 type veth peer name narrow1");
    router.ip("link set narrow1 up");
    router.ip("addr add 10.2.0.1/24 dev narrow0");
    router.ip("addr add fd02::1/64 dev narrow0 nodad");
    router.ip("link set narrow0 up");
    first.ip("route add 10.2.0.0/24 via 10.1.0.2");
    first.ip("route add fd02::/64 via fd00::2");
    let raw = DriverConfig { backend: Backend::Raw, ..udp() };
    let mut a = first.run(move || open(&raw));
    for (from, to) in [("10.1.0.1", "10.2.0.9"), ("fd00::1", "fd02::9")] {
        for encap_port in [Some(9899), None] {
            let data = native(2905, 1400);
            let (sent, _) = send(&mut a, &transmit(from, to, encap_port, 1400, 1400), &data);
            assert_eq!((sent.calls, sent.dropped), (1, 0), "the first link takes it");
            let told = reports(&mut a);
            assert_eq!(told.len(), 1, "{to} {encap_port:?}");
            assert_eq!(told[0].kind, IcmpKind::PacketTooBig(1300));
            assert_eq!((told[0].remote, told[0].encap_port), (address(to), encap_port));
            assert!(told[0].quoted.len() >= 8 && data.starts_with(&told[0].quoted));
        }
    }
}

#[test]
fn a_host_without_sctp_is_reported_over_raw_ip() {
    let Some((first, second)) = Namespace::pair() else { return };
    let raw = DriverConfig { backend: Backend::Raw, ..udp() };
    let mut a = first.run(move || open(&raw));
    for (from, to) in [("10.1.0.1", "10.1.0.2"), ("fd00::1", "fd00::2")] {
        let data = native(2905, 100);
        send(&mut a, &transmit(from, to, None, 100, 100), &data);
        let told = reports(&mut a);
        assert_eq!(told.len(), 1, "{to}");
        assert_eq!(told[0].kind, IcmpKind::ProtocolUnreachable);
        assert_eq!((told[0].remote, told[0].encap_port), (address(to), None));
        assert!(told[0].quoted.len() >= 8 && data.starts_with(&told[0].quoted));
    }
    drop(second);
}

#[test]
fn a_destination_without_a_route_is_reported_at_once() {
    let Some(namespace) = Namespace::new() else { return };
    let mut a = namespace.run(|| open(&DriverConfig { backend: Backend::Raw, ..udp() }));
    for to in ["192.0.2.1", "2001:db8::1"] {
        for encap_port in [Some(9899), None] {
            let mut nowhere = transmit(to, to, encap_port, 100, 100);
            nowhere.local.address = None;
            let (sent, told) = send(&mut a, &nowhere, &native(2905, 100));
            assert_eq!((sent.bytes, sent.dropped, sent.blocked), (100, 1, false), "{to}");
            assert_eq!(told.len(), 1);
            assert_eq!(told[0].kind, IcmpKind::HostUnreachable);
        }
    }
}
