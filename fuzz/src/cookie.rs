//! Cookies before a listening stack: forged, altered, truncated, joined from two, replayed, stale, for other
//! addresses, ports and tags. Only one that is genuine, fresh and in its place is an incoming peer; every other
//! leaves nothing behind and, unless it is stale, hears nothing.

use crate::input::Input;
use crate::packets::{alter, fix_checksum};
use crate::seen::word;
use esock_proto::{
    Address, Config, Datagram, EndpointConfig, EndpointId, Local, SocketId, Stack, StackConfig, StackStats, Time,
};
use std::net::Ipv4Addr;
use std::time::Duration;

const PORT: u16 = 30400;
const STEPS: usize = 64;
/// Valid.Cookie.Life, and what a Cookie Preservative adds at most.
const LIFE: Duration = Duration::from_secs(60);
const MAX_LIFE: Duration = Duration::from_secs(120);

/// A cookie as the stack made it, and what it is for.
#[derive(Debug, Clone)]
struct Genuine {
    bytes: Vec<u8>,
    tag: u32,
    port: u16,
    addresses: Vec<Address>,
    made: Time,
    life: Duration,
}

struct Listener {
    stack: Stack,
    endpoint: EndpointId,
    now: Time,
    cookies: Vec<Genuine>,
    /// Local tags whose cookies have done their work.
    used: Vec<u32>,
    buf: Vec<u8>,
}

/// See the module.
pub fn run(data: &[u8]) {
    play(data);
}

/// Plays an input to its end; what the stack has counted.
pub fn play(data: &[u8]) -> StackStats {
    let mut input = Input::new(data);
    let mut listener = Listener::new(&mut input);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() & 7 {
            0 | 1 => listener.init(&mut input),
            2..=5 => listener.echo(&mut input),
            6 => listener.now = listener.now + Duration::from_millis(u64::from(input.u16()) * 4),
            _ => listener.raw(&mut input),
        }
    }
    listener.stack.stats()
}

fn ours() -> Address {
    Ipv4Addr::new(10, 0, 0, 2).into()
}

fn theirs(which: u8) -> Address {
    Ipv4Addr::new(10, 0, 1, 1 + which % 4).into()
}

impl Listener {
    fn new(input: &mut Input<'_>) -> Self {
        let mut config = Config::default();
        config.cookie_life = LIFE;
        config.inbound_streams = 1 + u16::from(input.byte());
        let mut stack = Stack::new(StackConfig::default(), [7; 32], Time::ZERO);
        let endpoint = stack
            .open(EndpointConfig { port: PORT, addresses: vec![ours()], host_addresses: Vec::new(), config })
            .expect("it can be opened");
        stack.set_accepting(endpoint, true);
        let now = Time::from_millis(1000);
        Self { stack, endpoint, now, cookies: Vec::new(), used: Vec::new(), buf: vec![0; 1 << 16] }
    }

    fn deliver(&mut self, from: Address, packet: &[u8]) -> StackStats {
        let before = self.stack.stats();
        self.stack.handle_datagram(
            self.now,
            Datagram {
                local: Local { address: Some(ours()), socket: Some(SocketId(0)), interface: 0 },
                remote: from,
                encap_port: Some(9899),
                ecn: None,
                data: packet,
            },
        );
        self.stack.check_invariants();
        before
    }

