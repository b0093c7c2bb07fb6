//! `socket`, `accept`, and what gives sockets their names and peers.

use crate::errno::{self, Step, caught, int};
use crate::{channel, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, ReplyHead, Request, socket_name};
use libc::{c_int, sockaddr, socklen_t};

/// Makes the program's end of a socket, and the socket by `make`. Flags are those of `socket`.
pub fn new(flags: c_int, make: impl FnOnce(SocketId) -> Result<ReplyHead, c_int>) -> Result<(c_int, ReplyHead), c_int> {
    let id = table::new_id().ok_or(libc::ENOMEM)?;
    let fd = channel::connect(Some(&socket_name(id)), flags & libc::SOCK_CLOEXEC != 0).map_err(|errno| {
        if matches!(errno, libc::ECONNREFUSED | libc::ENOENT) { libc::EPROTONOSUPPORT } else { errno }
    })?;
    // The least send buffer: a single filling makes the end not writable.
    let least: c_int = 0;
    // SAFETY: `least` lives through the call; the descriptor is our own.
    unsafe {
        libc::syscall(
            libc::SYS_setsockopt,
            fd,
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            &raw const least,
            size_of::<c_int>() as socklen_t,
        )
    };
    let made = make(id).and_then(|head| if head.result < 0 { Err(-head.result) } else { Ok(head) });
    match made {
        Ok(head) => {
            if flags & libc::SOCK_NONBLOCK != 0 {
                // SAFETY: no memory is involved.
                unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK) };
            }
            table::remember(fd, id);
            Ok((fd, head))
        }
        Err(errno) => {
            // SAFETY: the descriptor is our own, and closed once.
            unsafe { libc::syscall(libc::SYS_close, fd) };
            Err(errno)
        }
    }
}

fn is_ours(family: c_int, kind: c_int, protocol: c_int) -> bool {
    protocol == libc::IPPROTO_SCTP
        && matches!(family, libc::AF_INET | libc::AF_INET6)
        && matches!(kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK), libc::SOCK_STREAM | libc::SOCK_SEQPACKET)
}

/// See socket(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn socket(family: c_int, kind: c_int, protocol: c_int) -> c_int {
    if !is_ours(family, kind, protocol) {
        // SAFETY: the caller's matter.
        let fd = unsafe { real::socket(family, kind, protocol) };
        table::forget(fd);
        return fd;
    }
    int(caught(|| {
        let made = new(kind, |id| {
            let request = Request { args: [family, kind, 0, 0], ..Request::new(Op::Socket, id) };
            channel::ask(&request, &[]).map(|(head, _)| head)
        });
        match made {
            Ok((fd, head)) => {
                wait::settle(fd, &head);
                Step::done(fd as usize)
            }
            Err(errno) => Step::fail(errno),
        }
    }))
}

/// The bytes of a name that a program gives.
///
/// # Safety
///
/// The name is null, or has so many bytes.
unsafe fn given<'a>(name: *const sockaddr, length: socklen_t) -> &'a [u8] {
    if name.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(name.cast(), length as usize) }
}

/// A call whose body is a name.
///
/// # Safety
///
/// As `given`.
unsafe fn with_name(fd: c_int, id: SocketId, op: Op, name: *const sockaddr, length: socklen_t) -> Step {
    // SAFETY: the caller vouches for it.
    let name = unsafe { given(name, length) };
    match channel::ask(&Request::new(op, id), name) {
        Ok((head, _)) => wait::step(fd, &head),
        Err(errno) => Step::fail(errno),
    }
}

/// See bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bind(fd: c_int, name: *const sockaddr, length: socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::bind(fd, name, length) },
        // SAFETY: the caller's matter.
        Some(id) => int(caught(|| unsafe { with_name(fd, id, Op::Bind, name, length) })),
    }
}

/// See listen(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn listen(fd: c_int, backlog: c_int) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::listen(fd, backlog) };
    };
    int(caught(|| simple(fd, Request { args: [backlog, 0, 0, 0], ..Request::new(Op::Listen, id) })))
}

/// See shutdown(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn shutdown(fd: c_int, how: c_int) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::shutdown(fd, how) };
    };
    int(caught(|| simple(fd, Request { args: [how, 0, 0, 0], ..Request::new(Op::Shutdown, id) })))
}

/// A call without a body, whose reply is a number.
pub fn simple(fd: c_int, request: Request) -> Step {
    match channel::ask(&request, &[]) {
        Ok((head, _)) => wait::step(fd, &head),
        Err(errno) => Step::fail(errno),
    }
}

/// Waits until a connection that has begun is made.
///
/// # Safety
///
/// As `wait::until`.
pub unsafe fn finish_connect(fd: c_int, id: SocketId, begun: Step) -> Step {
    if begun.result != -(libc::EINPROGRESS as isize) || wait::is_nonblocking(fd) {
        return begun;
    }
    // SAFETY: the step copies a number.
    let ended = unsafe {
        wait::until(fd, libc::POLLOUT, false, move || {
            let step = simple(fd, Request::new(Op::Connected, id));
            let waits = step.result == -(libc::EINPROGRESS as isize);
            Step { result: if waits { -(libc::EAGAIN as isize) } else { step.result }, in_vain: 0, ..step }
        })
    };
    // What was not made in time is made still.
    if ended.waits() { begun } else { ended }
}

/// See connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn connect(fd: c_int, name: *const sockaddr, length: socklen_t) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::connect(fd, name, length) };
    };
    // SAFETY: the caller's matter.
    let begun = caught(|| unsafe { with_name(fd, id, Op::Connect, name, length) });
    // SAFETY: plain values.
    int(unsafe { finish_connect(fd, id, begun) })
}

/// See accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        let new = unsafe { real::accept(fd, name, length) };
        table::forget(new);
        return new;
    };
    // SAFETY: the caller's matter.
    int(unsafe { take(fd, id, name, length, 0) })
}

/// See accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn accept4(fd: c_int, name: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        let new = unsafe { real::accept4(fd, name, length, flags) };
        table::forget(new);
        return new;
    };
    if flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) != 0 {
        errno::set(libc::EINVAL);
        return -1;
    }
    // SAFETY: the caller's matter.
    int(unsafe { take(fd, id, name, length, flags) })
}

/// # Safety
///
/// As accept(2).
unsafe fn take(fd: c_int, id: SocketId, name: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> Step {
    // SAFETY: the step copies numbers and pointers.
    unsafe {
        wait::until(fd, libc::POLLIN, false, move || {
            let mut listener = ReplyHead::default();
            let mut peer = Vec::new();
            let made = new(flags, |new| {
                let (head, body) = channel::ask(&Request::new(Op::Accept, id), &new.0.to_ne_bytes())?;
                (listener, peer) = (head, body);
                Ok(head)
            });
            wait::settle(fd, &listener);
            match made {
                Ok((new, _)) => {
                    crate::names::give(&peer, name, length);
                    Step::done(new as usize)
                }
                Err(libc::EAGAIN) => Step { timeout_ms: listener.timeout_ms, ..Step::fail(libc::EAGAIN) },
                Err(errno) => Step::fail(errno),
            }
        })
    }
}
