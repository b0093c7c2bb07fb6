//! What has happened so far.

use esock_proto::Time;
use std::fmt;
use std::time::Duration;

/// Figures of a soak.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Virtual time.
    pub time: Duration,
    /// Moments at which something happened.
    pub steps: u64,
    /// Packets sent.
    pub packets: u64,
    /// Messages taken to be sent.
    pub sent: u64,
    /// Messages that arrived.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that came back.
    pub returned: u64,
    /// Associations that came up, counted at both ends.
    pub ups: u64,
    /// Of these, restarts that the peer was told of.
    pub restarts: u64,
    /// Hosts that crashed.
    pub crashes: u64,
    /// Hosts that were suspended for a while.
    pub sleeps: u64,
    /// Ends of associations: graceful, aborted, timed out, attempts that came to nothing.
    pub shutdowns: u64,
    /// See `shutdowns`.
    pub aborts: u64,
    /// See `shutdowns`.
    pub timeouts: u64,
    /// See `shutdowns`.
    pub failed: u64,
    /// Outages of paths.
    pub flaps: u64,
    /// Changes of a path's state that were told.
    pub path_changes: u64,
    /// Transmission sequence numbers that wrapped, as receivers saw them.
    pub tsn_wraps: u64,
    /// Stream sequence numbers that wrapped, as receivers saw them.
    pub ssn_wraps: u64,
    /// Times that the clock passed a multiple of 2^32 milliseconds, or of 2^63 nanoseconds.
    pub time_wraps: u64,
    /// Rounds of traffic and rest.
    pub rounds: u64,
}

impl Tally {
    /// Notes that the clock went on.
    pub(super) fn pass(&mut self, from: Time, to: Time) {
        self.time += to.since(from);
        let wraps = |unit: u64| to.as_nanos() / unit - from.as_nanos() / unit;
        self.time_wraps += wraps((1 << 32) * 1_000_000) + wraps(1 << 63);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.time.as_secs() / 60;
        write!(f, "{}d {:02}:{:02}, ", minutes / 1440, minutes / 60 % 24, minutes % 60)?;
        write!(f, "{} events, {} packets, ", self.steps, self.packets)?;
        write!(f, "{} messages sent, {} received, {} returned, ", self.sent, self.received, self.returned)?;
        write!(f, "{} ups, {} restarts, {} crashes, ", self.ups, self.restarts, self.crashes)?;
        write!(f, "{} sleeps, ", self.sleeps)?;
        write!(f, "{} shut down, {} aborted, {} timed out, ", self.shutdowns, self.aborts, self.timeouts)?;
        write!(f, "{} failed, {} flaps, {} path changes, ", self.failed, self.flaps, self.path_changes)?;
        write!(f, "wraps: {} TSN, {} SSN, {} time", self.tsn_wraps, self.ssn_wraps, self.time_wraps)
    }
}
