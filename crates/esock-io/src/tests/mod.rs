//! Tests of sockets and drivers, on loopback and in network namespaces that they make themselves.

mod driver;
mod floods;
#[cfg(target_os = "linux")]
mod forged;
mod joined;
#[cfg(target_os = "linux")]
pub(crate) mod layout;
mod net;
mod pair;
#[cfg(target_os = "linux")]
mod raw;
mod sanitizer;
#[cfg(target_os = "linux")]
mod shards;
#[cfg(target_os = "linux")]
mod shared;
mod tcp;
mod udp;
#[cfg(target_os = "linux")]
mod unreachable;
mod waiting;

use crate::config::DriverConfig;
use crate::sockets::{self, Sent, Sockets};
use crate::wait;
use esock_proto::{Address, Datagram, Ecn, Icmp, IcmpKind, Local, Transmit};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Longer than anything takes that works, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A packet, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrived {
    local: Address,
    remote: Address,
    encap_port: Option<u16>,
    ecn: Option<Ecn>,
    data: Vec<u8>,
}

/// An ICMP report, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    kind: IcmpKind,
    remote: Address,
    encap_port: Option<u16>,
    quoted: Vec<u8>,
}

impl From<Icmp<'_>> for Told {
    fn from(icmp: Icmp<'_>) -> Self {
        let Icmp { kind, remote, encap_port, quoted } = icmp;
        Self { kind, remote, encap_port, quoted: quoted.to_vec() }
    }
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn open(config: &DriverConfig) -> Sockets {
    sockets::open(config).unwrap().0
}

/// A transmit of one packet, or of several.
fn transmit(from: &str, to: &str, encap_port: Option<u16>, len: usize, segment: usize) -> Transmit {
    Transmit {
        local: Local { address: Some(address(from)), ..Local::default() },
        remote: address(to),
        encap_port,
        ecn: None,
        size: len,
        segment_size: (segment < len).then_some(segment),
        dont_fragment: true,
    }
}

/// Receives until `count` packets have come or it takes too long.
fn receive(sockets: &mut Sockets, count: usize) -> (Vec<Arrived>, Vec<Told>) {
    receive_for(sockets, count, PATIENCE)
}

/// Receives until `count` packets have come or the time has passed.
fn receive_for(sockets: &mut Sockets, count: usize, patience: Duration) -> (Vec<Arrived>, Vec<Told>) {
    let end = Instant::now() + patience;
    let (mut arrived, mut told) = (Vec::new(), Vec::new());
    loop {
        let mut deliver = |datagram: Datagram<'_>| {
            arrived.push(Arrived {
                local: datagram.local.address.unwrap(),
                remote: datagram.remote,
                encap_port: datagram.encap_port,
                ecn: datagram.ecn,
                data: datagram.data.to_vec(),
            });
        };
        sockets.receive(wait::Ready::ALL, &mut deliver, &mut |icmp| told.push(icmp.into())).unwrap();
        if arrived.len() >= count {
            return (arrived, told);
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return (arrived, told);
        };
        wait::wait(sockets.interests(), Some(left)).unwrap();
    }
}

/// Reads the error queues until something was told or it takes too long.
fn reports(sockets: &mut Sockets) -> Vec<Told> {
    let end = Instant::now() + PATIENCE;
    let mut told = Vec::new();
    while told.is_empty() && Instant::now() < end {
        wait::wait(sockets.interests(), Some(Duration::from_millis(100))).unwrap();
        sockets.drain_errors(&mut |icmp| told.push(icmp.into()));
    }
    told
}

/// Sends, and keeps what is said about it.
fn send(sockets: &mut Sockets, transmit: &Transmit, data: &[u8]) -> (Sent, Vec<Told>) {
    let mut told = Vec::new();
    let sent = sockets.send(transmit, data, &mut |icmp| told.push(icmp.into()));
    (sent, told)
}

/// Bytes that tell where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

/// A packet of native SCTP as far as sockets look: ports, and something behind.
fn native(port: u16, len: usize) -> Vec<u8> {
    let mut packet = pattern(len);
    packet[..4].copy_from_slice(&[0x12, 0x34, (port >> 8) as u8, port as u8]);
    packet
}
