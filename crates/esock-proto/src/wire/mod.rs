//! Packets on the wire (RFC 9260 §3): checked, borrowing parsers and forward writers.
//!
//! One iterator walks chunks ([`Chunks`]) and one walks parameters and causes ([`Tlvs`]); each always
//! advances or ends.

mod builder;
mod cause;
mod chunk;
mod control;
mod data;
mod header;
mod init;
mod param;
#[cfg(feature = "fuzzing")]
mod round_trip;
mod sack;

pub use builder::PacketBuilder;
pub use cause::{Cause, code};
pub use chunk::{Chunk, Chunks, T_BIT, UnknownAction, kind};
pub use control::{abort_reason, parse_cumulative_tsn};
pub use data::{DATA_HEADER_BYTES, Data, DataFlags};
pub use header::{CHUNK_HEADER_BYTES, HEADER_BYTES, Header, checksum_ok, write_checksum};
pub use init::{Init, InitError, InitParams, OutParams, write_address_param};
pub use param::{Tlvs, param_type};
#[cfg(feature = "fuzzing")]
pub use round_trip::round_trip;
pub use sack::{GapBlock, SACK_FIXED_BYTES, Sack};

/// The bytes cannot be what they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// The big-endian u16 at `at`; `None` past the end.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The big-endian u32 at `at`; `None` past the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// `len` rounded up to a multiple of four (RFC 9260 §3.2).
pub const fn padded(len: usize) -> usize {
    (len + 3) & !3
}
