//! A capture as steps of `cookie`: every INIT that the listener heard, and every COOKIE ECHO, genuine or not.

use super::{Capture, Captured, word};
use crate::seen::Seen;
use std::net::IpAddr;
use std::time::Duration;

/// Steps of one input at most.
const STEPS: usize = 60;
/// A unit of time, in milliseconds.
const UNIT: u128 = 4;

/// A cookie as end 1 made it: its bytes, its tag, where its INIT came from, and from which port.
struct Made {
    bytes: Vec<u8>,
    tag: u32,
    from: IpAddr,
    port: u16,
}

/// The input that plays what the capture has of cookies; `None` where it has none.
pub(super) fn seed(capture: &Capture) -> Option<Vec<u8>> {
    let mut teller = Teller { out: vec![9], cookies: Vec::new(), addresses: Vec::new(), ports: Vec::new() };
    let (mut init, mut last, mut steps) = (None, None, 0);
    for packet in &capture.packets {
        let interesting = [1, 10].iter().any(|kind| packet.of_kind(*kind).next().is_some());
        if packet.to == 0 {
            teller.answered(packet, init);
        } else if interesting && steps < STEPS {
            steps += 1 + teller.time(packet.at.saturating_sub(last.replace(packet.at).unwrap_or(packet.at)));
            if let Some((_, value)) = packet.of_kind(1).next() {
                init = Some((packet.source, port(packet)));
                teller.init(packet, value);
            } else if let Some((_, value)) = packet.of_kind(10).next() {
                teller.echo(packet, value);
            }
        }
    }
    (steps > 0).then_some(teller.out)
}

fn port(packet: &Captured) -> u16 {
    (word(&packet.data, 0) >> 16) as u16
}

struct Teller {
    out: Vec<u8>,
    cookies: Vec<Made>,
    addresses: Vec<IpAddr>,
    ports: Vec<u16>,
}

/// Where something is in a list; it is put there if it is not.
fn place<T: PartialEq>(list: &mut Vec<T>, wanted: T) -> u8 {
    let at = list.iter().position(|known| *known == wanted).unwrap_or(list.len());
    if at == list.len() {
        list.push(wanted);
    }
    at.min(255) as u8
}

impl Teller {
    /// Time passes. Returns how many steps it takes.
    fn time(&mut self, time: Duration) -> usize {
        let units = (time.as_millis() / UNIT).min(u16::MAX.into()) as u16;
        if units == 0 {
            return 0;
        }
        let [high, low] = units.to_be_bytes();
        self.out.extend_from_slice(&[6, high, low]);
        1
    }

    /// The stack has sent a cookie.
    fn answered(&mut self, packet: &Captured, init: Option<(IpAddr, u16)>) {
        let mut seen = Seen::default();
        seen.note(&packet.data);
        if let (false, Some((from, port)), Some(tag)) = (seen.cookie.is_empty(), init, seen.tags.first()) {
            self.cookies.push(Made { bytes: seen.cookie, tag: *tag, from, port });
        }
    }

    fn init(&mut self, packet: &Captured, value: &[u8]) {
        let which = place(&mut self.addresses, packet.source) & 3;
        let port = place(&mut self.ports, port(packet)).min(3);
        self.out.extend_from_slice(&[0, which | port << 6, word(value, 0) as u8]);
        self.out.extend_from_slice(&word(value, 12).to_be_bytes());
        let mut rest = value.get(16..).unwrap_or_default();
        let mut params = Vec::new();
        while let [high, low, long, short, ..] = *rest {
            let length = usize::from(u16::from_be_bytes([long, short]));
            let Some(value) = rest.get(4..length) else { break };
            params.push((u16::from_be_bytes([high, low]), value));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        params.truncate(3);
        self.out.push(params.len() as u8);
        for (kind, value) in params {
            let number = word(value, 0);
            match kind {
                5 => {
                    let which = place(&mut self.addresses, std::net::Ipv4Addr::from_bits(number).into());
                    self.out.extend_from_slice(&[0, which & 3]);
                }
                9 => self.out.extend_from_slice(&[&[2][..], &number.to_be_bytes()].concat()),
                _ => self.out.extend_from_slice(&[&[3][..], &number.to_be_bytes()].concat()),
            }
        }
    }

    fn echo(&mut self, packet: &Captured, bytes: &[u8]) {
        // The cookie that it begins like, if any: a MAC is no beginning.
        let alike = |made: &Made| made.bytes.iter().zip(bytes).filter(|(one, other)| one == other).count();
        let best = self.cookies.iter().enumerate().rev().max_by_key(|(_, made)| alike(made));
        let which = place(&mut self.addresses, packet.source) & 3;
        let tag = word(&packet.data, 4);
        let Some((at, made)) = best.filter(|(_, made)| alike(made) * 2 > bytes.len().min(made.bytes.len())) else {
            let bytes = &bytes[..bytes.len().min(255)];
            self.out.extend_from_slice(&[7, which]);
            self.out.extend_from_slice(&tag.to_be_bytes());
            self.out.push(bytes.len() as u8);
            self.out.extend_from_slice(bytes);
            return;
        };
        self.out.extend_from_slice(&[2, (self.cookies.len() - 1 - at).min(7) as u8]);
        self.out.extend_from_slice(&difference(&made.bytes, bytes));
        let (mut place, mut more) = (0, Vec::new());
        if packet.source != made.from {
            place |= 0x0c;
            more.push(which);
        }
        let port = port(packet);
        if port != made.port {
            place |= 0x30;
            more.push(self.ports.iter().position(|known| *known == port).unwrap_or(9) as u8);
        }
        if tag != made.tag {
            place |= 0xc0;
            more.extend_from_slice(&tag.to_be_bytes());
        }
        self.out.push(place);
        self.out.extend_from_slice(&more);
    }
}

/// How a cookie differs from the genuine one.
fn difference(genuine: &[u8], bytes: &[u8]) -> Vec<u8> {
    if genuine == bytes {
        vec![0]
    } else if bytes.len() < genuine.len() {
        vec![7, bytes.len().min(255) as u8]
    } else if let Some(more) = bytes.strip_prefix(genuine) {
        let more = &more[..more.len().min(255)];
        [&[6, more.len() as u8], more].concat()
    } else {
        let differs = genuine.iter().zip(bytes).enumerate().filter(|(_, (one, other))| one != other);
        let all: Vec<_> = differs.map(|(at, (_, byte))| (at as u16, *byte)).take(3).collect();
        let changes = all.iter().flat_map(|(at, byte)| [(at >> 8) as u8, *at as u8, 1, *byte]);
        [3, all.len().saturating_sub(1) as u8].into_iter().chain(changes).collect()
    }
}
