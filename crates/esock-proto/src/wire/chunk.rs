//! Chunks: the one iterator that walks them (RFC 9260 §3.2).

use super::{CHUNK_HEADER_BYTES, Malformed, padded, u16_at};

/// Chunk types (RFC 9260 §3.2).
pub mod kind {
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
    pub const ECNE: u8 = 12;
    pub const CWR: u8 = 13;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    /// RFC 4820.
    pub const PAD: u8 = 0x84;
}

/// The T bit of ABORT and SHUTDOWN COMPLETE (RFC 9260 §3.3.7, §3.3.13).
pub const T_BIT: u8 = 1;

/// A chunk, its value not yet looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The type, see [`kind`].
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// What follows the chunk header, without padding.
    pub value: &'a [u8],
    /// The whole chunk as it stands, without padding: what an ERROR quotes.
    pub raw: &'a [u8],
}

impl Chunk<'_> {
    /// Whether the T bit is set: the verification tag is the sender's own, reflected.
    pub fn has_t_bit(&self) -> bool {
        self.flags & T_BIT != 0
    }
}

/// What to do with a chunk or parameter of unknown type, by its two high bits (RFC 9260 §3.2, §3.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAction {
    /// Go on with what follows, else stop.
    pub skip: bool,
    /// Report it to the sender.
    pub report: bool,
}

impl UnknownAction {
    /// From the two highest bits, in the low bits of `bits`.
    pub fn from_bits(bits: u8) -> Self {
        Self { skip: bits & 2 != 0, report: bits & 1 != 0 }
    }

    /// For a chunk type.
    pub fn of_chunk(kind: u8) -> Self {
        Self::from_bits(kind >> 6)
    }

    /// For a parameter type.
    pub fn of_param(kind: u16) -> Self {
        Self::from_bits((kind >> 14) as u8)
    }
}

/// Walks the chunks of a packet. Ends at the first that is malformed, after yielding the error.
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    /// Over the bytes behind the common header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that have not been walked over.
    pub fn rest_len(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut self.rest);
        let (Some(&kind), Some(&flags), Some(length)) = (all.first(), all.get(1), u16_at(all, 2)) else {
            return Some(Err(Malformed("chunk header cut short")));
        };
        let length = usize::from(length);
        if length < CHUNK_HEADER_BYTES {
            return Some(Err(Malformed("chunk length below 4")));
        }
        let Some(raw) = all.get(..length) else {
            return Some(Err(Malformed("chunk length beyond the packet")));
        };
        // The padding of the last chunk may be missing: nothing is read from it.
        self.rest = all.get(padded(length)..).unwrap_or_default();
        Some(Ok(Chunk { kind, flags, value: &raw[CHUNK_HEADER_BYTES..], raw }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: RFC 9260 §6.10-7
    #[test]
    fn chunk_lengths_of_0_to_3_and_beyond_the_packet_end_the_walk() {
        for length in 0..4u8 {
            let mut chunks = Chunks::new(&[1, 0, 0, 0, 1, 0, 0, 4][..]);
            let bytes = [1, 0, 0, length, 1, 0, 0, 4];
            let mut bad = Chunks::new(&bytes);
            assert!(bad.next().unwrap().is_err());
            assert!(bad.next().is_none());
            assert!(chunks.next().unwrap().is_err());
        }
        let mut beyond = Chunks::new(&[0, 0, 0, 9, 1, 2, 3, 4]);
        assert!(beyond.next().unwrap().is_err());
        assert!(beyond.next().is_none());
        let mut cut = Chunks::new(&[0, 0, 0]);
        assert!(cut.next().unwrap().is_err());
        assert!(cut.next().is_none());
    }

    #[test]
    fn padding_is_skipped_and_may_be_missing_at_the_end() {
        let bytes = [9, 0, 0, 5, 0xaa, 0, 0, 0, 14, 1, 0, 4];
        let chunks: Vec<_> = Chunks::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[0].value, [0xaa]);
        assert!(chunks[1].has_t_bit());
        assert_eq!(Chunks::new(&[9, 0, 0, 5, 0xaa]).map(Result::unwrap).count(), 1);
    }

    #[test]
    fn the_high_bits_of_an_unknown_type_say_what_to_do() {
        assert_eq!(UnknownAction::of_chunk(0x3f), UnknownAction { skip: false, report: false });
        assert_eq!(UnknownAction::of_chunk(0x7f), UnknownAction { skip: false, report: true });
        assert_eq!(UnknownAction::of_chunk(0xbf), UnknownAction { skip: true, report: false });
        assert_eq!(UnknownAction::of_param(0xc000), UnknownAction { skip: true, report: true });
    }
}
