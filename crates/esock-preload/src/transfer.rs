//! `sendfile` and `splice`: the kernel cannot move data to and from sockets of ours, so it is read and sent.

use crate::errno::{self, Step, int, result};
use crate::memory::{self, Parts};
use crate::receive::{self, counted};
use crate::{real, send, table};
use esock_sockets::SocketId;
use libc::{c_int, c_uint, c_void, iovec, off_t, size_t, ssize_t};

/// A message of a file: as much as Linux sends at once.
const PIECE: usize = 64 << 10;

/// See sendfile(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendfile(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    match table::find(to) {
        // SAFETY: the caller's matter.
        None => unsafe { real::sendfile(to, from, offset, count) },
        // SAFETY: as `wait::until`.
        Some(id) => unsafe { file(to, id, from, offset, count) },
    }
}

/// `sendfile` as programs call it that were built for large files.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn sendfile64(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    match table::find(to) {
        // SAFETY: the caller's matter.
        None => unsafe { real::sendfile64(to, from, offset, count) },
        // SAFETY: as `wait::until`.
        Some(id) => unsafe { file(to, id, from, offset, count) },
    }
}

/// # Safety
///
/// As `wait::until`.
unsafe fn file(to: c_int, id: SocketId, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    let begin = if offset.is_null() {
        // SAFETY: no memory is involved.
        errno::check(unsafe { libc::lseek(from, 0, libc::SEEK_CUR) })
    } else {
        memory::take(offset.cast::<[u8; size_of::<off_t>()]>()).map(off_t::from_ne_bytes)
    };
    let begin = match begin {
        Ok(begin) => begin,
        Err(libc::ESPIPE) => return result(Step::fail(libc::EINVAL)),
        Err(errno) => return result(Step::fail(errno)),
    };
    let sent = with_buffer(|buffer| {
        let mut sent = 0;
        while sent < count {
            let piece = (count - sent).min(PIECE);
            // SAFETY: the buffer has room for a piece.
            let got = unsafe { libc::pread(from, buffer, piece, begin + sent as off_t) };
            if got <= 0 {
                return if got < 0 && sent == 0 { -1 } else { sent as ssize_t };
            }
            // SAFETY: as `wait::until`.
            let gone = unsafe { send::plain(to, id, Parts::one(buffer, got as usize), 0) };
            if gone < 0 {
                return if sent == 0 { -1 } else { sent as ssize_t };
            }
            sent += gone as usize;
        }
        sent as ssize_t
    });
    if sent < 0 {
        return sent;
    }
    let end = begin + sent as off_t;
    if offset.is_null() {
        // SAFETY: no memory is involved.
        unsafe { libc::lseek(from, end, libc::SEEK_SET) };
    } else if let Err(errno) = memory::give(&[(offset.cast(), &end.to_ne_bytes())]) {
        return result(Step::fail(errno));
    }
    sent
}

/// Memory for a piece, while something runs. If the thread is cancelled in its midst, it is lost.
fn with_buffer(run: impl FnOnce(*mut c_void) -> ssize_t) -> ssize_t {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), PIECE, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return result(Step::fail(libc::ENOMEM));
    }
    let done = run(at);
    let errno = errno::get();
    // SAFETY: it is ours, and nobody has it any more.
    unsafe { libc::munmap(at, PIECE) };
    errno::set(errno);
    done
}

/// See splice(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn splice(
    from: c_int,
    from_offset: *mut libc::loff_t,
    to: c_int,
    to_offset: *mut libc::loff_t,
    count: size_t,
    flags: c_uint,
) -> ssize_t {
    let ours = (table::find(from), table::find(to));
    if ours == (None, None) {
        // SAFETY: the caller's matter.
        return unsafe { real::splice(from, from_offset, to, to_offset, count, flags) };
    }
    if !from_offset.is_null() || !to_offset.is_null() {
        return result(Step::fail(libc::ESPIPE));
    }
    let count = count.min(PIECE);
    let flags = if flags & libc::SPLICE_F_NONBLOCK != 0 { libc::MSG_DONTWAIT } else { 0 };
    // SAFETY: the buffer has room for a piece.
    with_buffer(|buffer| unsafe {
        match ours {
            (Some(id), _) => {
                let got = receive::plain(from, id, Ok(Parts::one(buffer, count)), flags);
                if got <= 0 { got } else { write_all(to, buffer, got as usize) }
            }
            (_, Some(id)) => {
                // What is taken out of the pipe must go: it cannot be put back.
                let got = real::read(from, buffer, count);
                if got <= 0 { got } else { send_all(to, id, &Parts::one(buffer, got as usize)) }
            }
            (None, None) => 0,
        }
    })
}

/// # Safety
///
/// So many bytes can be read there.
unsafe fn write_all(to: c_int, at: *mut c_void, length: usize) -> ssize_t {
    let mut done = 0;
    while done < length {
        // SAFETY: the caller vouches for it.
        let written = unsafe { real::write(to, at.wrapping_byte_add(done), length - done) };
        if written >= 0 {
            done += written as usize;
        } else if errno::get() == libc::EAGAIN {
            ready(to);
        } else if errno::get() != libc::EINTR {
            return if done == 0 { -1 } else { done as ssize_t };
        }
    }
    done as ssize_t
}

/// # Safety
///
/// As `wait::until`.
unsafe fn send_all(to: c_int, id: SocketId, parts: &Parts) -> ssize_t {
    loop {
        // SAFETY: the caller's matter.
        let sent = unsafe { send::plain(to, id, *parts, 0) };
        if sent >= 0 || !matches!(errno::get(), libc::EAGAIN | libc::EINTR) {
            return sent;
        }
        ready(to);
    }
}

/// Waits until a descriptor that does not wait takes more.
fn ready(fd: c_int) {
    let mut entry = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the entry lives through the call.
    unsafe { real::poll(&raw mut entry, 1, 1000) };
}

/// See preadv2(2): of a socket, without an offset, it is `readv`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn preadv2(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::preadv2(fd, parts, count, offset, flags) },
        Some(_) if offset != -1 => result(Step::fail(libc::ESPIPE)),
        Some(id) => match counted(parts, count) {
            Ok(parts) if parts.length == 0 => 0,
            // SAFETY: as `wait::until`.
            parts => unsafe { receive::plain(fd, id, parts, dont_wait(flags)) },
        },
    }
}

/// See pwritev2(2): of a socket, without an offset, it is `writev`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pwritev2(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    offset: off_t,
    flags: c_int,
) -> ssize_t {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::pwritev2(fd, parts, count, offset, flags) },
        Some(_) if offset != -1 => result(Step::fail(libc::ESPIPE)),
        Some(id) => match counted(parts, count) {
            Ok(parts) if parts.length == 0 => 0,
            // SAFETY: as `wait::until`.
            Ok(parts) => unsafe { send::plain(fd, id, parts, dont_wait(flags)) },
            Err(errno) => int(Step::fail(errno)) as ssize_t,
        },
    }
}

fn dont_wait(flags: c_int) -> c_int {
    if flags & libc::RWF_NOWAIT != 0 { libc::MSG_DONTWAIT } else { 0 }
}
