//! Packets made by hand and read strictly, and the names by which they are written in a line.

use esock_proto::*;

pub const DATA: u8 = 0;
pub const INIT: u8 = 1;
pub const INIT_ACK: u8 = 2;
pub const SACK: u8 = 3;
pub const HEARTBEAT: u8 = 4;
pub const HEARTBEAT_ACK: u8 = 5;
pub const ABORT: u8 = 6;
pub const SHUTDOWN: u8 = 7;
pub const SHUTDOWN_ACK: u8 = 8;
pub const ERROR: u8 = 9;
pub const COOKIE_ECHO: u8 = 10;
pub const COOKIE_ACK: u8 = 11;
pub const SHUTDOWN_COMPLETE: u8 = 14;

/// The stack's port and the peer's.
pub const PORT: u16 = 5000;
pub const PEER_PORT: u16 = 6000;
/// The peer's Initiate Tag and first TSN.
pub const PEER_TAG: u32 = 0x0a0b_0c0d;
pub const PEER_TSN: u32 = 1000;
/// The Initiate Tag of another INIT of the peer.
pub const NEW_TAG: u32 = 0x0e0e_0e0e;
/// A tag that is nobody's.
pub const WRONG_TAG: u32 = 0x5757_5757;
/// The peer's window.
pub const PEER_RWND: u32 = 100_000;

/// The stack's address on a path.
pub fn local(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 1).into()
}

/// The peer's address on a path.
pub fn remote(path: u8) -> Address {
    std::net::Ipv4Addr::new(10, path, 0, 2).into()
}

/// A chunk as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub kind: u8,
    pub flags: u8,
    pub value: Vec<u8>,
}

/// A packet as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Time,
    pub remote: Address,
    pub tag: u32,
    pub size: usize,
    pub chunks: Vec<Chunk>,
}

impl Sent {
    pub fn has(&self, kind: u8) -> bool {
        self.chunks.iter().any(|chunk| chunk.kind == kind)
    }
}

pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend_from_slice(&(4 + value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// An INIT or INIT ACK with these parameters.
pub fn init(kind: u8, tag: u32, params: &[u8]) -> Vec<u8> {
    let mut value = [tag.to_be_bytes(), PEER_RWND.to_be_bytes()].concat();
    value.extend_from_slice(&[0, 10, 0, 10]);
    value.extend_from_slice(&PEER_TSN.to_be_bytes());
    value.extend_from_slice(params);
    chunk(kind, 0, &value)
}

pub fn address_params(addresses: &[Address]) -> Vec<u8> {
    let octets = |address: &Address| match address.ip() {
        std::net::IpAddr::V4(v4) => v4.octets(),
        std::net::IpAddr::V6(_) => panic!("the laboratory speaks IPv4"),
    };
    addresses.iter().flat_map(|address| [&[0, 5, 0, 8][..], &octets(address)].concat()).collect()
}

/// The peer's `number`th DATA chunk, counted from 1: a whole message on stream 0.
pub fn data(number: u32, payload: &[u8]) -> Vec<u8> {
    data_chunk(number, 3, 0, number as u16 - 1, payload)
}

pub fn data_chunk(number: u32, flags: u8, stream: u16, ssn: u16, payload: &[u8]) -> Vec<u8> {
    let mut value = PEER_TSN.wrapping_add(number).wrapping_sub(1).to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(payload);
    chunk(DATA, flags, &value)
}

pub fn sack(cumulative: u32, a_rwnd: u32, gaps: &[(u16, u16)], dups: &[u32]) -> Vec<u8> {
    let mut value = [cumulative.to_be_bytes(), a_rwnd.to_be_bytes()].concat();
    value.extend_from_slice(&(gaps.len() as u16).to_be_bytes());
    value.extend_from_slice(&(dups.len() as u16).to_be_bytes());
    for (from, to) in gaps {
        value.extend_from_slice(&from.to_be_bytes());
        value.extend_from_slice(&to.to_be_bytes());
    }
    dups.iter().for_each(|dup| value.extend_from_slice(&dup.to_be_bytes()));
    chunk(SACK, 0, &value)
}

pub fn shutdown(cumulative: u32) -> Vec<u8> {
    chunk(SHUTDOWN, 0, &cumulative.to_be_bytes())
}

/// A packet, with its checksum.
pub fn packet(source: u16, destination: u16, tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
    chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out) as u32;
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a packet of the stack, strictly: checksum, ports, and not a byte behind the last chunk.
pub fn parse(at: Time, remote: Address, data: &[u8]) -> Sent {
    let mut zeroed = data.to_vec();
    zeroed[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &zeroed) as u32;
    assert_eq!(data[8..12], crc.to_le_bytes(), "§6.8: checksum");
    assert_eq!(half(data, 2), PEER_PORT, "destination port");
    let mut chunks = Vec::new();
    let mut rest = &data[12..];
    while !rest.is_empty() {
        let length = usize::from(half(rest, 2));
        let padded = length.next_multiple_of(4);
        assert!(length >= 4 && padded <= rest.len(), "§3.2: chunk length {length} in {} bytes", rest.len());
        assert!(rest[length..padded].iter().all(|byte| *byte == 0), "§3.2: padding is zero");
        chunks.push(Chunk { kind: rest[0], flags: rest[1], value: rest[4..length].to_vec() });
        rest = &rest[padded..];
    }
    assert!(!chunks.is_empty(), "§3: a packet has a chunk");
    check_bundle(&chunks);
    Sent { at, remote, tag: word(data, 4), size: data.len(), chunks }
}

/// What §6.10 says of every packet that is sent.
fn check_bundle(chunks: &[Chunk]) {
    let kinds: Vec<u8> = chunks.iter().map(|chunk| chunk.kind).collect();
    for alone in [INIT, INIT_ACK, SHUTDOWN_COMPLETE] {
        assert!(!kinds.contains(&alone) || kinds.len() == 1, "§6.10: never bundled: {kinds:?}");
    }
    let first_data = kinds.iter().position(|kind| *kind == DATA).unwrap_or(kinds.len());
    let behind = &kinds[first_data..];
    // RFC 4820: PAD comes last.
    assert!(behind.iter().all(|kind| matches!(*kind, DATA | 0x84)), "§6.10: control chunks first: {kinds:?}");
    if behind.contains(&DATA) {
        for never in [ABORT, SHUTDOWN, SHUTDOWN_ACK] {
            assert!(!kinds.contains(&never), "§9.1, §6.10: no DATA with {never}: {kinds:?}");
        }
    }
    for first in [COOKIE_ECHO, COOKIE_ACK] {
        let at = kinds.iter().position(|kind| *kind == first);
        assert!(at.is_none_or(|at| at == 0), "§5.1: first in its packet: {kinds:?}");
    }
    let tsns: Vec<u32> = chunks.iter().filter(|chunk| chunk.kind == DATA).map(|chunk| word(&chunk.value, 0)).collect();
    assert!(tsns.windows(2).all(|pair| (pair[1].wrapping_sub(pair[0]) as i32) > 0), "§6.10: TSNs rise: {tsns:?}");
    assert!(kinds.iter().filter(|kind| **kind == SACK).count() <= 1, "§6.2: one SACK: {kinds:?}");
}

pub fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The parameters or causes in `bytes`.
pub fn tlvs(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while rest.len() >= 4 {
        let length = usize::from(half(rest, 2));
        assert!(length >= 4 && length <= rest.len(), "§3.2.1: parameter length {length} in {} bytes", rest.len());
        all.push((half(rest, 0), rest[4..length].to_vec()));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// The value of a parameter.
pub fn param(bytes: &[u8], kind: u16) -> Option<Vec<u8>> {
    tlvs(bytes).into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub fn same_path(one: Address, other: Address) -> bool {
    match (one.ip(), other.ip()) {
        (std::net::IpAddr::V4(one), std::net::IpAddr::V4(other)) => one.octets()[..2] == other.octets()[..2],
        _ => false,
    }
}

pub fn name_of_chunk(kind: u8) -> String {
    const NAMES: [&str; 15] = [
        "DATA",
        "INIT",
        "INIT_ACK",
        "SACK",
        "HEARTBEAT",
        "HEARTBEAT_ACK",
        "ABORT",
        "SHUTDOWN",
        "SHUTDOWN_ACK",
        "ERROR",
        "COOKIE_ECHO",
        "COOKIE_ACK",
        "ECNE",
        "CWR",
        "SHUTDOWN_COMPLETE",
    ];
    NAMES.get(usize::from(kind)).map_or_else(|| format!("{kind:#x}"), |name| (*name).to_owned())
}

pub fn name_of_state(state: Option<State>) -> &'static str {
    match state {
        None => "NONE",
        Some(State::CookieWait) => "COOKIE-WAIT",
        Some(State::CookieEchoed) => "COOKIE-ECHOED",
        Some(State::Established) => "ESTABLISHED",
        Some(State::ShutdownPending) => "SHUTDOWN-PENDING",
        Some(State::ShutdownSent) => "SHUTDOWN-SENT",
        Some(State::ShutdownReceived) => "SHUTDOWN-RECEIVED",
        Some(State::ShutdownAckSent) => "SHUTDOWN-ACK-SENT",
        Some(State::Closed) => "CLOSED",
    }
}

pub fn name_of_event(event: &Event) -> String {
    let variant = |text: String| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
    match event {
        Event::Closed(CloseReason::ProtocolViolation { cause, .. }) => format!("Closed(ProtocolViolation:{cause})"),
        Event::Closed(reason) => format!("Closed({})", variant(format!("{reason:?}"))),
        Event::PeerError { cause, .. } => format!("PeerError({cause})"),
        Event::Path { path, state, .. } => format!("Path{}({state:?})", path.0),
        Event::PathInUse { path, .. } => format!("PathInUse({})", path.0),
        Event::Undelivered(back) => (if back.maybe_received { "Unacked" } else { "Unsent" }).to_owned(),
        other => variant(format!("{other:?}")),
    }
}
