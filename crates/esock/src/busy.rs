//! Busy polling: the background task stays awake for a while after something has come or gone.

use esock_proto::Time;
use std::time::Duration;

/// Who stays awake for longer stays awake for ever.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// See the module.
#[derive(Debug, Default)]
pub struct BusyPoll {
    time: Option<Duration>,
    until: Option<Time>,
    asleep: bool,
}

impl BusyPoll {
    /// An endpoint asks for so long: the longest holds.
    pub fn ask(&mut self, time: Option<Duration>) {
        self.time = self.time.max(time);
    }

    /// Something has come or gone. Says whether the background task has to be woken.
    pub fn on_traffic(&mut self, now: Time) -> bool {
        let Some(time) = self.time else { return false };
        self.until = Some(now + time.min(LONGEST));
        std::mem::take(&mut self.asleep)
    }

    /// Whether the background task has to stay awake.
    pub fn is_awake(&self, now: Time) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// The same before it rests: if it has not to, it sleeps.
    pub fn stays_awake(&mut self, now: Time) -> bool {
        self.asleep = !self.is_awake(now);
        !self.asleep
    }
}
