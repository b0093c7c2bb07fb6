//! Supervision: an association that is made in the background and made again when it ends.

use crate::connect::ConnectTo;
use crate::endpoint::Core;
use crate::{SendOptions, Undelivered};
use bytes::Bytes;
use esock_proto::{Peer, Time};
use rand::RngExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How an association is kept alive, see [`Endpoint::supervise`](crate::Endpoint::supervise).
///
/// Attempts follow each other with exponential backoff: the first retry after about `first_retry`, each
/// further one after twice as long, up to `longest_retry`, all with a jitter of half either way, so that
/// many clients of one server do not come back at once.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Supervision {
    /// The mean wait before the first retry. 500 ms.
    pub first_retry: Duration,
    /// The longest mean wait between two attempts. 30 s.
    pub longest_retry: Duration,
    /// Failed attempts in a row after which it is given up, with `Closed`. `None`: never. `None`.
    pub max_attempts: Option<u32>,
    /// An association that was up at least this long is tried again as if it had never failed; one that
    /// ended sooner goes on with the backoff where it was. 5 s.
    pub stable_after: Duration,
    /// Whether messages that were never sent are kept while it is down, in their order, and sent when it is up
    /// again: those that come back unsent, and those taken meanwhile (up to `Config::send_buffer`). Else, and
    /// by default, sending while it is down is refused, and unsent messages come back. Messages that may have been received always
    /// come back. The lifetime of a message (`SendOptions::lifetime`) goes on while it is kept; for one that came back
    /// unsent, the time does not count that it waited in the association that ended.
    pub keep_unsent: bool,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_millis(500),
            longest_retry: Duration::from_secs(30),
            max_attempts: None,
            stable_after: Duration::from_secs(5),
            keep_unsent: false,
        }
    }
}

/// No wait is longer, whatever was configured: sums of times have an end.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

impl Supervision {
    /// The wait before the next attempt after this many failures in a row.
    fn wait(&self, failures: u32, random: &mut impl rand::Rng) -> Duration {
        let mean = self.first_retry.saturating_mul(1 << failures.min(20)).min(self.longest_retry).min(LONGEST_WAIT);
        // Never at once, whatever was configured: no busy loop.
        mean.max(Duration::from_millis(10)).mul_f64(random.random_range(0.5..1.5))
    }
}

/// Where a supervised association is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Up { since: Time },
    Waiting { until: Time },
}

/// What went wrong lately.
#[derive(Debug, Default)]
struct Backoff {
    /// Failed attempts in a row.
    failures: u32,
    /// Associations in a row that ended soon after they had come up, and the attempts that failed before them.
    flaps: u32,
}

impl Backoff {
    fn on_up(&mut self) {
        // It goes on from there, unless it stays up.
        self.flaps = self.flaps.saturating_add(std::mem::take(&mut self.failures));
    }

    fn on_down(&mut self, now: Time, phase: Phase, stable_after: Duration) {
        match phase {
            Phase::Up { since } if now.since(since) >= stable_after => self.flaps = 0,
            Phase::Up { .. } => self.flaps = self.flaps.saturating_add(1),
            _ => self.failures = self.failures.saturating_add(1),
        }
    }

    /// How often the wait is doubled. The first retry waits the first time, not twice as long.
    fn doublings(&self) -> u32 {
        self.failures.saturating_add(self.flaps).saturating_sub(1)
    }
}

/// A message to be sent when it is up.
#[derive(Debug)]
pub struct Kept {
    options: SendOptions,
    payload: Bytes,
    /// When it is of no more use, if ever: the waits between attempts count.
    expires: Option<Time>,
}

impl Kept {
    pub fn new(now: Time, options: SendOptions, payload: Bytes) -> Self {
        let expires = options.lifetime.map(|lifetime| now + lifetime.min(LONGEST_WAIT));
        Self { options, payload, expires }
    }

    fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at < now)
    }

    /// Hands it to `send`, with what is left of its lifetime. Refused, it is the same as before.
    pub fn offer<E>(
        self,
        now: Time,
        send: impl FnOnce(SendOptions, Bytes) -> Result<(), (E, Bytes)>,
    ) -> Result<(), (E, Self)> {
        let lifetime = self.expires.map(|at| at.since(now));
        send(SendOptions { lifetime, ..self.options }, self.payload)
            .map_err(|(error, payload)| (error, Self { options: self.options, payload, expires: self.expires }))
    }
}

