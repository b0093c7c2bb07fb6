//! `errno`, and how results of calls become the C library's.

use libc::{c_int, ssize_t};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a step of a call comes to: plain values, so that a thread may be cancelled while it waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    /// Not below zero, or a negated `errno`.
    pub result: isize,
    /// With `EAGAIN`: how long to wait, in milliseconds; 0 is for ever.
    pub timeout_ms: u32,
    /// With `EAGAIN`: the `errno` if waiting is in vain.
    pub in_vain: c_int,
}

impl Step {
    /// A failure.
    pub fn fail(errno: c_int) -> Self {
        Self { result: -(errno as isize), ..Self::default() }
    }

    /// A success.
    pub fn done(result: usize) -> Self {
        Self { result: result as isize, ..Self::default() }
    }

    /// Whether it would have to wait.
    pub fn waits(&self) -> bool {
        self.result == -(libc::EAGAIN as isize)
    }
}

/// Sets `errno`.
pub fn set(errno: c_int) {
    // SAFETY: it is this thread's own place.
    unsafe { *libc::__errno_location() = errno };
}

/// `errno` as it is.
pub fn get() -> c_int {
    // SAFETY: it is this thread's own place.
    unsafe { *libc::__errno_location() }
}

/// The C library's result: -1 and `errno`, or the number.
pub fn result(step: Step) -> ssize_t {
    if step.result < 0 {
        set((-step.result) as c_int);
        return -1;
    }
    step.result
}

/// The same for functions that return an `int`.
pub fn int(step: Step) -> c_int {
    result(step) as c_int
}

/// Runs a step; a panic is an `EIO`. Keeps `errno` where the step succeeds, as calls do.
pub fn caught(step: impl FnOnce() -> Step) -> Step {
    let before = get();
    let done = catch_unwind(AssertUnwindSafe(step)).unwrap_or(Step::fail(libc::EIO));
    set(before);
    done
}
