//! Which descriptors are sockets of ours.
//!
//! A descriptor that was not made by a function of ours is looked at once, the first time that it is used; sockets of
//! ours are remembered with the inode, because a descriptor can be closed without our knowing (`fclose` does not come
//! here). What is not ours never becomes ours without a function of ours: not by being closed, so that this can be
//! shared with a child of `vfork`, whose descriptors are others by the same numbers.

use esock_sockets::SocketId;
use esock_sockets::protocol::socket_of;
use libc::c_int;
use std::mem::{MaybeUninit, size_of};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Descriptors that are remembered; those beyond are looked at each time.
const REMEMBERED: usize = 1 << 16;

/// Nobody has looked.
const UNKNOWN: u64 = 0;
/// Something else.
const OTHER: u64 = 1;
/// A connection of `channel`: not a descriptor that the program knows of.
const CHANNEL: u64 = 2;
/// An `epoll` that watches a socket of ours.
const EPOLL: u64 = 3;

/// What each descriptor is: one of the above, or a socket's number, which is above them.
static KINDS: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(UNKNOWN) }; REMEMBERED];
/// The inodes of those that are sockets of ours.
static INODES: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];
/// What whoever need not return at once can wait for without asking before, as far as we know; see [`patience`].
static PATIENCE: [AtomicU8; REMEMBERED] = [const { AtomicU8::new(0) }; REMEMBERED];
/// By which connection they were read last, counted from 1; 0 for none.
static READERS: [AtomicU8; REMEMBERED] = [const { AtomicU8::new(0) }; REMEMBERED];
/// There has been a socket of ours.
static ANY: AtomicBool = AtomicBool::new(false);

/// A number for a new socket: not to be guessed, and above the special ones.
pub fn new_id() -> Option<SocketId> {
    let mut number = 0_u64;
    // SAFETY: `number` has room for as many bytes.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, &raw mut number, size_of::<u64>(), 0) };
    (got == size_of::<u64>() as libc::c_long).then_some(SocketId(number | 1 << 63))
}

fn place(fd: c_int) -> Option<usize> {
    usize::try_from(fd).ok().filter(|place| *place < REMEMBERED)
}

/// The socket of ours that a descriptor is.
#[inline]
pub fn find(fd: c_int) -> Option<SocketId> {
    let Some(place) = place(fd) else { return if fd < 0 { None } else { identify(fd) } };
    match KINDS[place].load(Ordering::Relaxed) {
        OTHER | CHANNEL | EPOLL => None,
        UNKNOWN => learn(fd, place),
        id => confirm(fd, place, id),
    }
}

#[inline(never)]
fn confirm(fd: c_int, place: usize, id: u64) -> Option<SocketId> {
    if inode(fd) == Some(INODES[place].load(Ordering::Relaxed)) { Some(SocketId(id)) } else { learn(fd, place) }
}

/// Whether there can be any socket of ours in this process.
#[inline]
pub fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

#[cold]
fn learn(fd: c_int, place: usize) -> Option<SocketId> {
    let found = identify(fd);
    match found {
        Some(id) => remember(fd, id),
        // What is closed may be a socket of ours when it is open again, without our knowing.
        None if inode(fd).is_none() && !is_open(fd) => KINDS[place].store(UNKNOWN, Ordering::Relaxed),
        None => KINDS[place].store(OTHER, Ordering::Relaxed),
    }
    found
}

fn is_open(fd: c_int) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFD) >= 0 }
}

/// A descriptor is a socket of ours from now on.
pub fn remember(fd: c_int, id: SocketId) {
    ANY.store(true, Ordering::Relaxed);
    if let (Some(place), Some(inode)) = (place(fd), inode(fd)) {
        INODES[place].store(inode, Ordering::Relaxed);
        PATIENCE[place].store(0, Ordering::Relaxed);
        READERS[place].store(0, Ordering::Relaxed);
        KINDS[place].store(id.0, Ordering::Relaxed);
    }
}

/// A descriptor of ours is gone, as far as the program knows.
#[inline]
pub fn forget(fd: c_int) {
    if let Some(place) = place(fd)
        && KINDS[place].load(Ordering::Relaxed) != OTHER
    {
        KINDS[place].store(UNKNOWN, Ordering::Relaxed);
    }
}

