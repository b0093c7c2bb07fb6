//! Socket addresses as bytes: what programs give, and what they are told.

use crate::errno::Errno;
use esock_io::kernel::address::{pack, unpack};
use esock_proto::Address;
use std::net::IpAddr;

/// The family of a socket: which addresses it has, and in which form it tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`: IPv4 as well, unless `IPV6_V6ONLY`.
    V6,
}

/// An address of a call, with its port.
pub type Named = (Address, u16);

/// The family that the address in `bytes` has; `None` if there is none.
fn family_of(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().map(|family| i32::from(u16::from_ne_bytes(*family)))
}

/// The bytes that an address of a family has.
fn length_of(family: i32) -> Option<usize> {
    match family {
        libc::AF_INET => Some(16),
        libc::AF_INET6 => Some(28),
        _ => None,
    }
}

/// The one address in `bytes`, for a socket of `family`.
pub fn parse(family: Family, bytes: &[u8]) -> Result<Named, Errno> {
    let named = family_of(bytes).ok_or(Errno::EINVAL)?;
    let length = length_of(named).ok_or(Errno::EINVAL)?;
    if bytes.len() < length || (family == Family::V4 && named != libc::AF_INET) {
        return Err(Errno::EINVAL);
    }
    unpack(bytes, 1).pop().ok_or(Errno::EINVAL)
}

/// Whether `bytes` begin with an address of no family (`AF_UNSPEC`).
pub fn is_unspecified_family(bytes: &[u8]) -> bool {
    family_of(bytes) == Some(libc::AF_UNSPEC)
}

/// Whether Linux lets a program name a peer so: no wildcard, and no link-local address without its link.
pub fn may_name_peer(address: Address) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => {
            // RFC 7526: what was the anycast address of 6to4 relays.
            let relay = ip.octets()[..3] == [192, 88, 99];
            !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || relay)
        }
        IpAddr::V6(ip) => {
            let linkless = ip.is_unicast_link_local() && address.scope_id() == 0;
            !(ip.is_unspecified() || ip.is_multicast() || linkless)
        }
    }
}

/// Addresses behind each other, as `sctp_bindx` and `sctp_connectx` give them.
pub fn parse_many(family: Family, mut bytes: &[u8]) -> Result<Vec<Named>, Errno> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        found.push(parse(family, bytes)?);
        let length = family_of(bytes).and_then(length_of).ok_or(Errno::EINVAL)?;
        bytes = &bytes[length..];
    }
    if found.is_empty() { Err(Errno::EINVAL) } else { Ok(found) }
}

/// An address as a socket of `family` tells it: IPv4 as mapped IPv6 where `mapped` says so.
pub fn write(family: Family, mapped: bool, (address, port): Named) -> Vec<u8> {
    match address.ip() {
        IpAddr::V4(ip) if family == Family::V6 && mapped => {
            let mut bytes = Vec::with_capacity(28);
            bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
            bytes.extend(port.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(ip.to_ipv6_mapped().octets());
            bytes.extend([0; 4]);
            bytes
        }
        _ => pack(&[address], port),
    }
}

/// The same in the 128 bytes that structures have for it.
pub fn write_storage(family: Family, mapped: bool, named: Named) -> Vec<u8> {
    let mut bytes = write(family, mapped, named);
    bytes.resize(128, 0);
    bytes
}
