//! A small language of packets: chunks of every type with right and wrong tags and numbers, copies of
//! what was seen, altered, and raw bytes.

use crate::input::Input;
use crate::seen::{Seen, chunks};

/// Numbers worth trying in a field of four bytes.
const EDGES: [u32; 8] = [0, 1, 3, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX, 1500];

/// What is known for a packet to one host.
#[derive(Debug)]
pub struct Known<'a> {
    /// Of the host that it goes to.
    pub to: &'a Seen,
    /// Of the host that it claims to come from.
    pub from: &'a Seen,
    /// Source and destination port.
    pub ports: (u16, u16),
    /// Packets that were sent, newest last.
    pub log: &'a [crate::world::Packet],
}

/// Writes the right checksum.
pub fn fix_checksum(packet: &mut [u8]) {
    if let Some(field) = packet.get_mut(8..12) {
        field.fill(0);
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, packet) as u32;
        packet[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Alters a packet behind `from`.
pub fn alter(input: &mut Input<'_>, packet: &mut Vec<u8>, from: usize) {
    for _ in 0..1 + input.below(3) {
        if packet.len() <= from {
            return;
        }
        let at = from + usize::from(input.u16()) % (packet.len() - from);
        match input.below(8) {
            0 => packet[at] ^= 1 << input.below(8),
            1 => packet[at] = input.byte(),
            2 => {
                let value = EDGES[input.below(EDGES.len())];
                put(packet, at & !3, &value.to_be_bytes());
            }
            3 => {
                let value = EDGES[input.below(EDGES.len())] as u16;
                put(packet, at & !1, &value.to_be_bytes());
            }
            // A number a little off.
            4 => {
                let at = at & !3;
                let value = crate::seen::word(packet, at).wrapping_add_signed(input.signed().into());
                put(packet, at, &value.to_be_bytes());
            }
            5 => packet.truncate(at.max(from)),
            6 => packet.extend_from_slice(input.blob()),
            _ => packet.extend_from_within(at & !3..),
        }
    }
    packet.truncate(from + 4000);
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = packet.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// A packet made of chunks.
pub fn build(input: &mut Input<'_>, known: &Known<'_>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    let (mut source, mut destination) = known.ports;
    let last = |seen: &Seen| seen.tags.last().copied().unwrap_or(1);
    let how = input.byte();
    let tag = match how & 0x0f {
        0..=10 => last(known.to),
        11 => 0,
        12 => last(known.from),
        13 => known.to.tags.first().copied().unwrap_or(2),
        14 => input.u32(),
        _ => last(known.to) ^ 1,
    };
    if how & 0x30 == 0x30 {
        source = input.u16();
    }
    if how & 0xc0 == 0xc0 {
        destination = input.u16();
    }
    packet.extend_from_slice(&source.to_be_bytes());
    packet.extend_from_slice(&destination.to_be_bytes());
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    let shape = input.byte();
    for _ in 0..=shape & 3 {
        chunk(input, known, &mut packet);
    }
    fix_checksum(&mut packet);
    if shape & 0xf0 == 0xf0 {
        packet[8] ^= 1;
    }
    packet
}

fn chunk(input: &mut Input<'_>, known: &Known<'_>, packet: &mut Vec<u8>) {
    let begin = packet.len();
    let what = input.byte();
    let (kind, flags) = match what & 0x1f {
        0..=3 => (0, input.byte() & 0x0f),
        4..=6 => (3, 0),
        7 => (1, 0),
        8 => (2, 0),
        9 => (4, 0),
        10 => (5, 0),
        11 => (6, input.byte() & 1),
        12 => (7, 0),
        13 => (8, 0),
        14 => (9, 0),
        15 | 16 => (10, 0),
        17 => (11, 0),
        18 => (14, input.byte() & 1),
        19 => (12 + input.byte() % 2, 0),
        20 => (0x84, 0),
        21..=23 => return copied(input, known, packet),
        _ => (input.byte(), input.byte()),
    };
    packet.extend_from_slice(&[kind, flags, 0, 0]);
    value(input, known, kind, packet);
    let mut length = (packet.len() - begin) as u16;
    if what & 0xe0 == 0xe0 {
        length = length.wrapping_add_signed(input.signed().into());
    }
    packet[begin + 2..begin + 4].copy_from_slice(&length.to_be_bytes());
    packet.resize(packet.len().next_multiple_of(4), 0);
}

fn near(input: &mut Input<'_>, number: u32) -> u32 {
    match input.byte() {
        0x7f => number.wrapping_add(input.u32()),
        0x80 => EDGES[input.below(EDGES.len())],
        off => number.wrapping_add_signed((off as i8).into()),
    }
}

fn value(input: &mut Input<'_>, known: &Known<'_>, kind: u8, packet: &mut Vec<u8>) {
    let word = |packet: &mut Vec<u8>, word: u32| packet.extend_from_slice(&word.to_be_bytes());
    match kind {
        0 => {
            let tsn = near(input, known.from.next_tsn);
            word(packet, tsn);
            let (stream, ssn) = (u32::from(input.byte() & 0x1f), u32::from(input.byte()));
            word(packet, stream << 16 | ssn);
            word(packet, 46);
            packet.resize(packet.len() + input.below(32) * (1 + 8 * input.below(8)), 0x55);
        }
        1 | 2 => {
            let tag = match input.byte() {
                0 => 0,
                1..=8 => known.from.tags.last().copied().unwrap_or(9),
                other => u32::from(other) << 16 | 0xbeef,
            };
            word(packet, tag);
            let rwnd = near(input, 100_000);
            word(packet, rwnd);
            word(packet, u32::from(input.byte()) << 16 | u32::from(input.byte()));
            let tsn = near(input, known.from.next_tsn);
            word(packet, tsn);
            params(input, known, packet);
        }
        3 => {
            let cumulative = near(input, known.to.next_tsn.wrapping_sub(1));
            word(packet, cumulative);
            let rwnd = near(input, 20_000);
            word(packet, rwnd);
            let (gaps, duplicates) = (input.below(5), input.below(3));
            word(packet, (gaps << 16 | duplicates) as u32);
            for _ in 0..gaps {
                let start = u32::from(input.byte());
                let end = start.wrapping_add_signed(input.signed().into()) & 0xffff;
                word(packet, start << 16 | end);
            }
            for _ in 0..duplicates {
                let tsn = near(input, known.to.next_tsn);
                word(packet, tsn);
            }
        }
        4 => params(input, known, packet),
        5 => {
            packet.extend_from_slice(&known.to.heartbeat);
            if input.byte() & 7 == 7 {
                let from = packet.len() - known.to.heartbeat.len();
                alter(input, packet, from);
            }
        }
        6 | 9 => causes(input, packet),
        7 => {
            let cumulative = near(input, known.to.next_tsn.wrapping_sub(1));
            word(packet, cumulative);
        }
        10 => {
            packet.extend_from_slice(&known.to.cookie);
            if input.byte() & 3 == 3 {
                let from = packet.len() - known.to.cookie.len();
                alter(input, packet, from);
            }
        }
        8 | 11..=14 => {}
        _ => packet.extend_from_slice(input.blob()),
    }
}

/// A chunk that was seen, perhaps altered.
fn copied(input: &mut Input<'_>, known: &Known<'_>, packet: &mut Vec<u8>) {
    let Some(from) = known.log.len().checked_sub(1 + input.below(16)).and_then(|at| known.log.get(at)) else { return };
    let all: Vec<_> = chunks(&from.data).collect();
    let Some((kind, flags, value)) = all.get(input.below(all.len().max(1))).copied() else { return };
    let begin = packet.len();
    packet.extend_from_slice(&[kind, flags]);
    packet.extend_from_slice(&((value.len() + 4) as u16).to_be_bytes());
    packet.extend_from_slice(&value[..value.len().min(2000)]);
    packet.resize(packet.len().next_multiple_of(4), 0);
    if input.bit() {
        alter(input, packet, begin);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
}

/// Parameters of INIT, INIT ACK, HEARTBEAT.
fn params(input: &mut Input<'_>, known: &Known<'_>, packet: &mut Vec<u8>) {
    for _ in 0..input.byte() & 7 {
        let what = input.byte();
        let (kind, value): (u16, Vec<u8>) = match what & 0x0f {
            0..=2 => (5, vec![10, input.byte() & 3, 0, input.byte() & 3]),
            3 => (5, input.bytes(4).to_vec()),
            4 => (6, [&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[input.byte() & 3]].concat()),
            5 => (6, input.bytes(16).to_vec()),
            6 | 7 => (7, known.to.cookie.clone()),
            8 => (9, input.u32().to_be_bytes().to_vec()),
            9 => (12, vec![0, 5, 0, 6]),
            10 => (0xc006, input.bytes(4).to_vec()),
            11 => (11, input.blob().to_vec()),
            12 => (1, input.blob().to_vec()),
            13 => (8, input.blob().to_vec()),
            _ => (input.u16(), input.blob().to_vec()),
        };
        tlv(input, what, kind, &value, packet);
    }
}

fn causes(input: &mut Input<'_>, packet: &mut Vec<u8>) {
    for _ in 0..input.byte() & 3 {
        let what = input.byte();
        let kind = if what & 0x10 == 0 { u16::from(what & 0x0f) } else { input.u16() };
        let value = input.blob().to_vec();
        tlv(input, what, kind, &value, packet);
    }
}

fn tlv(input: &mut Input<'_>, what: u8, kind: u16, value: &[u8], packet: &mut Vec<u8>) {
    let mut length = (4 + value.len()) as u16;
    if what & 0xe0 == 0xe0 {
        length = length.wrapping_add_signed(input.signed().into());
    }
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(value);
    packet.resize(packet.len().next_multiple_of(4), 0);
}

/// The chunks of a packet as packets of their own.
pub fn split(packet: &[u8]) -> Vec<Vec<u8>> {
    let all = chunks(packet).map(|(kind, flags, value)| {
        let mut one = packet[..12].to_vec();
        one.extend_from_slice(&[kind, flags]);
        one.extend_from_slice(&((value.len() + 4) as u16).to_be_bytes());
        one.extend_from_slice(value);
        one.resize(one.len().next_multiple_of(4), 0);
        fix_checksum(&mut one);
        one
    });
    all.collect()
}
