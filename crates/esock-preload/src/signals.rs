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
    for signal in 1..=64 as c_int {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the C library's own function, to look; signals that it keeps for itself are refused.
        if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } != 0 {
            continue;
        }
        // SAFETY: it was written, and zeroes were valid.
        let action = unsafe { action.assume_init() };
        if action.sa_sigaction == libc::SIG_DFL || action.sa_sigaction == libc::SIG_IGN {
            continue;
        }
        if action.sa_flags & libc::SA_RESTART == 0 {
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
