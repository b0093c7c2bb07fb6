//! Busy polling: the background task stays awake for a while after something has come or gone.

use std::time::Duration;
use tokio::time::Instant;

/// Who stays awake for longer stays awake for ever.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// See the module.
#[derive(Debug, Default)]
pub struct BusyPoll {
    time: Option<Duration>,
    until: Option<Instant>,
    asleep: bool,
}

impl BusyPoll {
    /// An endpoint asks for so long: the longest holds.
    pub fn ask(&mut self, time: Option<Duration>) {
        self.time = self.time.max(time);
    }

    /// Something has come or gone. Says whether the background task has to be woken.
    pub fn on_traffic(&mut self) -> bool {
        let Some(time) = self.time else { return false };
        self.until = Some(Instant::now() + time.min(LONGEST));
        std::mem::take(&mut self.asleep)
    }

    /// Until when the background task has to stay awake; if no longer, it sleeps.
    pub fn awake_until(&mut self) -> Option<Instant> {
        let until = self.until.filter(|until| Instant::now() < *until);
        self.asleep = until.is_none();
        until
    }
}