    /// What the stack has to send: at most one packet for one packet.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let transmit = self.stack.poll_transmit(self.now, 10, &mut self.buf)?;
        let answer = self.buf[..transmit.size].to_vec();
        assert!(self.stack.poll_transmit(self.now, 10, &mut self.buf).is_none(), "two answers to one packet");
        Some(answer)
    }

    /// An INIT, and the cookie that comes of it.
    fn init(&mut self, input: &mut Input<'_>) {
        let which = input.byte();
        let (from, port) = (theirs(which), 5000 + u16::from(which >> 6));
        let tag = 0x1111_0000 + u32::from(input.byte());
        let mut packet = header(port, 0);
        let begin = packet.len();
        packet.extend_from_slice(&[1, 0, 0, 0]);
        packet.extend_from_slice(&tag.to_be_bytes());
        packet.extend_from_slice(&100_000u32.to_be_bytes());
        packet.extend_from_slice(&[0, 10, 0, 1 + (which & 0x0f)]);
        packet.extend_from_slice(&input.u32().to_be_bytes());
        let mut addresses = vec![from];
        let mut life = LIFE;
        for _ in 0..input.byte() & 3 {
            match input.byte() & 3 {
                0 | 1 => {
                    let more = theirs(input.byte());
                    let std::net::IpAddr::V4(v4) = more.ip() else { return };
                    packet.extend_from_slice(&[0, 5, 0, 8]);
                    packet.extend_from_slice(&v4.octets());
                    addresses.push(more);
                }
                2 => {
                    let millis = input.u32();
                    packet.extend_from_slice(&[0, 9, 0, 8]);
                    packet.extend_from_slice(&millis.to_be_bytes());
                    life = (LIFE + Duration::from_millis(millis.into())).min(MAX_LIFE);
                }
                _ => {
                    packet.extend_from_slice(&[0xc0, 6, 0, 8]);
                    packet.extend_from_slice(&input.u32().to_be_bytes());
                }
            }
        }
        let length = (packet.len() - begin) as u16;
        packet[begin + 2..begin + 4].copy_from_slice(&length.to_be_bytes());
        fix_checksum(&mut packet);
        let before = self.deliver(from, &packet);
        let after = self.stack.stats();
        assert_eq!((before.associations, before.associations_total), (after.associations, after.associations_total));
        assert!(self.stack.poll_incoming().is_none(), "an INIT is no peer yet");
        let Some(answer) = self.answer() else { return };
        let mut seen = crate::seen::Seen::default();
        seen.note(&answer);
        let bytes = seen.cookie;
        if !bytes.is_empty() {
            // The last preservative counts.
            let local_tag = word(&answer, 16);
            self.cookies.push(Genuine { bytes, tag: local_tag, port, addresses, made: self.now, life });
        }
    }

    /// COOKIE ECHO with a cookie of ours, or what is left of it.
    fn echo(&mut self, input: &mut Input<'_>) {
        let Some(at) = self.cookies.len().checked_sub(1 + input.below(8)) else { return };
        let genuine = self.cookies[at].clone();
        let mut bytes = genuine.bytes.clone();
        match input.below(8) {
            0..=2 => {}
            3 | 4 => alter(input, &mut bytes, 0),
            5 => {
                // The body of one with the MAC of another.
                let other = &self.cookies[input.below(self.cookies.len().min(256))].bytes;
                let (body, mac) = (bytes.len().saturating_sub(32), other.len().saturating_sub(32));
                bytes.truncate(body);
                bytes.extend_from_slice(&other[mac..]);
            }
            6 => bytes = [bytes.as_slice(), input.blob()].concat(),
            _ => bytes.truncate(input.byte().into()),
        }
        let place = input.byte();
        let from = if place & 0x0c == 0x0c { theirs(input.byte()) } else { genuine.addresses[0] };
        let port = if place & 0x30 == 0x30 { 5000 + u16::from(input.byte()) } else { genuine.port };
        let tag = if place & 0xc0 == 0xc0 { input.u32().max(1) } else { genuine.tag };
        self.present(from, port, tag, &bytes);
    }

    /// COOKIE ECHO with anything.
    fn raw(&mut self, input: &mut Input<'_>) {
        let (from, port, tag) = (theirs(input.byte()), 5000, input.u32().max(1));
        let bytes = input.blob().to_vec();
        self.present(from, port, tag, &bytes);
    }

    fn present(&mut self, from: Address, port: u16, tag: u32, bytes: &[u8]) {
        let mut packet = header(port, tag);
        packet.extend_from_slice(&[10, 0]);
        packet.extend_from_slice(&((4 + bytes.len()) as u16).to_be_bytes());
        packet.extend_from_slice(bytes);
        packet.resize(packet.len().next_multiple_of(4), 0);
        fix_checksum(&mut packet);
        let genuine = self.cookies.iter().find(|genuine| genuine.bytes == bytes).cloned();
        let in_place = genuine
            .as_ref()
            .is_some_and(|genuine| genuine.port == port && genuine.tag == tag && genuine.addresses.contains(&from));
        let age = genuine.as_ref().map_or(Duration::ZERO, |genuine| self.now.since(genuine.made));
        let stale = genuine.as_ref().is_some_and(|genuine| age > genuine.life);
        let before = self.deliver(from, &packet);
        let after = self.stack.stats();
        let incoming = self.stack.poll_incoming();
        let answer = self.answer();
        if let Some(incoming) = incoming {
            assert!(in_place && !stale, "a peer came of a cookie that is not its own");
            assert!(!self.used.contains(&tag), "a cookie was taken twice");
            assert_eq!((incoming.endpoint(), incoming.remote(), incoming.port()), (self.endpoint, from, port));
            // Refused, it may not come again; ignored, it may.
            if tag & 1 == 0 {
                self.stack.refuse(self.now, incoming, b"no");
                self.used.push(tag);
                assert!(self.answer().is_some(), "a refusal is told");
            } else {
                self.stack.ignore(incoming);
            }
        } else if !in_place {
            assert_eq!(after.bad_cookies, before.bad_cookies + 1, "a bad cookie is counted");
            assert!(answer.is_none(), "a bad cookie is not answered");
        } else if stale && after.stale_cookies > before.stale_cookies {
            let answer = answer.expect("a stale cookie is told");
            // RFC 9260 §3.3.10.3: an ERROR chunk with cause 3, and by how many microseconds it is too late.
            assert_eq!((answer[12], &answer[16..18]), (9, &[0, 3][..]));
        }
        self.stack.check_invariants();
        assert_eq!((after.associations, after.associations_total), (0, 0), "nothing is made of a cookie alone");
    }
}

fn header(port: u16, tag: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(256);
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&PORT.to_be_bytes());
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet
}
