//! `read` and `recv` as programs call them that were built with checks (`_FORTIFY_SOURCE`).

use crate::{real, receive, table};
use libc::{c_int, c_void, size_t, sockaddr, socklen_t, ssize_t};

/// `read` with the room that the compiler knows of; the C library's own ends the program.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t {
    if length > room || table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        return unsafe { real::__read_chk(fd, buffer, length, room) };
    }
    // SAFETY: the caller's matter.
    unsafe { receive::read(fd, buffer, length) }
}

/// `recv` with the room that the compiler knows of.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    if length > room || table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        return unsafe { real::__recv_chk(fd, buffer, length, room, flags) };
    }
    // SAFETY: the caller's matter.
    unsafe { receive::recv(fd, buffer, length, flags) }
}

/// `recvfrom` with the room that the compiler knows of.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __recvfrom_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
    name: *mut sockaddr,
    name_room: *mut socklen_t,
) -> ssize_t {
    if length > room || table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        return unsafe { real::__recvfrom_chk(fd, buffer, length, room, flags, name, name_room) };
    }
    // SAFETY: the caller's matter.
    unsafe { receive::recvfrom(fd, buffer, length, flags, name, name_room) }
}
