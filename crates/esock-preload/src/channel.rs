//! Calls to the broker: a connection for each thread, a call at a time.
//!
//! System calls are made by number here: they are nobody's to intercept, and no points at which a thread is cancelled.

use crate::table;
use esock_sockets::SocketId;
use esock_sockets::protocol::{self, Op, REPLY_BYTES, ReplyHead, Request};
use libc::{c_int, c_long, c_void, iovec};
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, Ordering};

/// Descriptors of channels are at least this: out of the way of what programs expect.
const HIGH: c_int = 900;

/// A thread's connection.
#[derive(Debug, Clone, Copy)]
struct Channel {
    fd: c_int,
    /// The process that made it: after a `fork` it is the parent's.
    process: c_int,
    /// A call is under way: a signal came in its midst, or a signal handler has jumped out of it.
    busy: bool,
}

/// Closes a thread's connection when the thread ends.
struct Own(Cell<Option<Channel>>);

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(channel) = self.0.get() {
            close(channel);
        }
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(None)) };
}

/// A thread's process, which `fork` changes.
fn process() -> c_int {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as c_int }
}

fn close(channel: Channel) {
    table::forget(channel.fd);
    // SAFETY: the descriptor is our own, and closed once.
    unsafe { libc::syscall(libc::SYS_close, channel.fd) };
}

/// The value of an environment variable.
fn variable(name: &CStr) -> Option<String> {
    // SAFETY: the name is a string.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: it is not null, so a string, and is copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
}

/// The abstract name at which the broker listens.
fn broker() -> String {
    // SAFETY: it takes nothing and cannot fail.
    let user = unsafe { libc::syscall(libc::SYS_geteuid) } as u32;
    variable(c"ESOCK_BROKER").unwrap_or_else(|| protocol::broker_name(user))
}

/// Says once why there are no SCTP sockets.
fn complain(problem: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let text = format!("esock: {problem}\n");
        // SAFETY: the text lives through the call.
        unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
    }
}

/// A socket address of an abstract name, and its length.
fn abstract_address(name: &[u8]) -> (libc::sockaddr_un, libc::socklen_t) {
    // SAFETY: integers only, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in address.sun_path[1..].iter_mut().zip(name) {
        *place = *byte as libc::c_char;
    }
    let length = offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len().min(address.sun_path.len() - 1);
    (address, length as libc::socklen_t)
}

/// Connects to the broker, with a name of one's own if there is one. The descriptor is closed on `exec` if `private`.
pub fn connect(own: Option<&[u8]>, private: bool) -> Result<c_int, c_int> {
    let kind = libc::SOCK_STREAM | if private { libc::SOCK_CLOEXEC } else { 0 };
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_socket, libc::AF_UNIX, kind, 0) })? as c_int;
    let connected = own.map_or(Ok(0), |own| {
        let (address, length) = abstract_address(own);
        // SAFETY: the address lives through the call, and the length is its own.
        check(unsafe { libc::syscall(libc::SYS_bind, fd, &raw const address, length) })
    });
    let connected = connected.and_then(|_| {
        let name = broker();
        let (address, length) = abstract_address(name.as_bytes());
        // SAFETY: as above.
        check(unsafe { libc::syscall(libc::SYS_connect, fd, &raw const address, length) })
            .inspect_err(|_| complain(&format!("no broker at {name}: start programs with `esock run`")))
    });
    match connected {
        Ok(_) => Ok(fd),
        Err(errno) => {
            // SAFETY: the descriptor is our own, and closed once.
            unsafe { libc::syscall(libc::SYS_close, fd) };
            Err(errno)
        }
    }
}

fn check(result: c_long) -> Result<c_long, c_int> {
    if result < 0 { Err(crate::errno::get()) } else { Ok(result) }
}

/// This thread's connection; a new one if there is none, or if it cannot be used.
fn own() -> Result<Channel, c_int> {
    let process = process();
    let known = OWN.try_with(|own| own.0.get()).ok().flatten();
    if let Some(channel) = known {
        if channel.process == process && !channel.busy {
            return Ok(channel);
        }
        // What is under way there is lost, or is the parent's.
        close(channel);
    }
    let low = connect(None, true)?;
    // SAFETY: no memory is involved.
    let high = unsafe { libc::syscall(libc::SYS_fcntl, low, libc::F_DUPFD_CLOEXEC, HIGH) } as c_int;
    let fd = if high < 0 {
        low
    } else {
        // SAFETY: the descriptor is our own, and closed once.
        unsafe { libc::syscall(libc::SYS_close, low) };
        high
    };
    table::hide(fd);
    let channel = Channel { fd, process, busy: false };
    let hello =
        Request { args: [protocol::VERSION.cast_signed(), process, 0, 0], ..Request::new(Op::Hello, SocketId(0)) };
    let head = exchange(channel, &hello, &[], &mut |_| Vec::new())?;
    if head.result < 0 {
        complain("the broker is of another version: end it, and start programs with one `esock run`");
        close(channel);
        return Err(libc::EPROTO);
    }
    Ok(channel)
}

