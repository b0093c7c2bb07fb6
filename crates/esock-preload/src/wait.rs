//! Waiting for a socket, as a kernel has its callers wait.

use crate::errno::{self, Step};
use crate::{channel, real};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, ReplyHead, Request};
use libc::c_int;
use std::time::{Duration, Instant};

/// A filling that makes an end not writable: more than half of the least send buffer that Linux gives.
const FILLING: [u8; 2048] = [0; 2048];

/// Does to the program's end of a socket what a reply says.
pub fn settle(fd: c_int, head: &ReplyHead) {
    if head.pull > 0 {
        let mut bytes = [0_u8; 64];
        let length = (head.pull as usize).min(bytes.len());
        // SAFETY: `bytes` lives through the call and is as long.
        unsafe {
            libc::syscall(libc::SYS_recvfrom, fd, bytes.as_mut_ptr(), length, libc::MSG_DONTWAIT, 0_usize, 0_usize)
        };
    }
    if head.fill {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the filling lives for ever.
        unsafe { libc::syscall(libc::SYS_sendto, fd, FILLING.as_ptr(), FILLING.len(), flags, 0_usize, 0_usize) };
    }
}

/// What a reply comes to.
pub fn step(fd: c_int, head: &ReplyHead) -> Step {
    settle(fd, head);
    Step { result: head.result as isize, timeout_ms: head.timeout_ms, in_vain: head.flags }
}

/// Whether calls on a descriptor do not wait.
pub fn is_nonblocking(fd: c_int) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_GETFL) & libc::c_long::from(libc::O_NONBLOCK) != 0 }
}

/// Repeats a step until it need not wait, unless it must not. Threads can be cancelled while they wait: nothing here
/// has to be dropped.
///
/// # Safety
///
/// The step lives on plain values.
pub unsafe fn until<F: FnMut() -> Step + Copy>(fd: c_int, events: libc::c_short, dont_wait: bool, once: F) -> Step {
    let begun = Instant::now();
    let mut woken = false;
    loop {
        let step = errno::caught(once);
        if !step.waits() || dont_wait || is_nonblocking(fd) {
            return step;
        }
        if step.in_vain > 0 {
            return Step::fail(step.in_vain);
        }
        if woken && events == libc::POLLIN {
            errno::caught(|| recount(fd));
        }
        let left = match step.timeout_ms {
            0 => -1,
            limit => {
                let limit = Duration::from_millis(u64::from(limit));
                let Some(left) = limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else { return step };
                c_int::try_from(left.as_millis() + 1).unwrap_or(c_int::MAX)
            }
        };
        let mut entry = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: the entry lives through the call.
        let ready = unsafe { real::poll(&raw mut entry, 1, left) };
        if ready < 0 {
            return Step::fail(errno::get());
        }
        woken = ready > 0;
    }
}

/// Tells the broker what lies at our end, and takes out what it knows nothing of: somebody has died who was to do it.
fn recount(fd: c_int) -> Step {
    let mut lying: c_int = 0;
    // SAFETY: `lying` lives through the call.
    unsafe { libc::syscall(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut lying) };
    let Some(id) = crate::table::find(fd) else { return Step::default() };
    let request = Request { args: [lying, 0, 0, 0], ..Request::new(Op::Recount, id) };
    if let Ok((head, _)) = channel::ask(&request, &[]) {
        settle(fd, &head);
    }
    Step::default()
}

/// Has the broker deal with what has arrived.
pub fn sync() {
    errno::caught(|| {
        let _ = channel::ask(&Request::new(Op::Sync, SocketId(0)), &[]);
        Step::default()
    });
}
