//! Packets as the peers sent them, read without the help of any of the stacks.

/// Types of chunks and parameters by their names in the RFCs.
pub mod code {
    #![expect(missing_docs, reason = "the names are the RFCs'")]
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
    pub const I_DATA: u8 = 64;
    pub const ASCONF_ACK: u8 = 128;
    pub const RE_CONFIG: u8 = 130;
    pub const PAD: u8 = 132;
    pub const FORWARD_TSN: u8 = 192;
    pub const ASCONF: u8 = 193;
    pub const I_FORWARD_TSN: u8 = 194;
    pub const AUTH: u8 = 15;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    pub const UNRECOGNIZED_PARAMETER: u16 = 8;
    pub const SUPPORTED_ADDRESS_TYPES: u16 = 12;
    pub const SUPPORTED_EXTENSIONS: u16 = 0x8008;
    pub const ZERO_CHECKSUM_ACCEPTABLE: u16 = 0x8001;
    pub const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
}

/// A chunk: type, flags and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its value.
    pub value: &'a [u8],
}

impl Chunk<'_> {
    /// Whether it is of this type and has the T bit: the packet's verification tag is its receiver's own.
    pub fn is_reflected(&self, kind: u8) -> bool {
        self.kind == kind && self.flags & 1 == 1
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The 32 bits at an offset.
pub fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The chunks of a packet.
///
/// # Panics
/// If they do not fill the packet exactly, padding included: no stack here sends such.
pub fn chunks(packet: &[u8]) -> Vec<Chunk<'_>> {
    let (mut chunks, mut at) = (Vec::new(), 12);
    while at < packet.len() {
        let length = usize::from(u16_at(packet, at + 2));
        assert!(length >= 4 && at + length <= packet.len(), "a chunk of length {length} at {at} of {packet:02x?}");
        chunks.push(Chunk { kind: packet[at], flags: packet[at + 1], value: &packet[at + 4..at + length] });
        at += length.next_multiple_of(4);
    }
    chunks
}

/// What an INIT or INIT ACK says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// The receive window, in bytes.
    pub a_rwnd: u32,
    /// Streams out and in.
    pub streams: (u16, u16),
    /// The initial TSN.
    pub tsn: u32,
    /// Parameters: types and values.
    pub parameters: Vec<(u16, Vec<u8>)>,
}

impl Init {
    /// Reads the value of an INIT or INIT ACK chunk.
    pub fn parse(value: &[u8]) -> Self {
        let (mut parameters, mut at) = (Vec::new(), 16);
        while at + 4 <= value.len() {
            let length = usize::from(u16_at(value, at + 2)).max(4);
            parameters.push((u16_at(value, at), value[at + 4..at + length].to_vec()));
            at += length.next_multiple_of(4);
        }
        let streams = (u16_at(value, 8), u16_at(value, 10));
        Self { a_rwnd: word_at(value, 4), streams, tsn: word_at(value, 12), parameters }
    }

    /// The value of a parameter.
    pub fn parameter(&self, kind: u16) -> Option<&[u8]> {
        self.parameters.iter().find(|parameter| parameter.0 == kind).map(|(_, value)| value.as_slice())
    }

    /// The extensions that it announces, by name, sorted.
    pub fn extensions(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for kind in self.parameter(code::SUPPORTED_EXTENSIONS).unwrap_or_default() {
            names.push(match *kind {
                code::AUTH => "AUTH",
                code::ASCONF | code::ASCONF_ACK => "ASCONF",
                code::RE_CONFIG => "RE-CONFIG",
                code::FORWARD_TSN => "FORWARD-TSN",
                code::I_DATA | code::I_FORWARD_TSN => "I-DATA",
                _ => "others",
            });
        }
        names.extend(self.parameter(code::FORWARD_TSN_SUPPORTED).map(|_| "FORWARD-TSN"));
        names.extend(self.parameter(code::ZERO_CHECKSUM_ACCEPTABLE).map(|_| "zero checksum"));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// An INIT packet without a parameter; any other packet as it is.
pub fn init_without(packet: &[u8], parameter: u16) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let mut at = 12 + 4 + 16;
    while packet[12] == code::INIT && at + 4 <= packet.len() {
        let length = usize::from(u16_at(&packet, at + 2)).max(4).next_multiple_of(4);
        if u16_at(&packet, at) == parameter {
            packet.drain(at..at + length);
        } else {
            at += length;
        }
    }
    if packet[12] == code::INIT {
        // One chunk: its length is that of the packet; the last parameter's padding does no harm in it.
        let length = (packet.len() - 12) as u16;
        packet[14..16].copy_from_slice(&length.to_be_bytes());
        seal(&mut packet);
    }
    packet
}

/// Writes the checksum of a packet that was changed.
pub fn seal(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let sum = crc32c(packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
}

/// RFC 9260 Appendix A, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value of the CRC's usual parameter tables.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_parameter_is_taken_out_of_an_init() {
        let [types, other] = [[0, 12, 0, 6, 0, 5, 0, 0], [0x80, 8, 0, 8, 1, 2, 3, 4]];
        let init = |parameters: &[u8]| {
            let length = [0, 20 + parameters.len() as u8];
            let mut packet = [&[0; 12][..], &[1, 0], &length, &[7; 16], parameters].concat();
            seal(&mut packet);
            packet
        };
        assert_eq!(init_without(&init(&[types, other].concat()), 12), init(&other));
        assert_eq!(init_without(&init(&types), 12), init(&[]));
        assert_eq!(init_without(&init(&other), 12), init(&other));
    }
}