impl From<Kept> for Undelivered {
    fn from(kept: Kept) -> Self {
        Self::new(false, kept.options, kept.payload)
    }
}

/// The supervisor of one association.
#[derive(Debug)]
pub struct Supervisor {
    pub to: ConnectTo,
    pub policy: Supervision,
    pub phase: Phase,
    /// Its endpoint: a supervised association lives until it is cancelled, whoever holds a handle.
    #[expect(dead_code, reason = "held, not used")]
    core: Arc<Core>,
    /// The user wants it to end.
    pub cancelled: bool,
    backoff: Backoff,
    /// Attempts so far.
    attempts: usize,
    /// Messages to be sent when it is up.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// No kept message expires before this.
    first_expiry: Option<Time>,
    /// Messages that came back unsent from an association that has not quite ended: they go before `kept`.
    returned: VecDeque<Kept>,
}

/// What becomes of a supervised association that ended, or could not be made.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// Another attempt; how many have failed in a row, and the wait.
    Retry { failures: u32, wait: Duration },
    /// No further attempt.
    GivenUp,
}

impl Supervisor {
    pub fn new(to: ConnectTo, policy: Supervision, core: Arc<Core>) -> Self {
        Self {
            to,
            policy,
            phase: Phase::Connecting,
            core,
            cancelled: false,
            backoff: Backoff::default(),
            attempts: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            first_expiry: None,
            returned: VecDeque::new(),
        }
    }

    /// Whom to try now: each attempt begins with another of the peer's addresses.
    pub fn next_peer(&mut self) -> Peer {
        let mut peer = self.to.peer.clone();
        let count = peer.addresses.len().max(1);
        peer.addresses.rotate_left(self.attempts % count);
        self.attempts += 1;
        self.phase = Phase::Connecting;
        peer
    }

    pub fn on_up(&mut self, now: Time) {
        self.backoff.on_up();
        self.phase = Phase::Up { since: now };
    }

    /// It ended, or the attempt failed. `random` gives the jitter.
    pub fn on_down(&mut self, now: Time, random: &mut impl rand::Rng) -> Fate {
        self.kept_first();
        self.backoff.on_down(now, self.phase, self.policy.stable_after);
        let failures = self.backoff.failures;
        if self.cancelled || self.policy.max_attempts.is_some_and(|most| failures >= most.max(1)) {
            return Fate::GivenUp;
        }
        let wait = self.policy.wait(self.backoff.doublings(), random);
        self.phase = Phase::Waiting { until: now + wait };
        Fate::Retry { failures, wait }
    }

    /// Puts a retry off, since what had arrived was not read.
    pub fn postpone(&mut self, now: Time) -> Time {
        let until = now + self.policy.first_retry.clamp(Duration::from_millis(10), LONGEST_WAIT);
        self.phase = Phase::Waiting { until };
        until
    }

    /// Whether there is room for a message of this length beside those that are kept.
    pub fn has_room(&self, len: usize, limit: usize) -> bool {
        self.kept_bytes == 0 || self.kept_bytes + len <= limit
    }

    /// Takes a message to be sent later.
    pub fn keep(&mut self, kept: Kept) {
        self.count(&kept);
        self.kept.push_back(kept);
    }

    /// Takes back a message that its association never sent. Its lifetime, as far as it is known, goes on from here.
    pub fn take_back(&mut self, now: Time, undelivered: Undelivered) {
        let kept = Kept::new(now, undelivered.options, undelivered.payload);
        self.count(&kept);
        self.returned.push_back(kept);
    }

    /// The next message to be sent; whoever cannot send it gives it back with [`Supervisor::put_back`].
    pub fn next_kept(&mut self) -> Option<Kept> {
        self.kept_first();
        let kept = self.kept.pop_front()?;
        self.kept_bytes -= kept.payload.len();
        Some(kept)
    }

    pub fn put_back(&mut self, kept: Kept) {
        self.count(&kept);
        self.kept.push_front(kept);
    }