fn keep(channel: Option<Channel>) {
    let _ = OWN.try_with(|own| own.0.set(channel));
}

/// Calls the broker: sends the request with its body, which may be in many parts, and takes the reply. `places` says,
/// from the head of the reply, where the bytes of its body go.
pub fn call(
    request: &Request,
    body: &[iovec],
    places: &mut dyn FnMut(&ReplyHead) -> Vec<iovec>,
) -> Result<ReplyHead, c_int> {
    let channel = own()?;
    keep(Some(Channel { busy: true, ..channel }));
    let done = exchange(channel, request, body, places);
    match done {
        Ok(_) => keep(Some(channel)),
        Err(_) => {
            keep(None);
            close(channel);
        }
    }
    done
}

fn exchange(
    channel: Channel,
    request: &Request,
    body: &[iovec],
    places: &mut dyn FnMut(&ReplyHead) -> Vec<iovec>,
) -> Result<ReplyHead, c_int> {
    let length: usize = body.iter().map(|part| part.iov_len).sum();
    if length > protocol::MAX_BODY {
        return Err(libc::EMSGSIZE);
    }
    let mut head = Request { body: length as u32, ..*request }.to_bytes();
    let mut parts = Vec::with_capacity(body.len() + 1);
    parts.push(iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() });
    parts.extend_from_slice(body);
    transfer(channel.fd, &mut parts, true)?;
    let mut head = [0_u8; REPLY_BYTES];
    transfer(channel.fd, &mut [iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() }], false)?;
    let head = ReplyHead::from_bytes(&head);
    let mut parts = places(&head);
    let room: usize = parts.iter().map(|part| part.iov_len).sum();
    let mut rest = vec![0_u8; (head.body as usize).saturating_sub(room)];
    if room > head.body as usize {
        shorten(&mut parts, head.body as usize);
    }
    if !rest.is_empty() {
        parts.push(iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() });
    }
    transfer(channel.fd, &mut parts, false)?;
    Ok(head)
}

/// Cuts parts to a length in all.
fn shorten(parts: &mut Vec<iovec>, mut length: usize) {
    for part in parts.iter_mut() {
        part.iov_len = part.iov_len.min(length);
        length -= part.iov_len;
    }
    parts.retain(|part| part.iov_len > 0);
}

/// Sends or receives all of the parts.
fn transfer(fd: c_int, parts: &mut [iovec], out: bool) -> Result<(), c_int> {
    let mut first = 0;
    while first < parts.len() {
        if parts[first].iov_len == 0 {
            first += 1;
            continue;
        }
        let count = (parts.len() - first).min(1024);
        // SAFETY: integers and pointers, for which zero is valid.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts[first..].as_mut_ptr();
        message.msg_iovlen = count as _;
        let (call, flags) =
            if out { (libc::SYS_sendmsg, libc::MSG_NOSIGNAL) } else { (libc::SYS_recvmsg, libc::MSG_WAITALL) };
        // SAFETY: the parts are whoever calls' own, and live through the call.
        let moved = unsafe { libc::syscall(call, fd, &raw mut message, flags) };
        match check(moved) {
            Ok(0) => return Err(libc::ECONNRESET),
            Ok(moved) => advance(parts, &mut first, moved as usize),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What is left of parts when so many bytes have gone.
fn advance(parts: &mut [iovec], first: &mut usize, mut moved: usize) {
    while moved > 0 {
        let part = &mut parts[*first];
        let of_this = moved.min(part.iov_len);
        part.iov_base = part.iov_base.cast::<u8>().wrapping_add(of_this).cast::<c_void>();
        part.iov_len -= of_this;
        moved -= of_this;
        if part.iov_len == 0 {
            *first += 1;
        }
    }
}

/// A call whose reply is a number, or bytes that are taken whole.
pub fn ask(request: &Request, body: &[u8]) -> Result<(ReplyHead, Vec<u8>), c_int> {
    let mut bytes = Vec::new();
    let part = iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() };
    let head = call(request, &[part], &mut |head| {
        bytes = vec![0_u8; head.body as usize];
        vec![iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }]
    })?;
    Ok((head, bytes))
}
