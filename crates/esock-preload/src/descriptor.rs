//! What any descriptor can be asked: copies, closing, flags, device controls.

use crate::errno::{self, Step, caught, int};
use crate::{channel, linger, memory, real, streams, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_uint, c_ulong};

/// See close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    if table::is_hidden(fd) {
        // Programs that close all that they do not know of do not mean it.
        errno::set(libc::EBADF);
        return -1;
    }
    let lingers = linger::may_wait().then(|| table::find(fd)).flatten();
    let is_ours = table::is_remembered(fd);
    table::forget(fd);
    // SAFETY: the caller's matter.
    let code = unsafe { real::close(fd) };
    match lingers {
        _ if code != 0 => {}
        Some(id) => linger::wait(id),
        None if is_ours => wait::closed(),
        None => {}
    }
    code
}

/// See close_range(2): all but what the program does not know of.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    let close_on_exec = flags & libc::CLOSE_RANGE_CLOEXEC as c_int != 0;
    if first > last || close_on_exec || flags & !(libc::CLOSE_RANGE_UNSHARE as c_int) != 0 {
        // SAFETY: the caller's matter.
        return unsafe { real::close_range(first, last, flags) };
    }
    let mut from = first;
    while let Some(hidden) = table::first_hidden(from, last) {
        if hidden > from {
            table::forget_range(from, hidden - 1);
            // SAFETY: the caller's matter.
            let code = unsafe { real::close_range(from, hidden - 1, flags) };
            if code != 0 {
                return code;
            }
        }
        from = hidden + 1;
        if from > last {
            return 0;
        }
    }
    table::forget_range(from, last);
    // SAFETY: the caller's matter.
    unsafe { real::close_range(from, last, flags) }
}

/// See closefrom(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn closefrom(first: c_int) {
    let first = c_uint::try_from(first).unwrap_or(0);
    // SAFETY: the caller's matter.
    if unsafe { close_range(first, c_uint::MAX, 0) } != 0 {
        // An old kernel: as many as there may be.
        // SAFETY: it takes a number.
        let most = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
        for fd in first as c_int..c_int::try_from(most).unwrap_or(1024) {
            // SAFETY: the caller's matter.
            unsafe { close(fd) };
        }
    }
}

/// A copy of a descriptor is of the same socket.
fn copied(from: c_int, to: c_int) -> c_int {
    if to >= 0 {
        let id = table::find(from);
        match id {
            Some(id) => table::remember(to, id),
            None if table::is_watching(from) => table::watches(to),
            None => table::forget(to),
        }
        if from != to {
            streams::after_copy(to, id.is_some());
        }
    }
    to
}

/// See dup(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup(fd: c_int) -> c_int {
    // SAFETY: the caller's matter.
    copied(fd, unsafe { real::dup(fd) })
}

/// See dup2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup2(from: c_int, to: c_int) -> c_int {
    streams::before_copy(from, to);
    // SAFETY: the caller's matter.
    copied(from, unsafe { real::dup2(from, to) })
}

/// See dup3(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    streams::before_copy(from, to);
    // SAFETY: the caller's matter.
    copied(from, unsafe { real::dup3(from, to, flags) })
}

fn controlled(fd: c_int, command: c_int, argument: usize, result: c_int) -> c_int {
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => copied(fd, result),
        // Signals are sent for edges.
        libc::F_SETFL if result >= 0 && argument & libc::O_ASYNC as usize != 0 => {
            if let Some(id) = table::find(fd) {
                say_edges(id);
            }
            result
        }
        _ => result,
    }
}

/// Somebody waits for edges of a socket.
pub fn say_edges(id: SocketId) {
    caught(|| channel::ask(&Request::new(Op::Edges, id), &[], &mut []).map(|_| Step::default()));
}

/// See fcntl(2). Its third argument is passed on as it came.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's matter.
    controlled(fd, command, argument, unsafe { real::fcntl(fd, command, argument) })
}

/// `fcntl` as programs call it that were built for large files.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's matter.
    controlled(fd, command, argument, unsafe { real::fcntl64(fd, command, argument) })
}

/// Controls of network devices, which any Internet socket takes.
const DEVICES: std::ops::RangeInclusive<c_ulong> = 0x8910..=0x89ff;

/// Asks whether urgent data are next.
const SIOCATMARK: c_ulong = 0x8905;

/// See ioctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    let queues = [libc::FIONREAD, libc::TIOCOUTQ, SIOCATMARK].contains(&request);
    let asks = queues || DEVICES.contains(&request);
    let Some(id) = asks.then(|| table::find(fd)).flatten() else {
        // SAFETY: the caller's matter.
        return unsafe { real::ioctl(fd, request, argument) };
    };
    if DEVICES.contains(&request) {
        // SAFETY: the caller's matter.
        return unsafe { of_device(request, argument) };
    }
    int(caught(|| {
        let (head, _) = channel::ask(&Request::new(Op::Available, id), &[], &mut [])?;
        let step = wait::step(fd, id, &head);
        if head.result < 0 {
            return Ok(step);
        }
        if request != libc::FIONREAD {
            // As Linux's SCTP, which knows SIOCINQ only.
            return Ok(Step::fail(libc::ENOTTY));
        }
        memory::put(std::ptr::with_exposed_provenance_mut::<c_int>(argument), head.result)?;
        Ok(Step::done(0))
    }))
}

/// # Safety
///
/// As ioctl(2).
unsafe fn of_device(request: c_ulong, argument: usize) -> c_int {
    // SAFETY: no memory is involved.
    let inet = unsafe { real::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if inet < 0 {
        return -1;
    }
    // SAFETY: the caller's matter.
    let code = unsafe { real::ioctl(inet, request, argument) };
    let errno = errno::get();
    crate::broker::close(inet);
    errno::set(errno);
    code
}
