//! ICMP that somebody has made up, who knows an address and a port of ours and nothing else: it ends no socket, holds no
//! packet back, and convinces nobody.

use super::net::Namespace;
use super::*;
use crate::config::{Backend, UdpPort};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const FORGER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

fn config(backend: Backend) -> DriverConfig {
    DriverConfig { backend, udp_port: UdpPort::Ephemeral, ..DriverConfig::default() }
}

/// The checksum of IPv4 and ICMP (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}

/// An ICMP message about a packet that the victim is said to have sent from `port`, of the protocol `protocol`.
fn icmp(kind: u8, code: u8, protocol: u8, port: u16) -> Vec<u8> {
    let mut quoted = vec![0x45, 0, 0, 128, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    quoted.extend_from_slice(&VICTIM.octets());
    quoted.extend_from_slice(&FORGER.octets());
    let sum = checksum(&quoted);
    quoted[10..12].copy_from_slice(&sum);
    quoted.extend_from_slice(&port.to_be_bytes());
    quoted.extend_from_slice(&[0x26, 0xab, 0, 108, 0, 0, 1, 2, 3, 4]);
    // The MTU stands in the last of these, where there is one.
    let mut message = vec![kind, code, 0, 0, 0, 0, 0x05, 0x14];
    message.extend_from_slice(&quoted);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// Somebody in the other namespace who sends ICMP.
struct Forger(Socket);

impl Forger {
    fn new(namespace: &Namespace) -> Self {
        Self(namespace.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap()))
    }

    fn send(&self, message: &[u8]) {
        self.0.send_to(message, &SocketAddr::from((VICTIM, 0)).into()).unwrap();
    }
}

#[test]
fn no_icmp_ends_a_socket_or_swallows_a_packet() {
    let Some((first, second)) = Namespace::pair() else { return };
    let forger = Forger::new(&second);
    for (backend, protocol) in [(Backend::Udp, 17), (Backend::Raw, 132)] {
        let (config_a, config_b) = (config(backend), config(backend));
        let mut a = first.run(move || open(&config_a));
        let mut b = second.run(move || open(&config_b));
        if backend == Backend::Raw {
            a.claim_port(2905).unwrap();
            b.claim_port(2906).unwrap();
        }
        let (there, back) = (b.udp_port(), a.udp_port());
        let codes = [(3, 16), (4, 1), (5, 4), (11, 2), (12, 3)];
        for (kind, code) in codes.into_iter().flat_map(|(kind, codes)| (0..codes).map(move |code| (kind, code))) {
            let forged = icmp(kind, code, protocol, back.unwrap_or(0x1234));
            forger.send(&forged);
            // It is there before this is.
            let (to_a, to_b) = (native(2905, 100), native(2906, 100));
            send(&mut b, &transmit("10.1.0.2", "10.1.0.1", back, 100, 100), &to_a);
            assert_eq!(receive(&mut a, 1).0[0].data, to_a, "{backend:?} {kind}/{code}");
            forger.send(&forged);
            let told = send(&mut a, &transmit("10.1.0.1", "10.1.0.2", there, 100, 100), &to_b).1;
            assert!(told.iter().all(|told| !to_b.starts_with(&told.quoted)), "{backend:?} {kind}/{code} {told:?}");
            assert_eq!(receive(&mut b, 1).0[0].data, to_b, "{backend:?} {kind}/{code}");
        }
    }
}

/// More reports than a call gets rid of: a packet may be lost, as any may, and nobody is said to be out of reach.
#[test]
fn a_flood_of_icmp_says_nothing_of_our_own_packets() {
    let Some((first, second)) = Namespace::pair() else { return };
    let forger = Forger::new(&second);
    let mut a = first.run(|| open(&config(Backend::Udp)));
    let mut b = second.run(|| open(&config(Backend::Udp)));
    let (there, back) = (b.udp_port(), a.udp_port());
    let data = pattern(3000);
    for code in [3, 4, 1] {
        // What there is has to be there before a is asked to send: this comes behind it.
        (0..1000).for_each(|_| forger.send(&icmp(3, code, 17, back.unwrap())));
        send(&mut b, &transmit("10.1.0.2", "10.1.0.1", back, 1, 1), b"x");
        wait::wait(a.interests(), Some(PATIENCE)).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let (sent, told) = send(&mut a, &transmit("10.1.0.1", "10.1.0.2", there, 3000, 1000), &data);
        assert!(told.len() > 100, "{} reports came: too few to show anything", told.len());
        let ours = told.iter().filter(|told| data.starts_with(&told.quoted)).count();
        assert_eq!((sent.bytes, sent.blocked, ours), (3000, false, 0), "code {code}");
        while !receive_for(&mut a, 1000, Duration::from_millis(50)).1.is_empty() {}
    }
    // Segments are still cut by the kernel.
    let (sent, _) = send(&mut a, &transmit("10.1.0.1", "10.1.0.2", there, 3000, 1000), &data);
    assert_eq!((sent.calls, sent.dropped), (1, 0));
}
