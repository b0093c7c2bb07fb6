//! The common header (RFC 9260 §3.1) and its checksum (§6.8, Appendix A).

use super::{Malformed, u16_at, u32_at};
use crate::types::VerificationTag;
use crc_fast::{CrcAlgorithm, checksum};

/// Bytes of the common header.
pub const HEADER_BYTES: usize = 12;
/// Bytes of a chunk's type, flags and length.
pub const CHUNK_HEADER_BYTES: usize = 4;

/// The common header, without its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Verification tag.
    pub tag: VerificationTag,
}

impl Header {
    /// Reads the header in front of `packet`.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        // A packet has at least one chunk header behind the common header (RFC 9260 §3).
        if packet.len() < HEADER_BYTES + CHUNK_HEADER_BYTES {
            return Err(Malformed("packet too short"));
        }
        match (u16_at(packet, 0), u16_at(packet, 2), u32_at(packet, 4)) {
            // RFC 9260 §3.1: port 0 must not be used.
            (Some(0), _, _) | (_, Some(0), _) => Err(Malformed("port 0")),
            (Some(source), Some(destination), Some(tag)) => Ok(Self { source, destination, tag: VerificationTag(tag) }),
            _ => Err(Malformed("packet too short")),
        }
    }

    pub(super) fn write(self, packet: &mut [u8]) {
        packet[0..2].copy_from_slice(&self.source.to_be_bytes());
        packet[2..4].copy_from_slice(&self.destination.to_be_bytes());
        packet[4..8].copy_from_slice(&self.tag.0.to_be_bytes());
        packet[8..12].fill(0);
    }
}

/// Whether the CRC32c of `packet` is right.
pub fn checksum_ok(packet: &[u8]) -> bool {
    let Some(field) = packet.get(8..HEADER_BYTES) else { return false };
    // The checksum is computed with its own field as zeros: header and rest are two updates of one digest.
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
    let mut head = [0; HEADER_BYTES];
    head[..8].copy_from_slice(&packet[..8]);
    digest.update(&head);
    digest.update(&packet[HEADER_BYTES..]);
    // RFC 9260 Appendix A: the least significant byte goes first.
    (digest.finalize() as u32).to_le_bytes() == field
}

/// Computes the CRC32c of `packet` and writes it to its field.
pub fn write_checksum(packet: &mut [u8]) {
    packet[8..HEADER_BYTES].fill(0);
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, packet) as u32;
    packet[8..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: RFC 9260 §6.8-1, §6.8-2
    #[test]
    fn the_checksum_is_crc32c_with_its_field_as_zeros() {
        let mut packet = vec![0u8; 40];
        for (at, byte) in packet.iter_mut().enumerate() {
            *byte = at as u8;
        }
        write_checksum(&mut packet);
        assert!(checksum_ok(&packet));
        for at in 0..packet.len() {
            packet[at] ^= 0x10;
            assert!(!checksum_ok(&packet), "a flip in byte {at} goes unnoticed");
            packet[at] ^= 0x10;
        }
        // RFC 3720 B.4: 32 bytes of zeros have CRC32c 0x8A9136AA, least significant byte first on the wire.
        let mut zeros = [0u8; 32];
        write_checksum(&mut zeros);
        assert_eq!(zeros[8..12], [0xaa, 0x36, 0x91, 0x8a]);
    }

    #[test]
    fn short_packets_and_port_zero_are_refused() {
        assert!(Header::parse(&[0; 15]).is_err());
        assert!(Header::parse(&[0; 16]).is_err());
        let mut packet = [0; 16];
        packet[1] = 1;
        packet[3] = 2;
        assert_eq!(Header::parse(&packet).unwrap().destination, 2);
    }
}