    fn count(&mut self, kept: &Kept) {
        self.kept_bytes += kept.payload.len();
        self.first_expiry = self.first_expiry.into_iter().chain(kept.expires).min();
    }

    /// Takes out the messages whose lifetime has passed.
    pub fn take_expired(&mut self, now: Time) -> Vec<Undelivered> {
        if self.first_expiry.is_none_or(|at| at >= now) {
            return Vec::new();
        }
        self.kept_first();
        let all = std::mem::take(&mut self.kept);
        let (gone, left): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|kept| kept.is_expired(now));
        self.kept = left;
        self.kept_bytes = self.kept.iter().map(|kept| kept.payload.len()).sum();
        self.first_expiry = self.kept.iter().filter_map(|kept| kept.expires).min();
        gone.into_iter().map(Undelivered::from).collect()
    }

    /// Whether messages wait here: newer ones have to stand behind them.
    pub fn has_kept(&self) -> bool {
        !self.kept.is_empty() || !self.returned.is_empty()
    }

    /// What came back goes before what was taken later.
    fn kept_first(&mut self) {
        if !self.returned.is_empty() {
            let later = std::mem::take(&mut self.kept);
            self.kept = std::mem::take(&mut self.returned);
            self.kept.extend(later);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn waits_double_up_to_the_longest_with_a_jitter_of_half() {
        let policy = Supervision::default();
        let mut random = StdRng::seed_from_u64(1);
        for (failures, mean) in [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (60, 30.0)] {
            let waits: Vec<f64> = (0..1000).map(|_| policy.wait(failures, &mut random).as_secs_f64()).collect();
            assert!(waits.iter().all(|wait| (mean * 0.5..mean * 1.5).contains(wait)), "{failures}");
            let average = waits.iter().sum::<f64>() / 1000.0;
            assert!((average - mean).abs() < mean * 0.05, "{failures}: {average}");
        }
    }

    #[test]
    fn the_longest_times_there_are_can_be_waited() {
        let policy = Supervision { first_retry: Duration::MAX, longest_retry: Duration::MAX, ..Supervision::default() };
        assert!(policy.wait(u32::MAX, &mut StdRng::seed_from_u64(1)) < LONGEST_WAIT * 2);
    }

    #[test]
    fn a_wait_of_zero_is_no_busy_loop() {
        let policy = Supervision { first_retry: Duration::ZERO, ..Supervision::default() };
        assert!(policy.wait(0, &mut StdRng::seed_from_u64(1)) >= Duration::from_millis(5));
    }

    #[test]
    fn what_ends_soon_after_many_failures_goes_on_with_the_backoff_where_it_was() {
        let policy = Supervision::default();
        let (mut backoff, mut now) = (Backoff::default(), Time::ZERO);
        for _ in 0..8 {
            backoff.on_down(now, Phase::Connecting, policy.stable_after);
        }
        backoff.on_up();
        let up = Phase::Up { since: now };
        now = now + Duration::from_secs(1);
        backoff.on_down(now, up, policy.stable_after);
        assert_eq!((backoff.failures, backoff.doublings()), (0, 8), "its mean is the longest there is");

        backoff.on_up();
        backoff.on_down(now + policy.stable_after, Phase::Up { since: now }, policy.stable_after);
        assert_eq!(backoff.doublings(), 0, "it was stable");
    }

    #[test]
    fn a_kept_message_has_what_is_left_of_its_lifetime() {
        let now = Time::ZERO + Duration::from_secs(10);
        let options = SendOptions { lifetime: Some(Duration::from_secs(5)), ..SendOptions::default() };
        let kept = Kept::new(now, options, Bytes::from_static(b"x"));
        let later = now + Duration::from_secs(3);
        assert!(!kept.is_expired(later) && kept.is_expired(later + Duration::from_secs(3)));
        let refused = kept.offer(later, |options, payload| {
            assert_eq!(options.lifetime, Some(Duration::from_secs(2)));
            Err(((), payload))
        });
        let sent = refused.unwrap_err().1.offer(later, |options, _| {
            assert_eq!(options.lifetime, Some(Duration::from_secs(2)), "refused, it is as it was");
            Ok::<_, ((), Bytes)>(())
        });
        assert!(sent.is_ok());
    }
}
