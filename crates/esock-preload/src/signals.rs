//! No signal is handled in the midst of an exchange with the broker: a handler may make calls of its own, or never
//! return.

use libc::{c_int, c_long};
use std::mem::MaybeUninit;

/// Bytes of the kernel's set of signals.
const SET: usize = 8;

/// Holds signals back while it lives. Faults are not: the kernel kills whoever faults with them held back.
pub struct Held(u64);

impl Held {
    /// From now on.
    pub fn new() -> Self {
        Self(mask(u64::MAX))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        mask(self.0);
    }
}

/// Signals that end or stop a process, and that people send.
const ENDING: [c_int; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP];

impl Held {
    /// Lets those through that end or stop the process, unless it holds them back or handles them itself: nothing of its own
    /// runs by them. So can be ended who waits for a broker that does not answer.
    pub fn let_end(&self) {
        let ends = |signal: &&c_int| {
            self.0 & bit(**signal) == 0 && disposition(**signal).is_some_and(|(handler, _)| handler == libc::SIG_DFL)
        };
        mask(ENDING.iter().filter(ends).fold(u64::MAX, |held, signal| held & !bit(*signal)));
        mask(u64::MAX);
    }
}

fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// What becomes of a signal, and whether its handler lets calls go on; none of those that the C library keeps for itself.
fn disposition(signal: c_int) -> Option<(libc::sighandler_t, c_int)> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the C library's own function, to look.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: it was written, and zeroes were valid.
    let action = unsafe { action.assume_init() };
    Some((action.sa_sigaction, action.sa_flags & libc::SA_RESTART))
}

/// Sets the signals that are held back; those before.
pub fn mask(new: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: both live through the call and have the kernel's size.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const new, &raw mut before, SET) };
    before
}

/// Whether a call that a signal has interrupted goes on: every handler that there is was set with SA_RESTART. `poll`
/// does not tell which handler has run; where some are so and some not, the call ends.
pub fn restart() -> bool {
    let mut some = false;
    for (handler, restarts) in (1..=64).filter_map(disposition) {
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            continue;
        }
        if restarts == 0 {
            return false;
        }
        some = true;
    }
    some
}

/// Sends a thread SIGPIPE, as the kernel does.
pub fn broken_pipe() {
    // SAFETY: numbers only.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid);
        libc::syscall(libc::SYS_tgkill, crate::life::process(), thread, c_long::from(libc::SIGPIPE));
    }
}
