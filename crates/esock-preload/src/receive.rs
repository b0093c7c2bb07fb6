//! `recvmsg` and all that is a form of it.

use crate::errno::{Step, result};
use crate::{channel, control, names, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};

/// Room for any address.
const NAME: usize = 128;

/// Where a message goes.
#[derive(Clone, Copy)]
struct Into {
    parts: *const iovec,
    count: usize,
    name: *mut sockaddr,
    name_room: *mut socklen_t,
    control: *mut c_void,
    control_room: usize,
}

/// What of a message is not data.
#[derive(Clone, Copy, Default)]
struct Told {
    flags: c_int,
    control: usize,
}

/// # Safety
///
/// As recvmsg(2).
unsafe fn receive(fd: c_int, id: SocketId, into: Into, flags: c_int, told: *mut Told) -> ssize_t {
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    // SAFETY: the step copies numbers and pointers, which are the caller's.
    result(unsafe { wait::until(fd, libc::POLLIN, dont_wait, move || once(fd, id, into, flags, told)) })
}

unsafe fn once(fd: c_int, id: SocketId, into: Into, flags: c_int, told: *mut Told) -> Step {
    // SAFETY: the caller's matter.
    let parts = unsafe { std::slice::from_raw_parts(into.parts, into.count) };
    let room: usize = parts.iter().map(|part| part.iov_len).sum();
    let room = c_int::try_from(room).unwrap_or(c_int::MAX);
    let control_room = c_int::try_from(into.control_room).unwrap_or(c_int::MAX);
    let request = Request { args: [flags, room, control_room, 0], ..Request::new(Op::Recv, id) };
    let mut name = [0_u8; NAME];
    let at = name.as_mut_ptr();
    let reply = channel::call(&request, &[], &mut |head| {
        let mut places = vec![
            iovec { iov_base: at.cast(), iov_len: (head.name as usize).min(NAME) },
            iovec { iov_base: into.control, iov_len: head.control as usize },
        ];
        places.extend_from_slice(parts);
        places
    });
    match reply {
        Ok(head) => {
            if head.result >= 0 {
                // SAFETY: the caller's matter.
                unsafe {
                    names::give(&name[..(head.name as usize).min(NAME)], into.name, into.name_room);
                    *told = Told { flags: head.flags, control: head.control as usize };
                }
            }
            wait::step(fd, &head)
        }
        Err(errno) => Step::fail(errno),
    }
}

/// Data alone.
unsafe fn plain(fd: c_int, id: SocketId, parts: *const iovec, count: usize, flags: c_int) -> ssize_t {
    let into = Into {
        parts,
        count,
        name: std::ptr::null_mut(),
        name_room: std::ptr::null_mut(),
        control: std::ptr::null_mut(),
        control_room: 0,
    };
    let mut told = Told::default();
    // SAFETY: the caller's matter.
    unsafe { receive(fd, id, into, flags, &raw mut told) }
}

/// See read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::read(fd, buffer, length) },
        Some(id) => {
            let part = iovec { iov_base: buffer, iov_len: length };
            // SAFETY: the caller's matter.
            unsafe { plain(fd, id, &raw const part, 1, 0) }
        }
    }
}

/// `read` as programs call it that were built with checks.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t {
    if length > room {
        std::process::abort();
    }
    // SAFETY: the caller's matter.
    unsafe { read(fd, buffer, length) }
}

/// See readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::readv(fd, parts, count) },
        // SAFETY: the caller's matter.
        Some(id) => unsafe { plain(fd, id, parts, usize::try_from(count).unwrap_or(0), 0) },
    }
}

/// See recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::recv(fd, buffer, length, flags) },
        Some(id) => {
            let part = iovec { iov_base: buffer, iov_len: length };
            // SAFETY: the caller's matter.
            unsafe { plain(fd, id, &raw const part, 1, flags) }
        }
    }
}

/// `recv` with checks.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    if length > room {
        std::process::abort();
    }
    // SAFETY: the caller's matter.
    unsafe { recv(fd, buffer, length, flags) }
}

/// See recvfrom(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    name: *mut sockaddr,
    room: *mut socklen_t,
) -> ssize_t {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::recvfrom(fd, buffer, length, flags, name, room) };
    };
    let part = iovec { iov_base: buffer, iov_len: length };
    let into = Into {
        parts: &raw const part,
        count: 1,
        name,
        name_room: room,
        control: std::ptr::null_mut(),
        control_room: 0,
    };
    let mut told = Told::default();
    // SAFETY: the caller's matter.
    unsafe { receive(fd, id, into, flags, &raw mut told) }
}

/// `recvfrom` with checks.
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
    if length > room {
        std::process::abort();
    }
    // SAFETY: the caller's matter.
    unsafe { recvfrom(fd, buffer, length, flags, name, name_room) }
}

/// See recvmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> ssize_t {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        let got = unsafe { real::recvmsg(fd, message, flags) };
        if got >= 0 {
            // SAFETY: it was received.
            unsafe { control::look_at_descriptors(message) };
        }
        return got;
    };
    if message.is_null() {
        return result(Step::fail(libc::EFAULT));
    }
    // SAFETY: it is not null, and the caller's.
    unsafe {
        let header = &mut *message;
        let mut room = header.msg_namelen;
        let into = Into {
            parts: header.msg_iov,
            count: header.msg_iovlen,
            name: header.msg_name.cast(),
            name_room: &raw mut room,
            control: header.msg_control,
            control_room: if header.msg_control.is_null() { 0 } else { header.msg_controllen },
        };
        let mut told = Told::default();
        let got = receive(fd, id, into, flags, &raw mut told);
        if got >= 0 {
            header.msg_namelen = room;
            header.msg_controllen = told.control as _;
            header.msg_flags = told.flags;
        }
        got
    }
}

/// See recvmmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recvmmsg(
    fd: c_int,
    messages: *mut libc::mmsghdr,
    count: u32,
    flags: c_int,
    timeout: *mut libc::timespec,
) -> c_int {
    if table::find(fd).is_none() {
        // SAFETY: the caller's matter.
        let got = unsafe { real::recvmmsg(fd, messages, count, flags, timeout) };
        for place in 0..usize::try_from(got).unwrap_or(0) {
            // SAFETY: so many were received.
            unsafe { control::look_at_descriptors(&raw const (*messages.add(place)).msg_hdr) };
        }
        return got;
    }
    let mut flags = flags;
    let wait_for_one = flags & libc::MSG_WAITFORONE != 0;
    flags &= !libc::MSG_WAITFORONE;
    for place in 0..count {
        // SAFETY: the caller's matter.
        let entry = unsafe { &mut *messages.add(place as usize) };
        // SAFETY: the caller's matter.
        let got = unsafe { recvmsg(fd, &raw mut entry.msg_hdr, flags) };
        if got < 0 {
            return if place == 0 { -1 } else { place as c_int };
        }
        entry.msg_len = got as u32;
        if wait_for_one {
            flags |= libc::MSG_DONTWAIT;
        }
    }
    count as c_int
}
