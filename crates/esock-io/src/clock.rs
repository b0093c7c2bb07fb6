//! The clock and the system's randomness.

use esock_proto::Time;
use std::io;

/// Time since the host booted. On Linux it goes on through a suspend (`CLOCK_BOOTTIME`), so that
/// cookie lifetimes and heartbeats do not stand still while the peer's go on.
pub(crate) fn now() -> Time {
    #[cfg(target_os = "linux")]
    const CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer. The call cannot fail: the clock exists on every
    // supported system; if it did, `time` would stay as it is.
    unsafe { libc::clock_gettime(CLOCK, &raw mut time) };
    Time::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// 32 bytes of the system's randomness.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    // SAFETY: `seed` has the length that is passed, which is below the 256 bytes that getentropy allows.
    if unsafe { libc::getentropy(seed.as_mut_ptr().cast(), seed.len()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(seed)
}
