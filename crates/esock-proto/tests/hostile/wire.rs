//! Packets made by hand, and read by hand: nothing here uses the code under test.

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

/// Bytes of the IPv4 and UDP headers that each packet of ours travels in.
pub const LOWER_HEADERS: usize = 28;

/// A chunk, padded.
pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    chunk_of_length(kind, flags, 4 + value.len(), value)
}

/// A chunk that claims a length.
pub fn chunk_of_length(kind: u8, flags: u8, length: usize, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A parameter or cause, padded.
pub fn param(kind: u16, value: &[u8]) -> Vec<u8> {
    param_of_length(kind, 4 + value.len(), value)
}

/// A parameter or cause that claims a length.
pub fn param_of_length(kind: u16, length: usize, value: &[u8]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A packet with its checksum.
pub fn packet(source: u16, destination: u16, tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut out = [&source.to_be_bytes()[..], &destination.to_be_bytes(), &tag.to_be_bytes(), &[0; 4]].concat();
    out.extend_from_slice(chunks);
    seal(&mut out);
    out
}

/// Writes the right checksum.
pub fn seal(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, packet) as u32;
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// The fixed part of an INIT or INIT ACK.
#[derive(Clone, Copy)]
pub struct InitFields {
    pub tag: u32,
    pub a_rwnd: u32,
    pub outbound: u16,
    pub inbound: u16,
    pub tsn: u32,
}

impl Default for InitFields {
    fn default() -> Self {
        Self { tag: 0x7e57_0001, a_rwnd: 1 << 20, outbound: 10, inbound: 10, tsn: 1000 }
    }
}

impl InitFields {
    pub fn bytes(self) -> Vec<u8> {
        let streams = [self.outbound.to_be_bytes(), self.inbound.to_be_bytes()].concat();
        [&self.tag.to_be_bytes()[..], &self.a_rwnd.to_be_bytes(), &streams, &self.tsn.to_be_bytes()].concat()
    }

    /// An INIT with these parameters.
    pub fn init(self, params: &[u8]) -> Vec<u8> {
        chunk(INIT, 0, &[&self.bytes()[..], params].concat())
    }
}

/// The value of a SACK.
pub fn sack(cumulative: u32, a_rwnd: u32, gaps: &[(u16, u16)], duplicates: &[u32]) -> Vec<u8> {
    let mut value = [cumulative.to_be_bytes(), a_rwnd.to_be_bytes()].concat();
    value.extend_from_slice(&(gaps.len() as u16).to_be_bytes());
    value.extend_from_slice(&(duplicates.len() as u16).to_be_bytes());
    for (start, end) in gaps {
        value.extend_from_slice(&start.to_be_bytes());
        value.extend_from_slice(&end.to_be_bytes());
    }
    duplicates.iter().for_each(|tsn| value.extend_from_slice(&tsn.to_be_bytes()));
    chunk(SACK, 0, &value)
}

/// A DATA chunk.
pub fn data(flags: u8, tsn: u32, stream: u16, ssn: u16, payload: &[u8]) -> Vec<u8> {
    let head = [&tsn.to_be_bytes()[..], &stream.to_be_bytes(), &ssn.to_be_bytes(), &[0; 4]].concat();
    chunk(DATA, flags, &[&head[..], payload].concat())
}

/// The chunks of a well-formed packet: kind, flags, value without padding.
pub fn chunks(packet: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut out = Vec::new();
    let mut at = 12;
    while at < packet.len() {
        let length = usize::from(u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
        assert!(length >= 4 && at + length <= packet.len(), "the stack has sent nonsense: {packet:02x?}");
        out.push((packet[at], packet[at + 1], packet[at + 4..at + length].to_vec()));
        at += length.next_multiple_of(4);
    }
    assert_eq!(at, packet.len(), "padding is complete");
    out
}

/// The kinds of the chunks of a packet.
pub fn kinds(packet: &[u8]) -> Vec<u8> {
    chunks(packet).into_iter().map(|chunk| chunk.0).collect()
}

/// Parameters or causes: kind and value.
pub fn params(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        assert!(length >= 4 && at + length <= bytes.len(), "the stack has sent nonsense: {bytes:02x?}");
        out.push((u16::from_be_bytes([bytes[at], bytes[at + 1]]), bytes[at + 4..at + length].to_vec()));
        at += length.next_multiple_of(4);
    }
    out
}

pub fn tag_of(packet: &[u8]) -> u32 {
    u32_at(packet, 4)
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
