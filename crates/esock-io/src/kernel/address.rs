//! Addresses in the forms of the kernel: one at the start of a fixed 128 bytes, or many behind each other.

use crate::sys::{self, Plain};
use esock_proto::Address;
use libc::sockaddr_storage;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The length of an IPv4 socket address: family, port, address, padding.
const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
/// The length of an IPv6 socket address: family, port, flow label, address, scope.
const V6_BYTES: usize = size_of::<libc::sockaddr_in6>();
const STORAGE_BYTES: usize = size_of::<sockaddr_storage>();

const _: () = assert!(V4_BYTES == 16 && V6_BYTES == 28 && STORAGE_BYTES == 128);

// SAFETY: integers only.
unsafe impl Plain for sockaddr_storage {}

/// Adds an address to a list, as long as its family says.
fn push(list: &mut Vec<u8>, address: Address, port: u16) {
    let end = list.len();
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    list.extend((family as libc::sa_family_t).to_ne_bytes());
    list.extend(port.to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => {
            list.extend(ip.octets());
            list.resize(end + V4_BYTES, 0);
        }
        IpAddr::V6(ip) => {
            list.extend([0; 4]);
            list.extend(ip.octets());
            list.extend(address.scope_id().to_ne_bytes());
        }
    }
}

/// The address at the beginning of `bytes` and how many bytes it has; `None` if it is cut short or of
/// another family.
fn first(bytes: &[u8]) -> Option<((Address, u16), usize)> {
    let (family, rest) = bytes.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(libc::sa_family_t::from_ne_bytes(*family)) {
        libc::AF_INET if bytes.len() >= V4_BYTES => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(((ip.into(), port), V4_BYTES))
        }
        libc::AF_INET6 if bytes.len() >= V6_BYTES => {
            let (ip, scope) = rest[4..].split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*scope.first_chunk()?);
            Some(((Address::new(Ipv6Addr::from(*ip).into(), scope), port), V6_BYTES))
        }
        _ => None,
    }
}

/// Addresses behind each other, all with one port.
pub fn pack(addresses: &[Address], port: u16) -> Vec<u8> {
    let mut list = Vec::with_capacity(addresses.len() * V6_BYTES);
    for address in addresses {
        push(&mut list, *address, port);
    }
    list
}

/// At most `count` addresses that lie behind each other; ends before the first that is none.
pub fn unpack(mut bytes: &[u8], count: usize) -> Vec<(Address, u16)> {
    let mut found = Vec::new();
    while found.len() < count
        && let Some((address, used)) = first(bytes)
    {
        found.push(address);
        bytes = &bytes[used..];
    }
    found
}

/// One address in 128 bytes.
pub fn to_storage(address: Address, port: u16) -> sockaddr_storage {
    let mut bytes = Vec::with_capacity(STORAGE_BYTES);
    push(&mut bytes, address, port);
    bytes.resize(STORAGE_BYTES, 0);
    sys::read(&bytes).unwrap_or_else(|| unreachable!("there are as many bytes as it needs"))
}

/// No address: the kernel then means all of an association's.
pub fn no_address() -> sockaddr_storage {
    // SAFETY: integers only, for which zero is valid.
    unsafe { std::mem::zeroed() }
}

/// The address in 128 bytes, if there is one of IPv4 or IPv6.
pub fn from_storage(storage: sockaddr_storage) -> Option<(Address, u16)> {
    // SAFETY: both are as long, and all of the structure's bytes belong to integers.
    let bytes: [u8; STORAGE_BYTES] = unsafe { std::mem::transmute(storage) };
    first(&bytes).map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Address> {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        vec![parse("10.1.2.3").into(), parse("2001:db8::5").into(), Address::new(parse("fe80::1"), 7)]
    }

    #[test]
    fn addresses_come_back_from_both_forms_with_port_and_scope() {
        let packed = pack(&some(), 2905);
        assert_eq!(packed.len(), V4_BYTES + 2 * V6_BYTES);
        let expected: Vec<(Address, u16)> = some().into_iter().map(|address| (address, 2905)).collect();
        assert_eq!(unpack(&packed, 3), expected);
        for (address, port) in expected {
            assert_eq!(from_storage(to_storage(address, port)), Some((address, port)));
        }
    }

    #[test]
    fn the_forms_are_those_of_the_systems_structures() {
        let packed = pack(&some(), 2905);
        // SAFETY: the bytes are there; `address_at` reads without a demand on alignment.
        let at = |offset: usize| unsafe { sys::address_at(packed[offset..].as_ptr().cast()) };
        assert_eq!(at(0), Some((some()[0], 2905)));
        assert_eq!(at(V4_BYTES), Some((some()[1], 2905)));
        assert_eq!(at(V4_BYTES + V6_BYTES), Some((some()[2], 2905)));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut bytes = vec![0; V6_BYTES];
        bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        bytes[8..24].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets());
        assert_eq!(unpack(&bytes, 1), [(Ipv4Addr::new(10, 0, 0, 1).into(), 0)]);
    }

    #[test]
    fn a_list_that_is_cut_short_ends_before_the_cut() {
        let packed = pack(&some(), 1);
        for length in 0..packed.len() {
            let whole = [16, 44, 72].iter().filter(|end| length >= **end).count();
            assert_eq!(unpack(&packed[..length], 9).len(), whole, "{length}");
        }
        assert_eq!(unpack(&packed, 2).len(), 2);
        assert_eq!(unpack(&[0xff; 64], 9), []);
        assert_eq!(from_storage(no_address()), None);
    }
}
