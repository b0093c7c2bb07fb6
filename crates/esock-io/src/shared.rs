//! Memory that another process has made and shares with us, so that data need not go through a socket.
//!
//! The other process may write to it at any time, whatever was agreed: nothing is looked at there, everything is copied
//! out first, and no reference to it exists but to single words. It cannot be taken away: what can become smaller, or can
//! fail to have a page, is refused.

use crate::sys::{self, Control};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// The most that is taken from one process at once.
const MOST_BYTES: u64 = 1 << 20;

/// What memory must be sealed against: it stays as large as it is.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

/// Descriptors that may come with bytes; more are closed by the kernel.
const DESCRIPTORS: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct SharedMemory {
    at: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is nobody else's in this process, and is touched by copies only.
unsafe impl Send for SharedMemory {}

impl SharedMemory {
    /// Maps a memfd of at most 1 MiB that is sealed against becoming smaller or larger. `None` for everything else.
    pub fn new(memory: OwnedFd) -> Option<Self> {
        let file = File::from(memory);
        // SAFETY: no memory is involved. Only what lies in memory has seals.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        let size = file.metadata().ok()?;
        if seals < 0 || seals & SEALS != SEALS || !(1..=MOST_BYTES).contains(&size.size()) || !has_pages(&file) {
            return None;
        }
        let length = size.size() as usize;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        (at != libc::MAP_FAILED).then(|| NonNull::new(at.cast()).map(|at| Self { at, length })).flatten()
    }

    /// Bytes of it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Appends the first `count` bytes to `into`, as they are now. `None` if there are not so many.
    pub fn read(&self, count: usize, into: &mut Vec<u8>) -> Option<()> {
        if count > self.length {
            return None;
        }
        into.reserve_exact(count);
        // SAFETY: both have room for `count` bytes and lie apart; these are initialised by then, whatever they are.
        // That somebody may write to them meanwhile makes them others, and any are valid.
        unsafe {
            std::ptr::copy_nonoverlapping(self.at.as_ptr(), into.as_mut_ptr().add(into.len()), count);
            into.set_len(into.len() + count);
        }
        Some(())
    }

    /// Writes to its beginning. `None` if there is no room.
    pub fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.write_at(0, bytes)
    }

    /// Writes behind the first `at` bytes. `None` if there is no room.
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        if bytes.len() > self.length.checked_sub(at)? {
            return None;
        }
        // SAFETY: there is room, and the bytes are ours and lie elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.as_ptr().add(at), bytes.len()) };
        Some(())
    }

    /// The word behind the first `at` bytes, which both sides may change. `None` if there is none, or it is not aligned.
    pub fn word(&self, at: usize) -> Option<&AtomicU64> {
        if !at.is_multiple_of(size_of::<AtomicU64>()) || self.length.checked_sub(at)? < size_of::<AtomicU64>() {
            return None;
        }
        // SAFETY: it is there as long as we are, aligned because the mapping is, and an atomic may be changed by others.
        Some(unsafe { AtomicU64::from_ptr(self.at.as_ptr().add(at).cast()) })
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody has a reference to it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.length) };
    }
}

/// Whether a page can be had whenever one is touched: huge ones may have run out, and then whoever touches one is killed.
fn has_pages(file: &File) -> bool {
    // SAFETY: integers, for which zero is valid.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `about` has room for what is asked.
    let code = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut about) };
    code == 0 && about.f_type == libc::TMPFS_MAGIC
}

/// Looks at bytes that have come, which stay where they are; descriptors that have come with them are not taken.
pub fn peek(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: there is room for so many bytes.
        let got = unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_PEEK) };
        match usize::try_from(got).map_err(|_| io::Error::last_os_error()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Receives bytes, and the memory that has come with them, if it is any that can be used.
pub fn receive_with_memory(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<SharedMemory>)> {
    let mut control = Control::<{ 32 + 4 * DESCRIPTORS }>::new();
    let mut slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: integers and pointers, for which zero and null are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    let (pointer, length) = control.as_received();
    header.msg_control = pointer;
    header.msg_controllen = length as _;
    // SAFETY: all buffers named by `header` live through the call and have the lengths given.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let mut memory = None;
    // SAFETY: `header` was filled by the call above, and `control` is still there.
    unsafe {
        sys::each_control(&header, |level, kind, bytes| {
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // What is not kept is closed.
                for descriptor in bytes.chunks_exact(4).filter_map(sys::read::<libc::c_int>) {
                    memory = SharedMemory::new(OwnedFd::from_raw_fd(descriptor)).or(memory.take());
                }
            }
        });
    }
    Ok((got, memory))
}
