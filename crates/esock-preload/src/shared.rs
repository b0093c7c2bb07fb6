//! Memory that the broker shares with us, one piece for each channel: data of large messages lie there, so that they need
//! not go through a socket.
//!
//! The descriptor is closed once the broker has it. The mapping stays: nothing that the program does with its
//! descriptors leads elsewhere. A child that was forked does not have it, and makes channels of its own.

use crate::broker::close;
use crate::errno::check;
use esock_sockets::protocol::MEMORY_BYTES;
use libc::{c_int, c_uint};

/// `MFD_NOEXEC_SEAL`: hosts may demand it; kernels before 6.3 do not know it.
const NO_EXEC: c_uint = 8;

/// A new piece of memory, and the descriptor by which it can be passed on.
pub struct New {
    pub at: *mut u8,
    pub fd: c_int,
}

impl New {
    /// None if there is no memory, if a limit forbids it, or if it cannot be kept from a child.
    pub fn make() -> Option<Self> {
        if !is_allowed() {
            return None;
        }
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let fd = create(flags | NO_EXEC).or_else(|_| create(flags)).ok()?;
        map(fd).map(|at| Self { at, fd }).inspect_err(|_| close(fd)).ok()
    }
}

fn create(flags: c_uint) -> Result<c_int, c_int> {
    // SAFETY: the name is a string.
    check(unsafe { libc::syscall(libc::SYS_memfd_create, c"esock".as_ptr(), flags) }).map(|fd| fd as c_int)
}

/// Whether the program may have a file so large: it would be sent SIGXFSZ otherwise.
fn is_allowed() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for what is asked.
    let code = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    code == 0 && limit.rlim_cur >= MEMORY_BYTES as libc::rlim_t
}

fn map(fd: c_int) -> Result<*mut u8, c_int> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no memory is involved.
    check(unsafe { libc::syscall(libc::SYS_ftruncate, fd, MEMORY_BYTES) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_ADD_SEALS, seals) })?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), MEMORY_BYTES, protection, flags, fd, 0) };
    if at == libc::MAP_FAILED {
        return Err(crate::errno::get());
    }
    // SAFETY: the mapping is ours.
    if unsafe { libc::madvise(at, MEMORY_BYTES, libc::MADV_DONTFORK) } != 0 {
        let errno = crate::errno::get();
        unmap(at.cast());
        return Err(errno);
    }
    Ok(at.cast())
}

/// Gives a piece back.
pub fn unmap(at: *mut u8) {
    // SAFETY: it was mapped by `map`, by this process, and nobody uses it any more.
    unsafe { libc::munmap(at.cast(), MEMORY_BYTES) };
}
