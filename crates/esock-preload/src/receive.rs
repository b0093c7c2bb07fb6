//! `recvmsg` and all that is a form of it.

use crate::channel::{In, Out};
use crate::errno::{self, Step, result};
use crate::memory::{self, Parts};
use crate::wait::For;
use crate::{channel, control, names, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{self, Op, Request};
use libc::{c_int, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};
use std::mem::offset_of;
use std::time::{Duration, Instant};

/// What of a message is not data, and where it goes.
#[derive(Clone, Copy)]
enum Told {
    /// `read`, `recv`.
    Nothing,
    /// `recvfrom`.
    Name { name: *mut c_void, length: *mut socklen_t },
    /// `recvmsg`: the header, as it is, and where it is.
    Header { at: *mut libc::msghdr, header: libc::msghdr },
}

/// # Safety
///
/// As `wait::until`.
unsafe fn receive(fd: c_int, id: SocketId, into: Result<(Parts, Told), c_int>, flags: c_int) -> ssize_t {
    let (parts, told) = match into {
        Ok(into) => into,
        Err(errno) => return result(Step::fail(errno)),
    };
    // The error queue never makes anybody wait (recv(2)).
    let dont_wait = flags & (libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE) != 0;
    // SAFETY: the step copies numbers and pointers.
    result(unsafe { wait::until(fd, For::Input, dont_wait, move || once(fd, id, &parts, told, flags)) })
}

fn once(fd: c_int, id: SocketId, parts: &Parts, told: Told, flags: c_int) -> Result<Step, c_int> {
    let control_room = match told {
        Told::Header { header, .. } if !header.msg_control.is_null() => {
            header.msg_controllen.min(protocol::MAX_CONTROL)
        }
        _ => 0,
    };
    // What is next, as a whole, for whoever takes it: the flags that change nothing of this.
    let plain = flags & !(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC) == 0;
    let args = [flags, parts.length as c_int, control_room as c_int, c_int::from(plain)];
    let request = Request { args, ..Request::new(Op::Recv, id) };
    let mut front = [0_u8; protocol::FRONT];
    let mut into = In { theirs: parts, ..In::bytes(&mut front) };
    let offered = table::reader(fd).filter(|_| plain);
    let offered = offered.and_then(|from| channel::take_offered(from, id, &mut into, control_room));
    let head = match offered {
        Some(head) => head,
        None => {
            let head = channel::call(&request, &Out::bytes(&[]), &mut into)?;
            table::set_reader(fd, into.from);
            head
        }
    };
    let fault = into.fault;
    table::set_patience(fd, if head.patient { For::Input as u8 } else { 0 });
    let step = wait::step(fd, id, &head);
    if step.result < 0 {
        return Ok(step);
    }
    if fault {
        return Err(libc::EFAULT);
    }
    let (name, control) = front.split_at(protocol::FRONT - protocol::MAX_CONTROL);
    let name = &name[..(head.name as usize).min(name.len())];
    let control = &control[..(head.control as usize).min(control_room)];
    // As Linux, which tells this one back.
    tell(told, name, control, head.flags | (flags & libc::MSG_CMSG_CLOEXEC))?;
    Ok(step)
}

fn tell(told: Told, name: &[u8], control: &[u8], flags: c_int) -> Result<(), c_int> {
    match told {
        Told::Nothing => Ok(()),
        Told::Name { name: at, .. } if at.is_null() => Ok(()),
        Told::Name { name: at, length } => names::give(name, at, length),
        Told::Header { at, header } => {
            let place = |offset| at.wrapping_byte_add(offset).cast::<c_void>();
            let named = !header.msg_name.is_null();
            let shown = if named { &name[..name.len().min(header.msg_namelen as usize)] } else { &[] };
            let length = (if named { name.len() as u32 } else { header.msg_namelen }).to_ne_bytes();
            let controlled = control.len().to_ne_bytes();
            memory::give(&[
                (header.msg_name, shown),
                (header.msg_control, control),
                (place(offset_of!(libc::msghdr, msg_namelen)), &length),
                (place(offset_of!(libc::msghdr, msg_controllen)), &controlled[..size_of_val(&header.msg_controllen)]),
                (place(offset_of!(libc::msghdr, msg_flags)), &flags.to_ne_bytes()),
            ])
        }
    }
}

/// Data alone.
///
/// # Safety
///
/// As `wait::until`.
pub unsafe fn plain(fd: c_int, id: SocketId, parts: Result<Parts, c_int>, flags: c_int) -> ssize_t {
    // SAFETY: the caller's matter.
    unsafe { receive(fd, id, parts.map(|parts| (parts, Told::Nothing)), flags) }
}

/// See read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::read(fd, buffer, length) },
        // Reading nothing is nothing (read(2)).
        Some(_) if length == 0 => 0,
        // SAFETY: plain values.
        Some(id) => unsafe { plain(fd, id, Ok(Parts::one(buffer, length)), 0) },
    }
}

