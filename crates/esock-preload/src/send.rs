//! `sendmsg` and all that is a form of it.

use crate::channel::{In, Out};
use crate::errno::{self, Step, result};
use crate::memory::{self, Parts};
use crate::names::ROOM;
use crate::receive::counted;
use crate::wait::For;
use crate::{channel, real, signals, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};
use std::mem::offset_of;

/// The most bytes of control messages that Linux takes (`net.core.optmem_max`).
const MOST_CONTROL: usize = 20_480;

/// What is to be sent.
#[derive(Clone, Copy)]
struct From {
    data: Parts,
    name: iovec,
    control: iovec,
}

/// What stands for a name that is empty.
static NO_NAME: u8 = 0;

const NOTHING: iovec = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

/// # Safety
///
/// As `wait::until`.
unsafe fn transmit(fd: c_int, id: SocketId, from: Result<From, c_int>, flags: c_int) -> ssize_t {
    let from = match from {
        Ok(from) => from,
        Err(errno) => return result(Step::fail(errno)),
    };
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    // SAFETY: the step copies numbers and pointers.
    let step = unsafe { wait::until(fd, For::Output, dont_wait, move || once(fd, id, &from, flags)) };
    if step.result >= 0 && step.in_vain != 0 && !dont_wait {
        // It has set an association up, and waits for it as `connect` does; how that ends is told otherwise.
        // SAFETY: plain values.
        let _ = unsafe { crate::socket::finish_connect(fd, id, Step::fail(libc::EINPROGRESS)) };
    }
    if step.result == -(libc::EPIPE as isize) && flags & libc::MSG_NOSIGNAL == 0 {
        signals::broken_pipe();
    }
    result(step)
}

fn once(fd: c_int, id: SocketId, from: &From, flags: c_int) -> Result<Step, c_int> {
    let lengths = [from.name.iov_len as c_int, from.control.iov_len as c_int];
    let request = Request { args: [flags, lengths[0], lengths[1], 0], ..Request::new(Op::Send, id) };
    let out = Out { parts: [from.name, from.control], data: &from.data, passed: None };
    let head = channel::call(&request, &out, &mut In::nothing())?;
    Ok(wait::step(fd, id, &head))
}

impl From {
    /// Data alone.
    fn plain(data: Parts) -> Self {
        Self { data, name: NOTHING, control: NOTHING }
    }

    /// `sendmsg`, with the kernel's checks in its order.
    fn message(at: *const libc::msghdr) -> Result<Self, c_int> {
        let header = memory::take(at)?;
        if header.msg_namelen.cast_signed() < 0 {
            return Err(libc::EINVAL);
        }
        let named = if header.msg_name.is_null() { 0 } else { (header.msg_namelen as usize).min(ROOM) };
        let data = Parts::many(header.msg_iov, header.msg_iovlen, libc::EMSGSIZE)?;
        let controlled = header.msg_controllen;
        if controlled > MOST_CONTROL {
            return Err(libc::ENOBUFS);
        }
        let name = iovec { iov_base: header.msg_name, iov_len: named };
        let control = iovec { iov_base: header.msg_control, iov_len: controlled };
        Ok(Self { data, name, control })
    }
}

/// Data alone.
///
/// # Safety
///
/// As `wait::until`.
pub unsafe fn plain(fd: c_int, id: SocketId, data: Parts, flags: c_int) -> ssize_t {
    // SAFETY: the caller's matter.
    unsafe { transmit(fd, id, Ok(From::plain(data)), flags) }
}

/// See write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::write(fd, buffer, length) },
        // SAFETY: plain values.
        Some(id) => unsafe { plain(fd, id, Parts::one(buffer, length), 0) },
    }
}

/// See writev(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::writev(fd, parts, count) },
        Some(id) => match counted(parts, count) {
            // As Linux, which has an empty `write` be a message of no bytes, which there is not, but an empty `writev` nothing.
            Ok(parts) if parts.length == 0 => 0,
            // SAFETY: plain values.
            parts => unsafe { transmit(fd, id, parts.map(From::plain), 0) },
        },
    }
}

/// See send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::send(fd, buffer, length, flags) },
        // SAFETY: plain values.
        Some(id) => unsafe { plain(fd, id, Parts::one(buffer, length), flags) },
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
    let name = match name_length as usize {
        _ if name.is_null() => Ok(NOTHING),
        // A name all the same, and no good one: only `sendmsg` takes it for none.
        0 => Ok(iovec { iov_base: (&raw const NO_NAME).cast_mut().cast(), iov_len: 1 }),
        named if named > ROOM => Err(libc::EINVAL),
        named => Ok(iovec { iov_base: name.cast_mut().cast(), iov_len: named }),
    };
    let from = name.map(|name| From { name, ..From::plain(Parts::one(buffer, length)) });
    // SAFETY: plain values.
    unsafe { transmit(fd, id, from, flags) }
}

/// See sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::sendmsg(fd, message, flags) },
        // SAFETY: plain values.
        Some(id) => unsafe { transmit(fd, id, From::message(message), flags) },
    }
}

/// See sendmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: u32, flags: c_int) -> c_int {
    if table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        return unsafe { real::sendmmsg(fd, messages, count, flags) };
    }
    let mut done = 0;
    for place in 0..count.min(memory::MOST_PARTS as u32) {
        let entry = messages.wrapping_add(place as usize);
        // SAFETY: `sendmsg` looks at it through the kernel.
        let sent = unsafe { sendmsg(fd, entry.cast(), flags) };
        if sent < 0 {
            return if done == 0 { -1 } else { done };
        }
        let length = entry.wrapping_byte_add(offset_of!(libc::mmsghdr, msg_len)).cast::<u32>();
        if let Err(errno) = memory::put(length, sent as u32) {
            return if done == 0 { errno::int(Step::fail(errno)) } else { done };
        }
        done += 1;
    }
    done
}
