//! The small control chunks: SHUTDOWN, ABORT, ERROR.

use super::{Chunk, Malformed, Tlvs, code, u32_at};
use crate::serial::Tsn;

/// The cumulative TSN ack of a SHUTDOWN (RFC 9260 §3.3.8).
pub fn parse_cumulative_tsn(chunk: &Chunk<'_>) -> Result<Tsn, Malformed> {
    u32_at(chunk.value, 0).map(Tsn).ok_or(Malformed("SHUTDOWN chunk too short"))
}

/// The first cause of an ABORT or ERROR, with its own bytes (RFC 9260 §3.3.7, §3.3.10); of several
/// the user's own reason is preferred.
pub fn abort_reason<'a>(chunk: &Chunk<'a>) -> Option<(u16, &'a [u8])> {
    let causes = || Tlvs::new(chunk.value).map_while(Result::ok);
    causes()
        .find(|cause| cause.kind == code::USER_INITIATED_ABORT)
        .or_else(|| causes().next())
        .map(|cause| (cause.kind, cause.value))
}
