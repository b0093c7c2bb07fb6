//! Parameters and error causes: type, length, value (RFC 9260 §3.2.1, §3.3.10). One iterator walks both.

use super::{Malformed, padded, u16_at};

/// Parameter types of INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).
pub mod param_type {
    pub const HEARTBEAT_INFO: u16 = 1;
    pub const IPV4_ADDRESS: u16 = 5;
    pub const IPV6_ADDRESS: u16 = 6;
    pub const STATE_COOKIE: u16 = 7;
    pub const UNRECOGNIZED_PARAMETER: u16 = 8;
    pub const COOKIE_PRESERVATIVE: u16 = 9;
    pub const HOST_NAME_ADDRESS: u16 = 11;
    pub const SUPPORTED_ADDRESS_TYPES: u16 = 12;
    /// RFC 5061 §4.2.6.
    pub const ADAPTATION_INDICATION: u16 = 0xc006;
}

/// A parameter or cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type or code.
    pub kind: u16,
    /// What follows type and length, without padding.
    pub value: &'a [u8],
    /// All of it, without padding: what a report quotes.
    pub raw: &'a [u8],
}

/// Walks parameters or causes. Ends at the first that is malformed, after yielding the error.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// Over the variable part of a chunk.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut self.rest);
        let (Some(kind), Some(length)) = (u16_at(all, 0), u16_at(all, 2)) else {
            return Some(Err(Malformed("parameter cut short")));
        };
        let length = usize::from(length);
        if length < 4 {
            return Some(Err(Malformed("parameter length below 4")));
        }
        let Some(raw) = all.get(..length) else {
            return Some(Err(Malformed("parameter reaches beyond its chunk")));
        };
        self.rest = all.get(padded(length)..).unwrap_or_default();
        Some(Ok(Tlv { kind, value: &raw[4..], raw }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_straddles_its_chunks_end_is_refused() {
        // CVE-2019-20503: the last parameter claims more than the chunk holds.
        let mut walk = Tlvs::new(&[0, 5, 0, 8, 127, 0, 0, 1, 0, 6, 0, 20, 1, 2, 3, 4]);
        assert_eq!(walk.next().unwrap().unwrap().value, [127, 0, 0, 1]);
        assert!(walk.next().unwrap().is_err());
        assert!(walk.next().is_none());
    }

    #[test]
    fn parameter_lengths_of_0_to_3_end_the_walk() {
        for length in 0..4 {
            let bytes = [0, 5, 0, length, 0, 5, 0, 4];
            let mut walk = Tlvs::new(&bytes);
            assert!(walk.next().unwrap().is_err());
            assert!(walk.next().is_none());
        }
    }
}
