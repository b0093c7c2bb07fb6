//! The addresses of the host.

use crate::sys;
use esock_proto::Address;
use std::ptr;

/// The unicast addresses of the host's interfaces that are up, loopback and link-local ones included,
/// each once. Empty if the system does not tell.
pub fn host_addresses() -> Vec<Address> {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a valid place for the answer; it is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut addresses = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: getifaddrs made a list of valid entries that ends with a null pointer,
        // and it is not freed before the loop ends.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        if entry.ifa_addr.is_null() || entry.ifa_flags & libc::IFF_UP as u32 == 0 {
            continue;
        }
        // SAFETY: `ifa_addr` is not null, and points to an address as long as its family says.
        if let Some((address, _)) = unsafe { sys::address_at(entry.ifa_addr.cast()) }
            && address.is_usable_peer()
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    // SAFETY: `list` came from getifaddrs and is freed once; nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    addresses
}
