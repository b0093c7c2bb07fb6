//! The SACK chunk (RFC 9260 §3.3.4).

use super::{Chunk, Malformed, u16_at, u32_at};
use crate::serial::Tsn;

/// Bytes of a SACK without gap blocks and duplicates, chunk header included.
pub const SACK_FIXED_BYTES: usize = 16;

/// A run of TSNs that have arrived, as offsets from the cumulative TSN ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapBlock {
    /// The first.
    pub start: u16,
    /// The last.
    pub end: u16,
}

/// A SACK chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sack<'a> {
    /// Everything up to this TSN has arrived.
    pub cumulative: Tsn,
    /// The receiver's window, in bytes.
    pub a_rwnd: u32,
    gaps: &'a [u8],
    duplicates: &'a [u8],
}

impl<'a> Sack<'a> {
    /// Reads a SACK chunk.
    pub fn parse(chunk: &Chunk<'a>) -> Result<Self, Malformed> {
        let value = chunk.value;
        let (Some(cumulative), Some(a_rwnd), Some(gaps), Some(duplicates)) =
            (u32_at(value, 0), u32_at(value, 4), u16_at(value, 8), u16_at(value, 10))
        else {
            return Err(Malformed("SACK chunk too short"));
        };
        let gaps_end = 12 + 4 * usize::from(gaps);
        let end = gaps_end + 4 * usize::from(duplicates);
        let (Some(gaps), Some(duplicates)) = (value.get(12..gaps_end), value.get(gaps_end..end)) else {
            return Err(Malformed("SACK chunk shorter than its counts say"));
        };
        Ok(Self { cumulative: Tsn(cumulative), a_rwnd, gaps, duplicates })
    }

    /// The gap ack blocks, as they stand.
    pub fn gaps(&self) -> impl Iterator<Item = GapBlock> + 'a {
        self.gaps.chunks_exact(4).map(|block| GapBlock {
            start: u16::from_be_bytes([block[0], block[1]]),
            end: u16::from_be_bytes([block[2], block[3]]),
        })
    }

    /// How many there are.
    pub fn gap_count(&self) -> u64 {
        self.gaps.len() as u64 / 4
    }

    /// The TSNs that arrived more than once since the last SACK.
    pub fn duplicates(&self) -> impl Iterator<Item = Tsn> + 'a {
        self.duplicates.as_chunks().0.iter().map(|tsn| Tsn(u32::from_be_bytes(*tsn)))
    }

    /// Whether there are any.
    pub fn has_duplicates(&self) -> bool {
        !self.duplicates.is_empty()
    }

    /// Whether there is any gap ack block.
    pub fn has_gaps(&self) -> bool {
        !self.gaps.is_empty()
    }
}
