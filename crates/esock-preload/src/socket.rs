//! `socket`, `accept`, and what gives sockets their names and peers.

use crate::errno::{self, Step, caught, int};
use crate::names::{self, Name, ROOM};
use crate::wait::For;
use crate::{broker, channel, life, memory, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, ReplyHead, Request, socket_name};
use libc::{c_int, sockaddr, socklen_t};

/// Makes the program's end of a socket, and the socket by `make`. Flags are those of `socket`.
pub fn new(
    flags: c_int,
    make: impl FnOnce(SocketId) -> Result<ReplyHead, c_int>,
) -> Result<(c_int, SocketId, ReplyHead), c_int> {
    let id = table::new_id().ok_or(libc::ENOMEM)?;
    let fd = broker::connect(Some(&socket_name(id)), flags & libc::SOCK_CLOEXEC != 0)?;
    // The least send buffer: a single filling makes the end not writable.
    let least: c_int = 0;
    let (level, name, size) = (libc::SOL_SOCKET, libc::SO_SNDBUF, size_of::<c_int>());
    // SAFETY: `least` lives through the call; the descriptor is our own.
    unsafe { libc::syscall(libc::SYS_setsockopt, fd, level, name, &raw const least, size) };
    let made = make(id).and_then(|head| if head.result < 0 { Err(-head.result) } else { Ok(head) });
    match made {
        Ok(head) => {
            if flags & libc::SOCK_NONBLOCK != 0 {
                // SAFETY: no memory is involved.
                unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFL, libc::O_RDWR | libc::O_NONBLOCK) };
            }
            table::remember(fd, id);
            Ok((fd, id, head))
        }
        Err(errno) => {
            broker::close(fd);
            Err(errno)
        }
    }
}

fn is_ours(family: c_int, kind: c_int, protocol: c_int) -> bool {
    let sctp = match kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) {
        libc::SOCK_STREAM => protocol == libc::IPPROTO_SCTP,
        // Without a protocol it is SCTP, too: nothing else has this type.
        libc::SOCK_SEQPACKET => matches!(protocol, libc::IPPROTO_SCTP | libc::IPPROTO_IP),
        _ => false,
    };
    sctp && matches!(family, libc::AF_INET | libc::AF_INET6) && !life::life().kernel
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
        let (fd, id, head) = new(kind, |id| {
            let request = Request { args: [family, kind, 0, 0], ..Request::new(Op::Socket, id) };
            channel::ask(&request, &[], &mut []).map(|(head, _)| head)
        })?;
        wait::settle(fd, id, &head);
        Ok(Step::done(fd as usize))
    }))
}

/// See socketpair(2): SCTP has no pairs.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn socketpair(family: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int {
    if !is_ours(family, kind, protocol) {
        // SAFETY: the caller's matter.
        return unsafe { real::socketpair(family, kind, protocol, pair) };
    }
    let failed = memory::take(pair.cast::<[c_int; 2]>()).map_or_else(|errno| errno, |_| libc::EOPNOTSUPP);
    int(Step::fail(failed))
}

/// A call whose body is a name.
fn with_name(fd: c_int, id: SocketId, op: Op, name: *const sockaddr, length: socklen_t) -> Step {
    caught(|| {
        let name = Name::take(name.cast(), length)?;
        let (head, _) = channel::ask(&Request::new(op, id), name.bytes(), &mut [])?;
        Ok(wait::step(fd, id, &head))
    })
}

/// See bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bind(fd: c_int, name: *const sockaddr, length: socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::bind(fd, name, length) },
        Some(id) => int(with_name(fd, id, Op::Bind, name, length)),
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
    let awaited = wait::shut(fd, id);
    int(caught(|| simple(fd, Request { args: [how, awaited.into(), 0, 0], ..Request::new(Op::Shutdown, id) })))
}

/// A call without a body, whose reply is a number.
pub fn simple(fd: c_int, request: Request) -> Result<Step, c_int> {
    let (head, _) = channel::ask(&request, &[], &mut [])?;
    Ok(wait::step(fd, request.socket, &head))
}

/// Waits until a connection that has begun is made.
///
/// # Safety
///
/// As `wait::until`.
pub unsafe fn finish_connect(fd: c_int, id: SocketId, begun: Step) -> Step {
    if begun.result != -(libc::EINPROGRESS as isize) || begun.in_vain != 0 || wait::is_nonblocking(fd) {
        return begun;
    }
    // SAFETY: the step copies a number.
    let ended = unsafe {
        wait::until(fd, For::Output, false, move || {
            let step = simple(fd, Request::new(Op::Connected, id))?;
            let waits = step.result == -(libc::EINPROGRESS as isize);
            Ok(if waits { Step { result: -(libc::EAGAIN as isize), ..step } } else { Step { in_vain: 0, ..step } })
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
    let begun = with_name(fd, id, Op::Connect, name, length);
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
/// As `wait::until`.
unsafe fn take(fd: c_int, id: SocketId, name: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> Step {
    // SAFETY: the step copies numbers and pointers.
    unsafe {
        wait::until(fd, For::Connection, false, move || {
            // Asked first, because a descriptor is made before the socket is: one in vain is not to be made.
            let (head, _) = channel::ask(&Request::new(Op::Acceptable, id), &[], &mut [])?;
            table::set_patience(fd, if head.patient { For::Connection as u8 } else { 0 });
            if head.result < 0 {
                return Ok(wait::step(fd, id, &head));
            }
            accept_one(fd, id, name, length, flags)
        })
    }
}

fn accept_one(
    fd: c_int,
    id: SocketId,
    name: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> Result<Step, c_int> {
    let mut listener = ReplyHead::default();
    let mut peer = [0; ROOM];
    let mut came = 0;
    let made = new(flags, |new| {
        (listener, came) = channel::ask(&Request::new(Op::Accept, id), &new.0.to_ne_bytes(), &mut peer)?;
        Ok(listener)
    });
    wait::settle(fd, id, &listener);
    match made {
        Ok((new, ..)) => {
            if !name.is_null()
                && let Err(errno) = names::give(&peer[..came.min(ROOM)], name.cast(), length)
            {
                // As the kernel: who cannot be told of it does not get it.
                table::forget(new);
                broker::close(new);
                return Err(errno);
            }
            Ok(Step::done(new as usize))
        }
        Err(libc::EAGAIN) => Ok(Step { timeout_ms: listener.timeout_ms, ..Step::fail(libc::EAGAIN) }),
        Err(errno) => Err(errno),
    }
}
