//! The DATA chunk (RFC 9260 §3.3.1).

use super::{Chunk, Malformed, u16_at, u32_at};
use crate::serial::{Ssn, Tsn};
use crate::types::{Ppid, StreamId};

/// Bytes of a DATA chunk in front of the user data, chunk header included.
pub const DATA_HEADER_BYTES: usize = 16;

/// The flags of a DATA chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataFlags(pub u8);

impl DataFlags {
    /// The last fragment of a message.
    pub const END: u8 = 1;
    /// The first fragment of a message.
    pub const BEGIN: u8 = 2;
    /// Unordered.
    pub const UNORDERED: u8 = 4;
    /// The receiver should acknowledge at once (RFC 7053).
    pub const IMMEDIATE: u8 = 8;

    /// First fragment.
    pub fn is_begin(self) -> bool {
        self.0 & Self::BEGIN != 0
    }
    /// Last fragment.
    pub fn is_end(self) -> bool {
        self.0 & Self::END != 0
    }
    /// Outside the stream's order.
    pub fn is_unordered(self) -> bool {
        self.0 & Self::UNORDERED != 0
    }
    /// To be acknowledged at once.
    pub fn is_immediate(self) -> bool {
        self.0 & Self::IMMEDIATE != 0
    }
}

/// A DATA chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// Flags.
    pub flags: DataFlags,
    /// Transmission sequence number.
    pub tsn: Tsn,
    /// Stream.
    pub stream: StreamId,
    /// Stream sequence number; to be ignored when unordered.
    pub ssn: Ssn,
    /// Payload protocol identifier.
    pub ppid: Ppid,
    /// User data; may be empty on the wire, which is an error (§3.3.1).
    pub payload: &'a [u8],
}

impl<'a> Data<'a> {
    /// Reads a DATA chunk.
    pub fn parse(chunk: &Chunk<'a>) -> Result<Self, Malformed> {
        let value = chunk.value;
        let (Some(tsn), Some(stream), Some(ssn), Some(ppid), Some(payload)) =
            (u32_at(value, 0), u16_at(value, 4), u16_at(value, 6), u32_at(value, 8), value.get(12..))
        else {
            return Err(Malformed("DATA chunk too short"));
        };
        Ok(Self {
            flags: DataFlags(chunk.flags),
            tsn: Tsn(tsn),
            stream: StreamId(stream),
            ssn: Ssn(ssn),
            ppid: Ppid(ppid),
            payload,
        })
    }
}
