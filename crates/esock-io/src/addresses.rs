//! The addresses of the host.

use crate::sys;
use esock_proto::Address;
use std::ffi::CStr;
use std::ptr;

/// The unicast addresses of the host's interfaces that are up, each with the name of its interface; as
/// [`host_addresses`].
pub fn host_interfaces() -> Vec<(Address, String)> {
    let mut found = Vec::new();
    each_address(|address, interface| found.push((address, interface.to_string_lossy().into_owned())));
    found
}

/// The unicast addresses of the host's interfaces that are up, loopback and link-local ones included,
/// each once. Empty if the system does not tell.
pub fn host_addresses() -> Vec<Address> {
    let mut addresses = Vec::new();
    each_address(|address, _| {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    });
    addresses
}

/// Looks at each unicast address of an interface that is up.
fn each_address(mut look: impl FnMut(Address, &CStr)) {
    let mut list: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: `list` is a valid place for the answer; it is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return;
    }
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
            && !entry.ifa_name.is_null()
        {
            // SAFETY: `ifa_name` is not null, and a string that lives as long as the list.
            look(address, unsafe { CStr::from_ptr(entry.ifa_name) });
        }
    }
    // SAFETY: `list` came from getifaddrs and is freed once; nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
}
