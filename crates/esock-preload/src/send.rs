//! `sendmsg` and all that is a form of it.

use crate::errno::{Step, result};
use crate::{channel, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};

/// What is to be sent.
#[derive(Clone, Copy)]
struct From {
    parts: *const iovec,
    count: usize,
    name: *const c_void,
    name_length: usize,
    control: *const c_void,
    control_length: usize,
}

/// # Safety
///
/// As sendmsg(2).
unsafe fn transmit(fd: c_int, id: SocketId, from: From, flags: c_int) -> ssize_t {
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    // SAFETY: the step copies numbers and pointers, which are the caller's.
    let step = unsafe { wait::until(fd, libc::POLLOUT, dont_wait, move || once(fd, id, from, flags)) };
    if step.result == -(libc::EPIPE as isize) && flags & libc::MSG_NOSIGNAL == 0 {
        // SAFETY: it takes a number.
        unsafe { libc::raise(libc::SIGPIPE) };
    }
    result(step)
}

unsafe fn once(fd: c_int, id: SocketId, from: From, flags: c_int) -> Step {
    let lengths = [from.name_length as c_int, from.control_length as c_int];
    let request = Request { args: [flags, lengths[0], lengths[1], 0], ..Request::new(Op::Send, id) };
    let mut body = Vec::with_capacity(from.count + 2);
    body.push(iovec { iov_base: from.name.cast_mut(), iov_len: from.name_length });
    body.push(iovec { iov_base: from.control.cast_mut(), iov_len: from.control_length });
    // SAFETY: the caller's matter.
    body.extend_from_slice(unsafe { std::slice::from_raw_parts(from.parts, from.count) });
    match channel::call(&request, &body, &mut |_| Vec::new()) {
        Ok(head) => wait::step(fd, &head),
        Err(errno) => Step::fail(errno),
    }
}

impl From {
    /// Data alone.
    fn plain(parts: *const iovec, count: usize) -> Self {
        let none = std::ptr::null();
        Self { parts, count, name: none, name_length: 0, control: none, control_length: 0 }
    }
}

/// See write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::write(fd, buffer, length) },
        Some(id) => {
            let part = iovec { iov_base: buffer.cast_mut(), iov_len: length };
            // SAFETY: the caller's matter.
            unsafe { transmit(fd, id, From::plain(&raw const part, 1), 0) }
        }
    }
}

/// See writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::writev(fd, parts, count) },
        // SAFETY: the caller's matter.
        Some(id) => unsafe { transmit(fd, id, From::plain(parts, usize::try_from(count).unwrap_or(0)), 0) },
    }
}

/// See send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::send(fd, buffer, length, flags) },
        Some(id) => {
            let part = iovec { iov_base: buffer.cast_mut(), iov_len: length };
            // SAFETY: the caller's matter.
            unsafe { transmit(fd, id, From::plain(&raw const part, 1), flags) }
        }
    }
}

/// See sendto(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    name: *const sockaddr,
    name_length: socklen_t,
) -> ssize_t {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::sendto(fd, buffer, length, flags, name, name_length) };
    };
    let part = iovec { iov_base: buffer.cast_mut(), iov_len: length };
    let name_length = if name.is_null() { 0 } else { name_length as usize };
    let from = From { name: name.cast(), name_length, ..From::plain(&raw const part, 1) };
    // SAFETY: the caller's matter.
    unsafe { transmit(fd, id, from, flags) }
}

/// See sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::sendmsg(fd, message, flags) };
    };
    if message.is_null() {
        return result(Step::fail(libc::EFAULT));
    }
    // SAFETY: it is not null, and the caller's.
    let header = unsafe { &*message };
    let from = From {
        parts: header.msg_iov,
        count: header.msg_iovlen,
        name: header.msg_name,
        name_length: if header.msg_name.is_null() { 0 } else { header.msg_namelen as usize },
        control: header.msg_control,
        control_length: if header.msg_control.is_null() { 0 } else { header.msg_controllen },
    };
    // SAFETY: the caller's matter.
    unsafe { transmit(fd, id, from, flags) }
}

/// See sendmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: u32, flags: c_int) -> c_int {
    if table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        return unsafe { real::sendmmsg(fd, messages, count, flags) };
    }
    for place in 0..count {
        // SAFETY: the caller's matter.
        let entry = unsafe { &mut *messages.add(place as usize) };
        // SAFETY: the caller's matter.
        let sent = unsafe { sendmsg(fd, &raw const entry.msg_hdr, flags) };
        if sent < 0 {
            return if place == 0 { -1 } else { place as c_int };
        }
        entry.msg_len = sent as u32;
    }
    count as c_int
}
