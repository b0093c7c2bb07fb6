//! INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).

use super::{Chunk, Malformed, PacketBuilder, Tlvs, UnknownAction, param_type, u16_at, u32_at};
use crate::serial::Tsn;
use crate::types::{Address, VerificationTag};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The fixed part of an INIT or INIT ACK, and its parameters as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init<'a> {
    /// The tag that packets to the sender must carry.
    pub tag: VerificationTag,
    /// The sender's receive window, in bytes.
    pub a_rwnd: u32,
    /// Streams that the sender wants to send on.
    pub outbound_streams: u16,
    /// Streams that the sender allows.
    pub inbound_streams: u16,
    /// The sender's first TSN.
    pub initial_tsn: Tsn,
    /// The parameters, see [`InitParams::parse`].
    pub params: &'a [u8],
}

/// What the parameters say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InitParams<'a> {
    /// Addresses listed, usable ones only, without repetitions, at most as many as allowed.
    pub addresses: Vec<Address>,
    /// The State Cookie (INIT ACK).
    pub cookie: Option<&'a [u8]>,
    /// Cookie Preservative: how much longer a life is asked for, in milliseconds (INIT).
    pub preservative: Option<u32>,
    /// Address types that the sender can use; `None`: all.
    pub supported_types: Option<(bool, bool)>,
    /// Adaptation layer indication (RFC 5061 §4.2.6).
    pub adaptation: Option<u32>,
    /// Parameters to report as unrecognized, whole and padded, one after the other; bounded.
    pub unrecognized: Vec<u8>,
    /// A Host Name Address parameter, whole: the association is to be refused (RFC 9260 §5.1.2).
    pub host_name: Option<&'a [u8]>,
}

/// Why the parameters cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitError {
    /// Lengths that do not fit.
    Malformed(Malformed),
}

/// Most bytes of unrecognized parameters that are reported: the report must fit into an INIT ACK.
const MAX_REPORT_BYTES: usize = 512;

impl<'a> Init<'a> {
    /// Reads the fixed part. Values that are not allowed are the caller's to judge.
    pub fn parse(chunk: &Chunk<'a>) -> Result<Self, Malformed> {
        let value = chunk.value;
        let (Some(tag), Some(a_rwnd), Some(outbound), Some(inbound), Some(tsn), Some(params)) = (
            u32_at(value, 0),
            u32_at(value, 4),
            u16_at(value, 8),
            u16_at(value, 10),
            u32_at(value, 12),
            value.get(16..),
        ) else {
            return Err(Malformed("INIT chunk too short"));
        };
        Ok(Self {
            tag: VerificationTag(tag),
            a_rwnd,
            outbound_streams: outbound,
            inbound_streams: inbound,
            initial_tsn: Tsn(tsn),
            params,
        })
    }
}

impl<'a> InitParams<'a> {
    /// Walks the parameters; unknown ones follow their high bits (RFC 9260 §3.2.1).
    pub fn parse(params: &'a [u8], max_addresses: usize) -> Result<Self, InitError> {
        let mut out = Self::default();
        for param in Tlvs::new(params) {
            let param = param.map_err(InitError::Malformed)?;
            match (param.kind, param.value) {
                (param_type::IPV4_ADDRESS, value) => {
                    let octets = <[u8; 4]>::try_from(value)
                        .map_err(|_| InitError::Malformed(Malformed("IPv4 address parameter of wrong length")))?;
                    out.add_address(Ipv4Addr::from(octets).into(), max_addresses);
                }
                (param_type::IPV6_ADDRESS, value) => {
                    let octets = <[u8; 16]>::try_from(value)
                        .map_err(|_| InitError::Malformed(Malformed("IPv6 address parameter of wrong length")))?;
                    let v6 = Ipv6Addr::from(octets);
                    // RFC 9260 §3.3.2.1: an IPv4-mapped address must not be used in the IPv6 parameter.
                    if v6.to_ipv4_mapped().is_none() {
                        out.add_address(v6.into(), max_addresses);
                    }
                }
                (param_type::STATE_COOKIE, value) => out.cookie = out.cookie.or(Some(value)),
                (param_type::COOKIE_PRESERVATIVE, value) => out.preservative = u32_at(value, 0),
                (param_type::ADAPTATION_INDICATION, value) => out.adaptation = u32_at(value, 0),
                (param_type::HOST_NAME_ADDRESS, _) => out.host_name = Some(param.raw),
                (param_type::SUPPORTED_ADDRESS_TYPES, value) => {
                    let mut kinds = value.chunks_exact(2).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
                    let v4 = kinds.clone().any(|kind| kind == param_type::IPV4_ADDRESS);
                    let v6 = kinds.any(|kind| kind == param_type::IPV6_ADDRESS);
                    out.supported_types = Some((v4, v6));
                }
                // A report of what we sent; there is nothing to undo.
                (param_type::UNRECOGNIZED_PARAMETER, _) => {}
                (kind, _) => {
                    let action = UnknownAction::of_param(kind);
                    if action.report {
                        out.report(param.raw);
                    }
                    if !action.skip {
                        break;
                    }
                }
            }
        }
        Ok(out)
    }

