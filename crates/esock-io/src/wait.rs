//! Waiting for sockets without a runtime.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// A descriptor to wait for. It is always of interest whether it is readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// The descriptor; it stays open as long as its driver lives.
    pub fd: RawFd,
    /// Whether packets wait to leave there, so that it is of interest whether it is writable, too.
    pub writable: bool,
}

/// Descriptors that a wait takes without allocating.
const FEW: usize = 16;

/// Waits until a descriptor is ready, the time has passed, or a signal came. `None`: for ever.
pub(crate) fn wait(interests: impl Iterator<Item = Interest>, timeout: Option<Duration>) -> io::Result<()> {
    let mut few = [libc::pollfd { fd: -1, events: 0, revents: 0 }; FEW];
    let mut many = Vec::new();
    let mut count = 0;
    for interest in interests {
        let events = if interest.writable { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
        let entry = libc::pollfd { fd: interest.fd, events, revents: 0 };
        match few.get_mut(count) {
            Some(place) => *place = entry,
            None => many.push(entry),
        }
        count += 1;
    }
    let all = if many.is_empty() {
        &mut few[..count]
    } else {
        many.extend_from_slice(&few);
        &mut many[..]
    };
    poll(all, timeout)
}

/// `ppoll`, to the nanosecond.
#[cfg(target_os = "linux")]
fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let time = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let time = time.as_ref().map_or(std::ptr::null(), |time| &raw const *time);
    // SAFETY: `entries` and `time` live through the call, and the length is theirs.
    let code = unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, time, std::ptr::null()) };
    result(code)
}

/// `poll`, rounded up to milliseconds.
#[cfg(not(target_os = "linux"))]
fn poll(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let millis = timeout.map_or(-1, |timeout| {
        libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: `entries` lives through the call, and the length is its own.
    let code = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis) };
    result(code)
}

fn result(code: libc::c_int) -> io::Result<()> {
    if code >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
