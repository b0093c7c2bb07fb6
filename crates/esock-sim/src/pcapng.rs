//! Captures of simulated runs, for tshark and its like: pcapng with raw IP packets, SCTP in UDP.

use esock_proto::{Address, Time};
use std::net::IpAddr;

/// LINKTYPE_RAW: an IPv4 or IPv6 header comes first.
const LINKTYPE_RAW: u16 = 101;
/// The UDP port on both ends, so that dissectors know what it is (RFC 6951).
const UDP_PORT: u16 = 9899;

/// A capture in memory, in pcapng.
#[derive(Debug, Clone)]
pub struct Capture {
    bytes: Vec<u8>,
    packets: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl Capture {
    /// An empty capture.
    pub fn new() -> Self {
        let mut capture = Self { bytes: Vec::new(), packets: 0 };
        let mut section = Vec::new();
        section.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        section.extend_from_slice(&1u16.to_le_bytes());
        section.extend_from_slice(&0u16.to_le_bytes());
        section.extend_from_slice(&(-1i64).to_le_bytes());
        capture.block(0x0a0d_0d0a, &section);
        let mut interface = Vec::new();
        interface.extend_from_slice(&LINKTYPE_RAW.to_le_bytes());
        interface.extend_from_slice(&[0; 6]);
        // if_tsresol: nanoseconds.
        interface.extend_from_slice(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        capture.block(1, &interface);
        capture
    }

    /// The file as it stands.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Packets in it.
    pub fn packets(&self) -> usize {
        self.packets
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let padded = body.len().next_multiple_of(4);
        let length = (12 + padded) as u32;
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len() + padded - body.len(), 0);
        self.bytes.extend_from_slice(&length.to_le_bytes());
    }

    /// Adds an SCTP packet, in UDP.
    pub fn add(&mut self, at: Time, from: Address, to: Address, sctp: &[u8]) {
        let udp_len = (8 + sctp.len()) as u16;
        let mut udp = Vec::with_capacity(usize::from(udp_len));
        for half in [UDP_PORT, UDP_PORT, udp_len, 0] {
            udp.extend_from_slice(&half.to_be_bytes());
        }
        udp.extend_from_slice(sctp);
        let packet = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip = vec![0x45, 0];
                ip.extend_from_slice(&(20 + udp_len).to_be_bytes());
                ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
                ip.extend_from_slice(&from.octets());
                ip.extend_from_slice(&to.octets());
                let checksum = !internet_sum(&ip, 0);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                ip.extend_from_slice(&udp);
                ip
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut pseudo = from.octets().to_vec();
                pseudo.extend_from_slice(&to.octets());
                let checksum = !internet_sum(&udp, internet_sum(&pseudo, 17 + udp_len));
                udp[6..8].copy_from_slice(&checksum.to_be_bytes());
                let mut ip = vec![0x60, 0, 0, 0];
                ip.extend_from_slice(&udp_len.to_be_bytes());
                ip.extend_from_slice(&[17, 64]);
                ip.extend_from_slice(&pseudo);
                ip.extend_from_slice(&udp);
                ip
            }
            _ => return,
        };
        let mut body = vec![0; 4];
        let nanos = at.as_nanos();
        body.extend_from_slice(&((nanos >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(nanos as u32).to_le_bytes());
        body.extend_from_slice(&(packet.len() as u32).to_le_bytes());
        body.extend_from_slice(&(packet.len() as u32).to_le_bytes());
        body.extend_from_slice(&packet);
        self.block(6, &body);
        self.packets += 1;
    }
}

/// A packet of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedPacket {
    /// When it was sent.
    pub at: Time,
    /// The address that it came from.
    pub from: IpAddr,
    /// The address that it went to.
    pub to: IpAddr,
    /// The SCTP packet.
    pub sctp: Vec<u8>,
}

impl Capture {
    /// What is in it, read from the file as it stands.
    pub fn read(&self) -> Vec<CapturedPacket> {
        let mut rest = self.bytes.as_slice();
        let mut packets = Vec::new();
        while let Some(length) = rest.get(4..8).map(word) {
            let (block, behind) = rest.split_at(length as usize);
            // An Enhanced Packet Block: interface, time in two halves, captured and original length, bytes.
            if word(block) == 6 {
                let at = u64::from(word(&block[12..])) << 32 | u64::from(word(&block[16..]));
                let ip = &block[28..28 + word(&block[20..]) as usize];
                let (from, to, header) = addresses(ip);
                packets.push(CapturedPacket { at: Time::from_nanos(at), from, to, sctp: ip[header + 8..].to_vec() });
            }
            rest = behind;
        }
        packets
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Source and destination of an IP packet of ours, and the length of its header.
fn addresses(ip: &[u8]) -> (IpAddr, IpAddr, usize) {
    fn part<const N: usize>(ip: &[u8], at: usize) -> [u8; N] {
        std::array::from_fn(|octet| ip[at + octet])
    }
    if ip[0] >> 4 == 4 {
        (part::<4>(ip, 12).into(), part::<4>(ip, 16).into(), 20)
    } else {
        (part::<16>(ip, 8).into(), part::<16>(ip, 24).into(), 40)
    }
}

/// The ones' complement sum of RFC 1071.
fn internet_sum(bytes: &[u8], start: u16) -> u16 {
    let pair = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = u32::from(start) + bytes.chunks(2).map(pair).sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn what_was_captured_is_read_again() {
        let mut capture = Capture::new();
        let v4 = [1, 2].map(|host| Ipv4Addr::new(10, 0, 0, host));
        let v6 = [1, 2].map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host));
        capture.add(Time::from_nanos(5_000_000_001), v4[0].into(), v4[1].into(), &[1, 2, 3, 4, 5]);
        capture.add(Time::from_nanos(5_000_000_002), v6[1].into(), v6[0].into(), &[6; 100]);
        let packet = |at, from, to, sctp| CapturedPacket { at: Time::from_nanos(at), from, to, sctp };
        let expected = [
            packet(5_000_000_001, v4[0].into(), v4[1].into(), vec![1, 2, 3, 4, 5]),
            packet(5_000_000_002, v6[1].into(), v6[0].into(), vec![6; 100]),
        ];
        assert_eq!(capture.read(), expected);
        assert_eq!(capture.packets(), 2);
    }
}