    fn add_address(&mut self, address: Address, max: usize) {
        // Unusable addresses are ignored, not fatal (RFC 9260 §5.1.2 D: MUST NOT be used).
        if address.is_usable_peer() && self.addresses.len() < max && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    fn report(&mut self, raw: &[u8]) {
        if self.unrecognized.len() + super::padded(raw.len()) <= MAX_REPORT_BYTES {
            self.unrecognized.extend_from_slice(raw);
            self.unrecognized.resize(super::padded(self.unrecognized.len()), 0);
        }
    }
}

/// Appends an address parameter (RFC 9260 §3.3.2.1) to a list.
pub fn write_address_param(address: Address, out: &mut Vec<u8>) {
    let mut put = |kind: u16, octets: &[u8]| {
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&(4 + octets.len() as u16).to_be_bytes());
        out.extend_from_slice(octets);
    };
    match address.ip() {
        IpAddr::V4(v4) => put(param_type::IPV4_ADDRESS, &v4.octets()),
        IpAddr::V6(v6) => put(param_type::IPV6_ADDRESS, &v6.octets()),
    }
}

/// The parameters of an INIT or INIT ACK to be written.
#[derive(Debug, Default)]
pub struct OutParams<'a> {
    /// Our addresses; none when the source address says it all.
    pub addresses: &'a [Address],
    /// Address types that we can use: IPv4, IPv6 (INIT).
    pub supported_types: Option<(bool, bool)>,
    /// Cookie Preservative in milliseconds (INIT).
    pub preservative: Option<u32>,
    /// The State Cookie (INIT ACK).
    pub cookie: Option<&'a [u8]>,
    /// Parameters of the peer that are not known, whole and padded (INIT ACK).
    pub unrecognized: &'a [u8],
    /// Adaptation layer indication.
    pub adaptation: Option<u32>,
}

impl Init<'_> {
    /// Writes an INIT or INIT ACK, its parameters from `params` alone.
    pub fn write(&self, kind: u8, params: &OutParams<'_>, packet: &mut PacketBuilder<'_>) {
        packet.open(kind, 0);
        packet.put_u32(self.tag.0);
        packet.put_u32(self.a_rwnd);
        packet.put_u16(self.outbound_streams);
        packet.put_u16(self.inbound_streams);
        packet.put_u32(self.initial_tsn.0);
        params.addresses.iter().for_each(|address| packet.address(*address));
        if let Some(more_ms) = params.preservative {
            packet.tlv(param_type::COOKIE_PRESERVATIVE, &more_ms.to_be_bytes());
        }
        if let Some((v4, v6)) = params.supported_types {
            let [four, six] = [param_type::IPV4_ADDRESS, param_type::IPV6_ADDRESS].map(u16::to_be_bytes);
            let both = [four[0], four[1], six[0], six[1]];
            let value = &both[if v4 { 0 } else { 2 }..if v6 { 4 } else { 2 }];
            packet.tlv(param_type::SUPPORTED_ADDRESS_TYPES, value);
        }
        if let Some(cookie) = params.cookie {
            packet.tlv(param_type::STATE_COOKIE, cookie);
        }
        for unknown in Tlvs::new(params.unrecognized).map_while(Result::ok) {
            packet.tlv(param_type::UNRECOGNIZED_PARAMETER, unknown.raw);
        }
        if let Some(adaptation) = params.adaptation {
            packet.tlv(param_type::ADAPTATION_INDICATION, &adaptation.to_be_bytes());
        }
        packet.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: RFC 9260 §3.2.1-T00, §3.2.1-T01, §3.2.1-T10, §3.2.1-T11
    #[test]
    fn unknown_parameters_follow_their_high_bits() {
        let v4 = [0, 5, 0, 8, 10, 0, 0, 1];
        let with = |kind: [u8; 2]| {
            let mut params = vec![kind[0], kind[1], 0, 4];
            params.extend_from_slice(&v4);
            params
        };
        // (type, addresses seen behind it, reported)
        for (kind, seen, reported) in
            [([0x3f, 0], 0, false), ([0x7f, 0], 0, true), ([0xbf, 0], 1, false), ([0xff, 0], 1, true)]
        {
            let bytes = with(kind);
            let params = InitParams::parse(&bytes, 8).unwrap();
            assert_eq!(params.addresses.len(), seen, "{kind:x?}");
            assert_eq!(!params.unrecognized.is_empty(), reported, "{kind:x?}");
        }
    }

    #[test]
    fn addresses_are_capped_deduplicated_and_checked() {
        let mut params = Vec::new();
        for last in 0..200u8 {
            params.extend_from_slice(&[0, 5, 0, 8, 10, 0, 0, last / 2]);
        }
        params.extend_from_slice(&[0, 5, 0, 8, 224, 0, 0, 1]);
        assert_eq!(InitParams::parse(&params, 16).unwrap().addresses.len(), 16);
        assert_eq!(InitParams::parse(&params, 1000).unwrap().addresses.len(), 100);
        assert!(InitParams::parse(&[0, 5, 0, 7, 1, 2, 3, 0], 4).is_err());
    }

    // covers: RFC 9260 §12.4-6
    #[test]
    fn the_report_of_unrecognized_parameters_is_bounded() {
        let mut params = Vec::new();
        for _ in 0..500 {
            params.extend_from_slice(&[0xff, 0, 0, 5, 1, 0, 0, 0]);
        }
        assert!(InitParams::parse(&params, 4).unwrap().unrecognized.len() <= MAX_REPORT_BYTES);
    }
}
