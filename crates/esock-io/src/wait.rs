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

/// Which sockets a wait found ready: a bit for each, by number. Those that have no bit count as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    bits: u64,
    /// Whoever waits is told of what is left, should a report about a packet of ours end a batch.
    pub(crate) again: bool,
    /// Nobody has looked: for the most part nothing has come.
    pub(crate) spins: bool,
}

impl Ready {
    /// Nothing is known: each may be.
    pub(crate) const ALL: Self = Self { bits: u64::MAX, again: false, spins: false };

    /// Nobody has looked, and the turn after this one looks again; these are asked.
    pub(crate) const fn spin(bits: u64) -> Self {
        Self { bits, again: true, spins: true }
    }

    /// These have news. A report that ends a batch comes after whoever waits was told of the packets in front of it, and
    /// so is news again, of the packets behind it too.
    pub(crate) const fn news(bits: u64) -> Self {
        Self { bits, again: true, spins: false }
    }

    /// These may have news; whoever looks does so until nothing comes.
    pub(crate) const fn until_empty(bits: u64) -> Self {
        Self { bits, again: true, spins: false }
    }

    /// The same, with all of them asked.
    pub(crate) const fn at_all(self) -> Self {
        Self { bits: u64::MAX, ..self }
    }

    /// Whether it is worth asking this socket.
    pub(crate) fn has(self, index: usize) -> bool {
        index >= u64::BITS as usize || self.bits & (1 << index) != 0
    }

    fn of(entries: &[libc::pollfd]) -> Self {
        let bits = entries.iter().take(u64::BITS as usize).enumerate();
        let bits = bits.fold(0, |all, (index, entry)| all | (u64::from(entry.revents != 0) << index));
        Self { bits, again: true, spins: false }
    }
}

/// Waits until a descriptor is ready, the time has passed, or a signal came. `None`: for ever.
pub(crate) fn wait(interests: impl Iterator<Item = Interest>, timeout: Option<Duration>) -> io::Result<Ready> {
    let mut few = [libc::pollfd { fd: -1, events: 0, revents: 0 }; FEW];
    let mut many = Vec::new();
    let mut count = 0;
    for interest in interests {
        let events = if interest.writable { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
        let entry = libc::pollfd { fd: interest.fd, events, revents: 0 };
        if count == FEW && many.is_empty() {
            many.extend_from_slice(&few);
        }
        match few.get_mut(count) {
            Some(place) => *place = entry,
            None => many.push(entry),
        }
        count += 1;
    }
    let all = if many.is_empty() { &mut few[..count] } else { &mut many[..] };
    poll(all, timeout)?;
    Ok(Ready::of(all))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_wait_says_which_of_few_or_many_sockets_are_ready() {
        for count in [1, FEW, FEW + 1, 63, 70] {
            let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            let interests = || sockets.iter().map(|socket| Interest { fd: socket.as_raw_fd(), writable: false });
            let ready = wait(interests(), Some(Duration::ZERO)).unwrap();
            assert!((0..count).all(|index| ready.has(index) == (index >= 64)), "nothing has come");

            let last = count - 1;
            let to = sockets[last].local_addr().unwrap();
            sockets[0].send_to(b"wake", to).unwrap();
            let ready = wait(interests(), Some(Duration::from_secs(20))).unwrap();
            assert!((0..count).all(|index| ready.has(index) == (index >= 64 || index == last)), "{count}");
        }
    }
}
