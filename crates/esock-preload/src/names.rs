//! `getsockname` and `getpeername`.

use crate::errno::{caught, int};
use crate::{channel, memory, real, table, wait};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_void, sockaddr, socklen_t};

/// Bytes of the largest address (`sockaddr_storage`).
pub const ROOM: usize = 128;

/// An address that a program gives.
pub struct Name {
    bytes: [u8; ROOM],
    length: usize,
}

impl Name {
    /// As the kernel takes it.
    pub fn take(name: *const c_void, length: socklen_t) -> Result<Self, c_int> {
        let length = length as usize;
        if length > ROOM {
            return Err(libc::EINVAL);
        }
        let mut bytes = [0; ROOM];
        if memory::read(name, &mut bytes[..length]) < length {
            return Err(libc::EFAULT);
        }
        Ok(Self { bytes, length })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Gives a program an address: as much as there is room for, and how long it is.
pub fn give(bytes: &[u8], name: *mut c_void, length: *mut socklen_t) -> Result<(), c_int> {
    let room = memory::take(length)?.cast_signed();
    let room = usize::try_from(room).map_err(|_| libc::EINVAL)?;
    let shown = &bytes[..room.min(bytes.len())];
    memory::give(&[(name, shown), (length.cast(), &(bytes.len() as socklen_t).to_ne_bytes())])
}

fn ask(fd: c_int, id: SocketId, op: Op, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    int(caught(|| {
        let mut bytes = [0; ROOM];
        let (head, came) = channel::ask(&Request::new(op, id), &[], &mut bytes)?;
        let step = wait::step(fd, id, &head);
        if head.result >= 0 {
            give(&bytes[..came.min(ROOM)], name.cast(), length)?;
        }
        Ok(step)
    }))
}

/// See getsockname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getsockname(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::getsockname(fd, name, length) },
        Some(id) => ask(fd, id, Op::LocalName, name, length),
    }
}

/// See getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getpeername(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int {
    match table::find(fd) {
        // SAFETY: the caller's matter.
        None => unsafe { real::getpeername(fd, name, length) },
        Some(id) => ask(fd, id, Op::PeerName, name, length),
    }
}
