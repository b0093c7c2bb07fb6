//! Waiting for a socket, as a kernel has its callers wait.

use crate::errno::{self, Step};
use crate::{channel, real, signals, table};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, ReplyHead, Request};
use libc::c_int;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

/// A filling that makes an end not writable: more than half of the least send buffer that Linux gives.
const FILLING: [u8; 2048] = [0; 2048];

/// Bytes that may lie at an end: more than the broker ever puts there.
const MOST: usize = 64;

/// The longest single wait for what may be told to somebody else, and not twice: that something can be sent, or that a
/// wait for input is in vain.
const SLICE_MS: c_int = 1000;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Something to be read.
    Input = 1,
    /// A connection to be taken.
    Connection,
    /// That something can be sent, or a connection is made.
    Output,
}

/// Does to the program's end of a socket what a reply says.
pub fn settle(fd: c_int, id: SocketId, head: &ReplyHead) {
    if head.pull > 0 {
        pull(fd, id, (head.pull as usize).min(MOST), head.upto);
    } else if head.result == -libc::EAGAIN && !head.fill {
        // Nothing is there, and so nothing may lie there: whoever was to take it out may have died.
        let void = lying(fd).iter().take_while(|byte| is_void(**byte, head.upto) && **byte != 0).count();
        if void > 0 {
            pull(fd, id, void, head.upto);
        }
    }
    if head.fill {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the filling lives for ever.
        unsafe { libc::syscall(libc::SYS_sendto, fd, FILLING.as_ptr(), FILLING.len(), flags, 0_usize, 0_usize) };
    }
}

fn receive(fd: c_int, count: usize, flags: c_int) -> ([u8; MOST], usize) {
    let mut bytes = [0_u8; MOST];
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: `bytes` lives through the call and has room for `count`, which is at most `MOST`.
    let got =
        unsafe { libc::syscall(libc::SYS_recvfrom, fd, bytes.as_mut_ptr(), count.min(MOST), flags, 0_usize, 0_usize) };
    (bytes, usize::try_from(got).unwrap_or(0))
}

/// What lies at an end; the rest are zeroes, which the broker never puts there.
fn lying(fd: c_int) -> [u8; MOST] {
    receive(fd, MOST, libc::MSG_PEEK).0
}

/// Whether a byte says nothing any more: the broker counts them, modulo 256.
fn is_void(byte: u8, upto: u8) -> bool {
    upto.wrapping_sub(byte) < 128
}

/// Takes bytes out of an end. Somebody else may have taken them before: what says something new is said again.
fn pull(fd: c_int, id: SocketId, count: usize, upto: u8) {
    let (bytes, got) = receive(fd, count, 0);
    if bytes[..got].iter().any(|byte| !is_void(*byte, upto)) {
        let _ = channel::ask(&Request::new(Op::SayAgain, id), &[], &mut []);
    }
}

/// What a reply comes to.
pub fn step(fd: c_int, id: SocketId, head: &ReplyHead) -> Step {
    settle(fd, id, head);
    // The descriptor is good: the broker that had the socket has ended, and with it all of this network.
    let errno = if head.result == -libc::EBADF { -libc::ENETDOWN } else { head.result };
    Step { result: errno as isize, timeout_ms: head.timeout_ms, in_vain: head.flags }
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
pub unsafe fn until<F>(fd: c_int, what: For, dont_wait: bool, once: F) -> Step
where
    F: FnMut() -> Result<Step, c_int> + Copy,
{
    // SAFETY: it takes nothing; nothing here has to be dropped.
    unsafe { real::pthread_testcancel() };
    let before = errno::get();
    if what != For::Output && !dont_wait && table::patience(fd) == what as u8 {
        // SAFETY: as above.
        let waited = unsafe { for_input(fd) };
        // A descriptor that does not wait has its packets dealt with first.
        if waited < 0 && waited != -libc::EAGAIN {
            return Step::fail(-waited);
        }
    }
    let mut begun = None;
    loop {
        let step = errno::caught(once);
        if !step.waits() || dont_wait || is_nonblocking(fd) {
            errno::set(before);
            return step;
        }
        if step.in_vain > 0 {
            return Step::fail(step.in_vain);
        }
        let patient = table::patience(fd) == what as u8;
        let waited = if what != For::Output && step.timeout_ms == 0 && patient {
            // SAFETY: as above.
            unsafe { for_input(fd) }
        } else {
            let left = match step.timeout_ms {
                0 => SLICE_MS,
                limit => {
                    let begun = *begun.get_or_insert_with(Instant::now);
                    let left = Duration::from_millis(u64::from(limit)).checked_sub(begun.elapsed());
                    let Some(left) = left.filter(|left| !left.is_zero()) else { return step };
                    c_int::try_from(left.as_millis() + 1).unwrap_or(c_int::MAX)
                }
            };
            let left = left.min(SLICE_MS);
            // SAFETY: as above.
            unsafe { for_any(fd, what, left) }
        };
        match waited {
            // With a limit, a call is never gone on with (signal(7)).
            error if error == -libc::EINTR && !patient && step.timeout_ms == 0 && signals::restart() => {}
            error if error == -libc::EAGAIN => return step,
            error if error < 0 => return Step::fail(-error),
            _ => {}
        }
    }
}

/// Threads in [`for_input`], by their sockets: several may have one number. One that is cancelled there is counted for
/// ever, as those of the parent are after a fork: [`shut`] then says so where nobody waits.
static WAITING: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

fn waiting(id: Option<SocketId>) -> &'static AtomicU32 {
    &WAITING[id.map_or(0, |id| id.0 as usize) % WAITING.len()]
}

/// What could be waited for may never come any more: whoever is about to wait asks the broker first. Says whether a thread
/// may wait already, which the broker does not know of.
pub fn shut(fd: c_int, id: SocketId) -> bool {
    table::set_patience(fd, 0);
    fence(Ordering::SeqCst);
    waiting(Some(id)).load(Ordering::SeqCst) != 0
}

/// Waits until something lies at an end, in a call that goes on after a signal as signal(7) says. A negated `errno`.
unsafe fn for_input(fd: c_int) -> c_int {
    let waiting = waiting(table::find(fd));
    waiting.fetch_add(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    // It may have been shut down since, by who did not see us; see `shut`.
    if table::patience(fd) == 0 {
        waiting.fetch_sub(1, Ordering::SeqCst);
        return 0;
    }
    let mut byte = 0_u8;
    // SAFETY: `byte` lives through the call.
    let got = unsafe { real::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK) };
    waiting.fetch_sub(1, Ordering::SeqCst);
    if got < 0 { -errno::get() } else { 0 }
}

unsafe fn for_any(fd: c_int, what: For, left: c_int) -> c_int {
    let events = if what == For::Output { libc::POLLOUT } else { libc::POLLIN };
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: the entry lives through the call.
    let ready = unsafe { real::poll(&raw mut entry, 1, left) };
    if ready < 0 { -errno::get() } else { 0 }
}

/// Has the broker hear of what was closed, so that a packet that comes after this does not meet it.
pub fn closed() {
    errno::caught(|| {
        channel::sync_if_connected();
        Ok(Step::default())
    });
}

/// Has the broker deal with what has arrived.
pub fn sync() {
    errno::caught(|| channel::ask(&Request::new(Op::Sync, SocketId(0)), &[], &mut []).map(|_| Step::default()));
}
