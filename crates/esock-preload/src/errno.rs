//! `errno`, and how results of calls become the C library's.

use libc::{c_int, c_long, ssize_t};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a step of a call comes to: plain values, so that a thread may be cancelled while it waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    /// Not below zero, or a negated `errno`.
    pub result: isize,
    /// With `EAGAIN`: how long to wait, in milliseconds; 0 is for ever.
    pub timeout_ms: u32,
    /// With `EAGAIN` or `EINPROGRESS`: the `errno` if waiting is in vain.
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

impl From<c_int> for Step {
    fn from(errno: c_int) -> Self {
        Self::fail(errno)
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

/// What a system call has returned.
pub fn check(result: c_long) -> Result<c_long, c_int> {
    if result < 0 { Err(get()) } else { Ok(result) }
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

/// Runs a step; a panic is an `EIO`. Keeps `errno` as it was, as calls do that succeed.
pub fn caught(step: impl FnOnce() -> Result<Step, c_int>) -> Step {
    let before = get();
    let done = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(step)) => step,
        Ok(Err(errno)) => Step::fail(errno),
        Err(_) => Step::fail(libc::EIO),
    };
    set(before);
    done
}
