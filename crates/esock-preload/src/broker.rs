//! Connections to the broker.
//!
//! System calls are made by number here and in `channel`: they are nobody's to intercept, and no points at which a
//! thread is cancelled.

use crate::errno::check;
use crate::life::{self, life};
use crate::start;
use libc::c_int;
use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says once why there are no SCTP sockets.
pub fn complain(problem: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let text = format!("esock: {problem}\n");
        // SAFETY: the text lives through the call.
        unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
    }
}

/// Closes a descriptor of our own.
pub fn close(fd: c_int) {
    // SAFETY: the descriptor is our own, and closed once.
    unsafe { libc::syscall(libc::SYS_close, fd) };
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

/// Connects to the broker, which is started if there is none. `own` is the name of this end, if it has one. The
/// descriptor is closed on `exec` if `private`.
pub fn connect(own: Option<&[u8]>, private: bool) -> Result<c_int, c_int> {
    let name = &life().broker;
    match attempt(name, own, private) {
        Err(libc::ECONNREFUSED | libc::ENOENT) => {}
        done => return done,
    }
    if let Err(problem) = start::broker() {
        complain(&format!("no broker at {name}: {problem}"));
        return Err(libc::EPROTONOSUPPORT);
    }
    attempt(name, own, private).inspect_err(|_| complain(&format!("the broker at {name} has ended at once")))
}

fn attempt(name: &str, own: Option<&[u8]>, private: bool) -> Result<c_int, c_int> {
    let kind = libc::SOCK_STREAM | if private { libc::SOCK_CLOEXEC } else { 0 };
    // SAFETY: no memory is involved.
    let fd = check(unsafe { libc::syscall(libc::SYS_socket, libc::AF_UNIX, kind, 0) })? as c_int;
    let connected = own.map_or(Ok(0), |own| {
        let (address, length) = abstract_address(own);
        // SAFETY: the address lives through the call, and the length is its own.
        check(unsafe { libc::syscall(libc::SYS_bind, fd, &raw const address, length) })
    });
    let connected = connected.and_then(|_| {
        let (address, length) = abstract_address(name.as_bytes());
        loop {
            // SAFETY: as above.
            match check(unsafe { libc::syscall(libc::SYS_connect, fd, &raw const address, length) }) {
                Err(libc::EINTR) => {}
                done => return done,
            }
        }
    });
    let connected = connected.and_then(|_| if is_ours(fd) { Ok(()) } else { Err(libc::EACCES) });
    connected.map(|()| fd).inspect_err(|_| close(fd))
}

/// Whether who listens there is whom we may tell what the program says: ourselves, root, or the user that we were.
fn is_ours(fd: c_int) -> bool {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `peer` and `length` live through the call, and the length is that of `peer`.
    let code = unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, &raw mut peer, &raw mut length) };
    // SAFETY: it takes nothing and cannot fail.
    let own = unsafe { libc::syscall(libc::SYS_geteuid) } as u32;
    let is = code == 0 && (peer.uid == own || peer.uid == 0 || peer.uid == life().user);
    if !is {
        complain(&format!("the broker at {} is another user's ({}): nothing is told to it", life().broker, peer.uid));
    }
    is
}

/// What the broker's key is, for the first call on a connection.
pub fn key() -> &'static str {
    life::life().key.as_deref().unwrap_or("")
}
