//! What `esock bench` has found: for people, and as JSON.

use super::wire::{Mode, Tally, Task};
use crate::words;
use esock::Protocol;
use std::fmt::Write;
use std::time::Duration;

/// What was found over one protocol.
#[derive(Debug)]
pub struct Finding {
    pub protocol: Protocol,
    pub backend: String,
    pub associations: u16,
    pub task: Task,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// Throughput.
    Tally(Tally),
    /// Round trips.
    Trips(Trips),
}

/// Round-trip times, sorted.
#[derive(Debug, Default)]
pub struct Trips(Vec<Duration>);

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Trips {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this fraction of them took at most, in microseconds.
    fn percentile(&self, fraction: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let time = self.0.get((last as f64 * fraction).round() as usize).copied().unwrap_or_default();
        time.as_nanos() as f64 / 1e3
    }
}

fn gigabits(tally: &Tally) -> f64 {
    per_second(tally.bytes * 8, tally.time) / 1e9
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// For people.
pub fn text(finding: &Finding) -> String {
    let Finding { protocol, backend, associations, task, outcome } = finding;
    let plural = |count: u16, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let how = format!(
        "{} ({backend}), {}, {}, messages of {} bytes",
        words::protocol(*protocol),
        plural(*associations, "association"),
        plural(task.streams, "stream"),
        task.length
    );
    match outcome {
        Outcome::Tally(tally) => {
            let direction = if task.mode == Mode::Reverse { "from" } else { "to" };
            format!(
                "{how}\n  {:.3} Gbit/s, {} messages/s {direction} the server; {} bytes in {:.2} s, on {}",
                gigabits(tally),
                words::count(per_second(tally.total(), tally.time) as u64),
                words::count(tally.bytes),
                tally.time.as_secs_f64(),
                plural(tally.messages.len() as u16, "stream"),
            )
        }
        Outcome::Trips(trips) => {
            let mut out = format!("{how}\n  {} round trips, µs:", words::count(trips.0.len() as u64));
            for (name, fraction) in PERCENTILES {
                write!(out, " {name} {:.1}", trips.percentile(fraction)).expect("a string takes all");
            }
            out
        }
    }
}

/// For programs: one object, with an object for each protocol.
pub fn json(findings: &[Finding]) -> String {
    let each: Vec<String> =
        findings.iter().map(|finding| format!("\"{}\":{}", finding.protocol, object(finding))).collect();
    format!("{{{}}}", each.join(","))
}

fn object(finding: &Finding) -> String {
    let Finding { backend, associations, task, outcome, .. } = finding;
    let mode = match task.mode {
        Mode::Forward => "forward",
        Mode::Reverse => "reverse",
        Mode::Ping => "ping",
    };
    let mut out = format!(
        "{{\"mode\":\"{mode}\",\"backend\":\"{backend}\",\"associations\":{associations},\"message_bytes\":{}",
        task.length
    );
    let written = match outcome {
        Outcome::Tally(tally) => {
            let streams: Vec<String> =
                tally.messages.iter().map(|(stream, count)| format!("\"{stream}\":{count}")).collect();
            write!(
                out,
                ",\"bytes\":{},\"messages\":{},\"seconds\":{:.6},\"gbit_per_second\":{:.6},\
                 \"messages_per_second\":{:.1},\"messages_by_stream\":{{{}}}}}",
                tally.bytes,
                tally.total(),
                tally.time.as_secs_f64(),
                gigabits(tally),
                per_second(tally.total(), tally.time),
                streams.join(",")
            )
        }
        Outcome::Trips(trips) => {
            let each = |(name, fraction): (&str, f64)| format!("\"{name}\":{:.3}", trips.percentile(fraction));
            let percentiles = PERCENTILES.map(each).join(",");
            write!(out, ",\"round_trips\":{},\"microseconds\":{{{percentiles}}}}}", trips.0.len())
        }
    };
    written.expect("a string takes all");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn finding(mode: Mode, outcome: Outcome) -> Finding {
        let task = Task { mode, length: 1000, streams: 2, time: Duration::from_secs(1) };
        Finding { protocol: Protocol::Sctp, backend: "udp".to_owned(), associations: 1, task, outcome }
    }

    #[test]
    fn a_throughput_is_told_with_the_streams_that_were_used() {
        let messages = BTreeMap::from([(0, 600_000), (1, 400_000)]);
        let tally = Tally { bytes: 1_000_000_000, messages, time: Duration::from_secs(2) };
        let finding = finding(Mode::Forward, Outcome::Tally(tally));
        let said = text(&finding);
        assert!(said.contains("4.000 Gbit/s, 500,000 messages/s to the server"), "{said}");
        let said = json(&[finding]);
        assert!(said.starts_with("{\"sctp\":{\"mode\":\"forward\",\"backend\":\"udp\""), "{said}");
        assert!(said.ends_with("\"messages_by_stream\":{\"0\":600000,\"1\":400000}}}"), "{said}");
    }

    #[test]
    fn round_trips_are_told_as_percentiles() {
        let trips = Trips::new((1..=1001).map(Duration::from_micros).collect());
        let finding = finding(Mode::Ping, Outcome::Trips(trips));
        assert!(text(&finding).contains("p50 501.0 p90 901.0 p99 991.0 p99.9 1000.0"));
        assert!(json(&[finding]).contains("\"microseconds\":{\"p50\":501.000,"));
    }
}
