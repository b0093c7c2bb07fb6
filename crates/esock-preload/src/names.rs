//! `getsockname` and `getpeername`.

use crate::errno::{Step, caught, int};
use crate::{channel, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, sockaddr, socklen_t};

/// Gives a program a name: as much as there is room for, and how long it is.
///
/// # Safety
///
/// `name` is null, or `length` is not and says how much room there is.
pub unsafe fn give(bytes: &[u8], name: *mut sockaddr, length: *mut socklen_t) {
    if name.is_null() || length.is_null() {
        return;
    }
    // SAFETY: the caller vouches for both.
    unsafe {
        let room = (*length as usize).min(bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), name.cast(), room);
        *length = bytes.len() as socklen_t;
    }
}

unsafe fn ask(fd: c_int, id: SocketId, op: Op, name: *mut sockaddr, length: *mut socklen_t) -> Step {
    if name.is_null() || length.is_null() {
        return Step::fail(libc::EFAULT);
    }
    match channel::ask(&Request::new(op, id), &[]) {
        Ok((head, bytes)) => {
            if head.result >= 0 {
                // SAFETY: the caller's matter.
                unsafe { give(&bytes, name, length) };
            }
            wait::step(fd, &head)
        }
        Err(errno) => Step::fail(errno),
    }
}

/// See getsockname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getsockname(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::getsockname(fd, name, length) },
        // SAFETY: the caller's matter.
        Some(id) => int(caught(|| unsafe { ask(fd, id, Op::LocalName, name, length) })),
    }
}

/// See getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getpeername(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::getpeername(fd, name, length) },
        // SAFETY: the caller's matter.
        Some(id) => int(caught(|| unsafe { ask(fd, id, Op::PeerName, name, length) })),
    }
}
