//! The live line of `esock bench`: on a terminal alone.

use super::wire::{Mode, Task};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often it is written.
const EVERY: Duration = Duration::from_millis(250);

/// The task that writes it.
pub struct Progress(Option<JoinHandle<()>>);

/// Begins to write it; `counter` counts bytes, or round trips.
pub fn start(task: &Task, counter: Arc<AtomicU64>) -> Progress {
    let task = *task;
    Progress(stderr().is_terminal().then(|| tokio::spawn(write(task, counter))))
}

impl Progress {
    /// Takes it away.
    pub fn stop(self) {
        if let Some(writing) = self.0 {
            writing.abort();
            put("\r\x1b[K");
        }
    }
}

async fn write(task: Task, counter: Arc<AtomicU64>) {
    let (began, mut before, mut last) = (Instant::now(), 0, Instant::now());
    loop {
        tokio::time::sleep(EVERY).await;
        let (now, count) = (Instant::now(), counter.load(Ordering::Relaxed));
        let rate = (count - before) as f64 / (now - last).as_secs_f64();
        put(&format!("\r\x1b[K{}", line(&task, began.elapsed(), rate)));
        (before, last) = (count, now);
    }
}

fn line(task: &Task, elapsed: Duration, rate: f64) -> String {
    let times = format!("{:5.1} of {} s", elapsed.as_secs_f64(), task.time.as_secs_f64());
    match task.mode {
        Mode::Ping => format!("{times}  {rate:8.0} round trips/s"),
        _ => format!("{times}  {:8.3} Gbit/s  {:10.0} messages/s", rate * 8.0 / 1e9, rate / task.length as f64),
    }
}

fn put(text: &str) {
    // Nobody may be looking: that is no reason to end.
    let _ = stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_fast_it_is_now() {
        let task = Task { mode: Mode::Forward, length: 1000, streams: 1, time: Duration::from_secs(10) };
        let said = line(&task, Duration::from_millis(1500), 125e6);
        assert!(said.contains("1.5 of 10 s") && said.contains("1.000 Gbit/s") && said.contains("125000 messages/s"));
        let task = Task { mode: Mode::Ping, ..task };
        assert!(line(&task, Duration::ZERO, 12_000.0).contains("12000 round trips/s"));
    }
}