/// A descriptor came from elsewhere, and is to be looked at.
pub fn look_again(fd: c_int) {
    if let Some(place) = place(fd) {
        KINDS[place].store(UNKNOWN, Ordering::Relaxed);
    }
}

/// Whether a descriptor is remembered as a socket of ours. Nobody looks.
#[inline]
pub fn is_remembered(fd: c_int) -> bool {
    place(fd).is_some_and(|place| KINDS[place].load(Ordering::Relaxed) > EPOLL)
}

/// A descriptor is a connection of ours that the program does not know of.
pub fn hide(fd: c_int) {
    if let Some(place) = place(fd) {
        KINDS[place].store(CHANNEL, Ordering::Relaxed);
    }
}

/// Whether a descriptor is one that the program does not know of.
#[inline]
pub fn is_hidden(fd: c_int) -> bool {
    place(fd).is_some_and(|place| KINDS[place].load(Ordering::Relaxed) == CHANNEL)
}

/// The least descriptor from `from` to `to` that the program does not know of.
pub fn first_hidden(from: u32, to: u32) -> Option<u32> {
    let to = to.min(REMEMBERED as u32 - 1);
    (from..=to).find(|fd| KINDS[*fd as usize].load(Ordering::Relaxed) == CHANNEL)
}

/// Descriptors in a range have been closed.
pub fn forget_range(from: u32, to: u32) {
    (from..=to.min(REMEMBERED as u32 - 1)).for_each(|fd| forget(fd as c_int));
}

/// An `epoll` watches a socket of ours.
pub fn watches(epoll: c_int) {
    if let Some(place) = place(epoll) {
        KINDS[place].store(EPOLL, Ordering::Relaxed);
    }
}

/// Whether an `epoll` watches sockets of ours, as far as we know.
#[inline]
pub fn is_watching(epoll: c_int) -> bool {
    place(epoll).is_some_and(|place| KINDS[place].load(Ordering::Relaxed) == EPOLL)
}

/// What whoever need not return at once can wait for without asking before; a number that the caller gives a meaning.
pub fn patience(fd: c_int) -> u8 {
    place(fd).map_or(0, |place| PATIENCE[place].load(Ordering::Relaxed))
}

/// See [`patience`]; 0 is nothing.
pub fn set_patience(fd: c_int, patience: u8) {
    if let Some(place) = place(fd) {
        PATIENCE[place].store(patience, Ordering::Relaxed);
    }
}

/// By which connection a socket was read last: what comes next may be offered there.
pub fn reader(fd: c_int) -> Option<usize> {
    place(fd).and_then(|place| usize::from(READERS[place].load(Ordering::Relaxed)).checked_sub(1))
}

/// See [`reader`].
pub fn set_reader(fd: c_int, connection: usize) {
    if let (Some(place), Ok(number)) = (place(fd), u8::try_from(connection + 1)) {
        READERS[place].store(number, Ordering::Relaxed);
    }
}

/// The inode of a descriptor that is a socket.
pub fn inode(fd: c_int) -> Option<u64> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `status` has room for what the call writes.
    if unsafe { libc::syscall(libc::SYS_fstat, fd, status.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, and has written it.
    let status = unsafe { status.assume_init() };
    (status.st_mode & libc::S_IFMT == libc::S_IFSOCK).then_some(status.st_ino)
}

/// Asks the kernel what a descriptor is: a socket of ours has a name that says so.
fn identify(fd: c_int) -> Option<SocketId> {
    let before = crate::errno::get();
    let mut name = [0_u8; size_of::<libc::sockaddr_un>()];
    let mut length = name.len() as libc::socklen_t;
    // SAFETY: `name` and `length` live through the call, and the length is that of `name`.
    let code = unsafe { libc::syscall(libc::SYS_getsockname, fd, name.as_mut_ptr(), &raw mut length) };
    crate::errno::set(before);
    let family = u16::from_ne_bytes([name[0], name[1]]);
    if code != 0 || i32::from(family) != libc::AF_UNIX {
        return None;
    }
    let name = name.get(2..length as usize)?;
    socket_of(name.strip_prefix(&[0])?)
}