/// See readv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::readv(fd, parts, count) },
        Some(id) => match counted(parts, count) {
            // Reading nothing is nothing, as above.
            Ok(parts) if parts.length == 0 => 0,
            // SAFETY: plain values.
            parts => unsafe { plain(fd, id, parts, 0) },
        },
    }
}

/// The parts of `readv` and `writev`.
pub fn counted(parts: *const iovec, count: c_int) -> Result<Parts, c_int> {
    usize::try_from(count).map_err(|_| libc::EINVAL).and_then(|count| Parts::many(parts, count, libc::EINVAL))
}

/// See recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::recv(fd, buffer, length, flags) },
        // SAFETY: plain values.
        Some(id) => unsafe { plain(fd, id, Ok(Parts::one(buffer, length)), flags) },
    }
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
    let told = Told::Name { name: name.cast(), length: room };
    // SAFETY: plain values.
    unsafe { receive(fd, id, Ok((Parts::one(buffer, length), told)), flags) }
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
    let into = memory::take(message).and_then(|header| {
        if header.msg_namelen.cast_signed() < 0 {
            return Err(libc::EINVAL);
        }
        let parts = Parts::many(header.msg_iov, header.msg_iovlen, libc::EMSGSIZE)?;
        Ok((parts, Told::Header { at: message, header }))
    });
    // SAFETY: plain values.
    unsafe { receive(fd, id, into, flags) }
}

/// See recvmmsg(2). As there, the time is looked at after each message only.
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
    let begun = Instant::now();
    let limit = if timeout.is_null() { Ok(None) } else { memory::take(timeout).and_then(duration).map(Some) };
    let limit = match limit {
        Ok(limit) => limit,
        Err(errno) => return errno::int(Step::fail(errno)),
    };
    let wait_for_one = flags & libc::MSG_WAITFORONE != 0;
    let mut flags = flags & !libc::MSG_WAITFORONE;
    let mut done = 0;
    for place in 0..count.min(memory::MOST_PARTS as u32) {
        let entry = messages.wrapping_add(place as usize);
        // SAFETY: `recvmsg` looks at it through the kernel.
        let got = unsafe { recvmsg(fd, entry.cast(), flags) };
        if got < 0 {
            return if done == 0 { -1 } else { done };
        }
        let length = entry.wrapping_byte_add(offset_of!(libc::mmsghdr, msg_len)).cast::<u32>();
        if let Err(errno) = memory::put(length, got as u32) {
            return if done == 0 { errno::int(Step::fail(errno)) } else { done };
        }
        done += 1;
        if wait_for_one {
            flags |= libc::MSG_DONTWAIT;
        }
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
    }
    done
}

fn duration(time: libc::timespec) -> Result<Duration, c_int> {
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (u64::try_from(time.tv_sec), nanos) {
        (Ok(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(libc::EINVAL),
    }
}
