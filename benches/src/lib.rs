//! What the benchmarks share: runs that alternate between candidates, medians, and a table.

pub mod association;
pub mod bare_udp;
pub mod tcp;

use std::time::Duration;

/// The SCTP packet, or what stands for it, that all UDP candidates send.
pub const PACKET_BYTES: usize = 1400;

/// That packet with its UDP and IPv4 headers.
pub const MTU: u16 = PACKET_BYTES as u16 + 28;

/// How long things are measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Runs of each candidate.
    pub rounds: usize,
    /// Before the measurement: slow start.
    pub warm_up: Duration,
    /// The measurement.
    pub measure: Duration,
    /// Exchanges of a latency run.
    pub exchanges: usize,
    /// Where the threads run.
    pub cores: Cores,
}

impl Plan {
    /// The plan of the command line: `--quick`, or nothing.
    pub fn from_arguments() -> Self {
        if std::env::args().any(|argument| argument == "--quick") {
            let (warm_up, measure) = (Duration::from_millis(200), Duration::from_millis(300));
            return Self { rounds: 3, warm_up, measure, exchanges: 2_000, cores: Cores::Two };
        }
        Self {
            rounds: 5,
            warm_up: Duration::from_millis(500),
            measure: Duration::from_secs(2),
            exchanges: 20_000,
            cores: Cores::Two,
        }
    }
}

/// A throughput.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bulk {
    /// User bytes received.
    pub bytes: u64,
    /// Messages received.
    pub messages: u64,
    /// In this time.
    pub time: Duration,
}

impl Bulk {
    /// Gigabits of user data per second.
    pub fn gigabits(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.time.as_secs_f64() / 1e9
    }

    /// Millions of messages per second.
    pub fn megamessages(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// Round-trip times of a ping-pong, sorted.
#[derive(Debug, Clone)]
pub struct RoundTrips(Vec<Duration>);

impl RoundTrips {
    /// Sorts what was measured.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this fraction of the exchanges took at most.
    pub fn percentile(&self, fraction: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * fraction).round() as usize).copied().unwrap_or_default()
    }
}

/// The middle of the values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// Runs every candidate once per round, so that what disturbs the machine disturbs all alike.
/// The results are in the order of the candidates, one vector each.
pub fn alternate<T>(rounds: usize, candidates: &mut [&mut dyn FnMut() -> T]) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = candidates.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (candidate, results) in candidates.iter_mut().zip(&mut results) {
            results.push(candidate());
        }
    }
    results
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
    /// Keeps the calling thread on its core.
    #[cfg(target_os = "linux")]
    pub fn pin(self, end: End) {
        let core = usize::from(self == Self::Two && end == End::Second);
        // SAFETY: a set of cores is plain integers, for which zero is valid; the number is below the
        // set's size; and the call reads the set. If it fails, the thread stays where it is.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }

    /// Threads cannot be pinned here.
    #[cfg(not(target_os = "linux"))]
    pub fn pin(self, _: End) {}
}

/// Prints a Markdown table.
pub fn print_table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    println!("\n### {title}\n");
    println!("| {} |", head.join(" | "));
    println!("|{}", " --- |".repeat(head.len()));
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
}
