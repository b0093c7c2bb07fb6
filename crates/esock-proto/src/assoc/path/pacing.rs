//! Pacing: data leaves spread over time, not in bursts.

use crate::time::Time;
use std::time::Duration;

/// What may leave at once: so much time's worth, since timers of hosts are no finer ...
const BURST: Duration = Duration::from_millis(1);
/// ... and so many packets at least.
const BURST_PACKETS: u64 = 2;

/// The pace of one path.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    /// When what has left would have left at its pace.
    clock: Option<Time>,
    /// Nothing leaves before.
    blocked_until: Option<Time>,
}

impl Pacer {
    /// So many bytes leave, at a pace of `rate` bytes a second.
    pub fn on_sent(&mut self, now: Time, bytes: usize, rate: u64, pmdcs: usize) {
        let time = |bytes: u64| Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
        let burst = time(BURST_PACKETS * pmdcs as u64).max(BURST);
        // What was not used in time is not saved up.
        let clock = self.clock.map_or(now, |clock| clock.max(now)) + time(bytes as u64);
        self.clock = Some(clock);
        self.blocked_until = (clock.since(now) >= burst).then_some(clock);
    }

    /// Whether nothing may leave now.
    pub fn is_blocked(&self) -> bool {
        self.blocked_until.is_some()
    }

    /// When something may leave again.
    pub fn deadline(&self) -> Option<Time> {
        self.blocked_until
    }

    /// Time has passed.
    pub fn on_timer(&mut self, now: Time) {
        self.blocked_until.take_if(|until| *until <= now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_mean_is_the_pace() {
        let mut pacer = Pacer::default();
        let (mut now, mut sent) = (Time::ZERO, 0u64);
        while now < Time::from_millis(1000) {
            pacer.on_timer(now);
            while !pacer.is_blocked() {
                pacer.on_sent(now, 1000, 10_000_000, 1000);
                sent += 1000;
            }
            let next = pacer.deadline().unwrap();
            assert!(next.since(now) >= Duration::from_millis(1));
            now = next;
        }
        // 10 MB a second.
        assert!((9_990_000..=10_020_000).contains(&sent), "{sent}");
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let mut pacer = Pacer::default();
        pacer.on_sent(Time::ZERO, 1000, 1_000_000, 1000);
        let later = Time::from_millis(5000);
        pacer.on_timer(later);
        let mut burst = 0;
        while !pacer.is_blocked() {
            pacer.on_sent(later, 1000, 1_000_000, 1000);
            burst += 1;
        }
        assert_eq!(burst, 2);
    }
}
