//! What wakes the background task when its time has come.

pub use system::Alarm;

/// A timer of the system beside the sockets. The runtime's own would have it set the kernel's clock before each sleep and
/// set it back after it; and it counts in milliseconds.
#[cfg(target_os = "linux")]
mod system {
    use esock_proto::Time;
    use std::future::poll_fn;
    use std::io;
    use std::task::ready;
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub struct Alarm {
        timer: AsyncFd<esock_io::Alarm>,
        set: Option<Time>,
    }

    impl Alarm {
        pub fn new() -> io::Result<Self> {
            Ok(Self { timer: crate::task::register(esock_io::Alarm::new()?, Interest::READABLE)?, set: None })
        }

        /// It is to ring at this moment; it may ring before. One that moves later is set when it has rung.
        pub fn set(&mut self, _now: Time, at: Time) -> io::Result<()> {
            if self.set.is_none_or(|set| at < set) {
                self.timer.get_ref().set(at)?;
                self.set = Some(at);
            }
            Ok(())
        }

        /// Waits until it rings. Cancel safe.
        pub async fn rings(&mut self) {
            // An error: the runtime ends.
            let _ = poll_fn(|cx| {
                ready!(self.timer.poll_read_ready(cx))?.clear_ready();
                io::Result::Ok(()).into()
            })
            .await;
            self.set = None;
        }
    }
}

/// A timer of the runtime.
#[cfg(not(target_os = "linux"))]
mod system {
    use esock_proto::Time;
    use std::io;
    use std::pin::Pin;
    use std::time::Duration;
    use tokio::time::{Instant, Sleep};

    /// Sleeps are cut to this: timers of the runtime have a range.
    const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

    /// The timer of the runtime is no finer.
    const STEP: Duration = Duration::from_millis(1);

    pub struct Alarm(Pin<Box<Sleep>>);

    impl Alarm {
        pub fn new() -> io::Result<Self> {
            Ok(Self(Box::pin(tokio::time::sleep(LONGEST_SLEEP))))
        }

        /// It is to ring at this moment; it may ring before.
        pub fn set(&mut self, now: Time, at: Time) -> io::Result<()> {
            let (at, set) = (Instant::now() + at.since(now).min(LONGEST_SLEEP), self.0.deadline());
            if self.0.is_elapsed() || set > at || at > set + STEP {
                self.0.as_mut().reset(at);
            }
            Ok(())
        }

        /// Waits until it rings. Cancel safe.
        pub async fn rings(&mut self) {
            self.0.as_mut().await;
        }
    }
}
