//! How long and where things are measured.

use std::os::fd::AsRawFd;
use std::time::Duration;

/// The SCTP packet, or what stands for it, that the candidates over UDP send unless told otherwise.
pub const PACKET_BYTES: usize = 1400;

/// The headers of UDP and IPv4 around it.
pub const OUTER_BYTES: usize = 28;

/// Windows, and buffers of sockets: as much as the system allows of it.
pub const BUFFER_BYTES: usize = 8 << 20;

/// What the kernel holds of UDP packets that a candidate has not read: with less than a window of them, loopback loses
/// packets.
const UDP_BUFFER_BYTES: libc::c_int = 32 << 20;

/// Gives a UDP socket a large receive buffer: beyond the system's limit where that is permitted.
#[cfg(target_os = "linux")]
pub fn enlarge(socket: &impl AsRawFd) {
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        let (bytes, len) = (UDP_BUFFER_BYTES, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the descriptor is open, and the call reads `len` bytes of a local integer. It may fail.
        unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const bytes).cast(), len);
        }
    }
}

/// Only Linux has the option.
#[cfg(not(target_os = "linux"))]
pub fn enlarge(_: &impl AsRawFd) {}

/// How long things are measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bytes of a packet without UDP and IP headers.
    pub packet_bytes: usize,
    /// Before the measurement: slow start.
    pub warm_up: Duration,
    /// The measurement.
    pub measure: Duration,
    /// Exchanges of a latency run.
    pub exchanges: usize,
    /// Whether both ends of a ping-pong look for packets again and again instead of sleeping.
    pub spins: bool,
    /// Where the threads run.
    pub cores: Cores,
}

impl Plan {
    /// For how long an end looks for packets before it sleeps.
    pub fn busy_poll(&self) -> Option<Duration> {
        self.spins.then_some(Duration::from_secs(1))
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            packet_bytes: PACKET_BYTES,
            warm_up: Duration::from_millis(300),
            measure: Duration::from_secs(1),
            exchanges: 20_000,
            spins: false,
            cores: Cores::Two,
        }
    }
}

/// Which core each of the two threads of a candidate keeps to. Whether they share one decides a
/// ping-pong more than anything else, and must be alike for all candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Both on one.
    One,
    /// Each on its own.
    Two,
}

/// The two ends of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Sends, or begins a ping-pong.
    First,
    /// Receives, or answers.
    Second,
}

impl Cores {
    /// The core of an end.
    pub fn of(self, end: End) -> usize {
        usize::from(self == Self::Two && end == End::Second)
    }

    /// Keeps the calling thread on its core, and the threads that it starts.
    #[cfg(target_os = "linux")]
    pub fn pin(self, end: End) {
        // SAFETY: a set of cores is plain integers, for which zero is valid; the number is below the
        // set's size; and the call reads the set. If it fails, the thread stays where it is.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(self.of(end), &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }

    /// Threads cannot be pinned here.
    #[cfg(not(target_os = "linux"))]
    pub fn pin(self, _: End) {}
}
