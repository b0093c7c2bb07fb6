//! What any descriptor can be asked: copies, closing, flags, readiness.

use crate::errno::{self, Step, caught, int};
use crate::{channel, real, table, wait};
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_ulong, nfds_t};

/// See close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    if table::is_hidden(fd) {
        // Programs that close all that they do not know of do not mean it.
        errno::set(libc::EBADF);
        return -1;
    }
    table::forget(fd);
    // SAFETY: the caller's matter.
    unsafe { real::close(fd) }
}

/// A copy of a descriptor is of the same socket.
fn copied(from: c_int, to: c_int) -> c_int {
    if to >= 0 {
        match table::find(from) {
            Some(id) => table::remember(to, id),
            None => table::forget(to),
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
    // SAFETY: the caller's matter.
    copied(from, unsafe { real::dup2(from, to) })
}

/// See dup3(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: the caller's matter.
    copied(from, unsafe { real::dup3(from, to, flags) })
}

/// See fcntl(2). Its third argument is passed on as it came.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's matter.
    let result = unsafe { real::fcntl(fd, command, argument) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) { copied(fd, result) } else { result }
}

/// `fcntl` as programs call it that were built for large files.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's matter.
    let result = unsafe { real::fcntl64(fd, command, argument) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) { copied(fd, result) } else { result }
}

/// See ioctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    let asks = request == libc::FIONREAD;
    let Some(id) = asks.then(|| table::find(fd)).flatten() else {
        // SAFETY: the caller's matter.
        return unsafe { real::ioctl(fd, request, argument) };
    };
    int(caught(|| match channel::ask(&Request::new(Op::Available, id), &[]) {
        Ok((head, _)) if head.result >= 0 => {
            wait::settle(fd, &head);
            // SAFETY: the program gives a place for an integer.
            unsafe { std::ptr::with_exposed_provenance_mut::<c_int>(argument).write_unaligned(head.result) };
            Step::done(0)
        }
        Ok((head, _)) => wait::step(fd, &head),
        Err(errno) => Step::fail(errno),
    }))
}

/// See poll(2). Whoever looks without waiting sees what has already arrived.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn poll(entries: *mut libc::pollfd, count: nfds_t, timeout: c_int) -> c_int {
    if timeout == 0 && table::any() {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::poll(entries, count, timeout) }
}

/// See ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ppoll(
    entries: *mut libc::pollfd,
    count: nfds_t,
    timeout: *const libc::timespec,
    signals: *const libc::sigset_t,
) -> c_int {
    // SAFETY: it is not null, and the caller's.
    if table::any() && !timeout.is_null() && unsafe { (*timeout).tv_sec == 0 && (*timeout).tv_nsec == 0 } {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::ppoll(entries, count, timeout, signals) }
}

/// See select(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn select(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    timeout: *mut libc::timeval,
) -> c_int {
    // SAFETY: it is not null, and the caller's.
    if table::any() && !timeout.is_null() && unsafe { (*timeout).tv_sec == 0 && (*timeout).tv_usec == 0 } {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::select(count, read, write, except, timeout) }
}

/// See epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_wait(
    fd: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: c_int,
) -> c_int {
    if timeout == 0 && table::any() {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::epoll_wait(fd, events, count, timeout) }
}
