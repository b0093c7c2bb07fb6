//! Seeds of the targets, made from captured traffic: `cargo xtask fuzz --seeds`.
//!
//! `wire` takes packets as they were. The inputs of the others are programs, so a capture is told in their
//! language: what one end said becomes the packet that is built, the message that is sent or the call that is made,
//! relative to what was seen before, because tags and TSNs are others when it is played.

mod adversary;
mod commands;
mod cookie;
mod packet;
mod stack;
mod wire;

use crate::seen::{Seen, chunks, word};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// No input is longer.
pub const LONGEST: usize = 2048;
/// A SHUTDOWN or ABORT that the user asked for has this cause (RFC 9260 §3.3.10.12).
const USER_INITIATED_ABORT: u16 = 12;

/// A packet that somebody saw.
#[derive(Debug, Clone)]
pub struct Captured {
    /// When, on any clock.
    pub at: Duration,
    /// The end that it goes to.
    pub to: usize,
    /// The address that it comes from.
    pub source: IpAddr,
    /// The address that it goes to.
    pub destination: IpAddr,
    /// Whether it came in UDP.
    pub udp: bool,
    /// The SCTP packet.
    pub data: Vec<u8>,
}

/// Traffic between two ends.
#[derive(Debug, Clone)]
pub struct Capture {
    /// A name for the files.
    pub name: String,
    /// Addresses of both ends.
    pub addresses: [Vec<IpAddr>; 2],
    /// Both ends are stacks of ours; else end 1 is, and the other was played.
    pub both: bool,
    /// What passed, in order.
    pub packets: Vec<Captured>,
}

/// Seeds by target and file name.
pub type Seeds = BTreeMap<&'static str, BTreeMap<String, Vec<u8>>>;

/// The seeds that these captures make.
pub fn make(captures: &[Capture]) -> Seeds {
    let mut seeds: Seeds = crate::TARGETS.iter().map(|(target, _)| (*target, BTreeMap::new())).collect();
    let mut known = BTreeSet::new();
    let mut add = |target: &'static str, name: String, mut bytes: Vec<u8>| {
        bytes.truncate(LONGEST);
        if !bytes.is_empty() && known.insert((target, bytes.clone())) {
            seeds.entry(target).or_default().insert(name, bytes);
        }
    };
    for (name, bytes) in wire::seeds(captures) {
        add("wire", name, bytes);
    }
    for capture in captures {
        let name = &capture.name;
        add("stack", name.clone(), stack::seed(capture));
        if capture.both {
            add("adversary", name.clone(), adversary::seed(capture));
        }
        cookie::seed(capture).into_iter().for_each(|bytes| add("cookie", name.clone(), bytes));
        add("commands", name.clone(), commands::seed(capture));
    }
    seeds
}

impl Captured {
    /// The end that sent it.
    fn from(&self) -> usize {
        1 - self.to
    }

    /// Its chunks of one type.
    fn of_kind(&self, wanted: u8) -> impl Iterator<Item = (u8, &[u8])> {
        chunks(&self.data).filter_map(move |(kind, flags, value)| (kind == wanted).then_some((flags, value)))
    }

    /// Whether it is an ABORT that a user asked for.
    fn is_user_abort(&self) -> bool {
        self.of_kind(6).any(|(_, value)| value.get(..2) == Some(&USER_INITIATED_ABORT.to_be_bytes()[..]))
    }
}

impl Capture {
    /// The first bytes of every input with two stacks: what the world is like. The parameters are the defaults.
    fn world(&self) -> Vec<u8> {
        let paths = self.addresses.iter().map(Vec::len).min().unwrap_or(1).clamp(1, 3) as u8;
        let native = self.packets.iter().any(|packet| !packet.udp);
        // 16: the first end takes peers too.
        vec![(paths - 1) | u8::from(native) << 3 | 16, 0, 0]
    }

    /// Which address of an end one is.
    fn path(&self, end: usize, address: IpAddr) -> Option<usize> {
        self.addresses[end].iter().position(|known| *known == address)
    }
}

/// A message: when its first fragment was first sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    stream: u16,
    unordered: bool,
    immediate: bool,
    bytes: usize,
}

/// What is known of a capture before it is told.
#[derive(Debug, Default)]
struct Story {
    /// By end and TSN: bytes of user data and flags of each DATA chunk, and how often it was sent.
    data: [BTreeMap<u32, (usize, u8, usize)>; 2],
    /// TSNs of an end that the other missed at some time though it had later ones.
    missed: [BTreeSet<u32>; 2],
    /// TSNs of an end that reached the other twice.
    twice: [BTreeSet<u32>; 2],
}

impl Story {
    fn of(capture: &Capture) -> Self {
        let mut story = Self::default();
        for packet in &capture.packets {
            for (flags, value) in packet.of_kind(0) {
                let entry = story.data[packet.from()].entry(word(value, 0)).or_insert((0, flags, 0));
                (entry.0, entry.2) = (value.len().saturating_sub(12), entry.2 + 1);
            }
            for (_, value) in packet.of_kind(3) {
                story.on_sack(packet.to, value);
            }
        }
        story
    }

    /// A SACK that goes to `end`.
    fn on_sack(&mut self, end: usize, value: &[u8]) {
        let (cumulative, counts) = (word(value, 0), word(value, 8));
        let (gaps, duplicates) = (counts as usize >> 16, counts as usize & 0xffff);
        let mut next = 1;
        for gap in 0..gaps {
            let block = word(value, 12 + 4 * gap);
            let missing = (next..(block >> 16).min(next + 256)).map(|off| cumulative.wrapping_add(off));
            self.missed[end].extend(missing);
            next = (block & 0xffff) + 1;
        }
        let twice = (0..duplicates.min(64)).map(|at| word(value, 12 + 4 * (gaps + at)));
        self.twice[end].extend(twice.filter(|tsn| *tsn != 0));
    }

    fn times(&self, end: usize, tsn: u32) -> usize {
        self.data[end].get(&tsn).map_or(0, |(_, _, times)| *times)
    }

    /// The messages that begin in a packet and were not sent before.
    fn messages(&self, packet: &Captured, seen: &Seen) -> Vec<Sent> {
        let begins = packet.of_kind(0).filter(|(flags, value)| {
            // A TSN that is not behind what was sent.
            flags & 2 != 0 && word(value, 0).wrapping_sub(seen.next_tsn) < 1 << 31
        });
        let sent = begins.map(|(flags, value)| Sent {
            stream: (word(value, 4) >> 16) as u16,
            unordered: flags & 4 != 0,
            immediate: flags & 8 != 0,
            bytes: self.length(packet.from(), word(value, 0)),
        });
        sent.collect()
    }

    /// Bytes of the message whose first fragment has this TSN.
    fn length(&self, end: usize, mut tsn: u32) -> usize {
        let mut bytes = 0;
        while let Some((more, flags, _)) = self.data[end].get(&tsn) {
            bytes += more;
            if flags & 1 != 0 {
                break;
            }
            tsn = tsn.wrapping_add(1);
        }
        bytes
    }
}

/// A length as a byte and a shift of at most `shift`: `offset + byte << shift` is not far from it.
fn length(bytes: usize, offset: usize, shift: u32) -> (u8, u32) {
    let bytes = bytes.saturating_sub(offset);
    let shift = (0..shift).find(|shift| bytes >> shift < 256).unwrap_or(shift);
    ((bytes >> shift).min(255) as u8, shift)
}

/// Time as jumps of powers of two: their exponents, the longest first.
fn jumps(time: Duration) -> impl Iterator<Item = u8> {
    let millis = time.as_millis().min(1 << 23) as u32;
    (0..24u8).rev().filter(move |bit| millis >> bit & 1 == 1).take(3)
}
