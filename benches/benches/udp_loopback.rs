//! A first look: bulk throughput and ping-pong latency over loopback, esock over UDP encapsulation beside the
//! kernel's TCP and bare UDP in the same run. Medians of alternating runs. `cargo xtask bench` measures the rest.
//!
//! `cargo bench -p esock-benches`, or with `-- --quick` for shorter runs, or with
//! `-- --profile BYTES` for a few seconds of esock alone with messages of this size, for a profiler.

use esock_benches::peers::{bare_udp, esock, tcp};
use esock_benches::tables::table;
use esock_benches::{Bulk, Cores, Plan, RoundTrips, alternate, median};
use std::time::Duration;

/// The message size of `--profile`.
fn profiled() -> Option<usize> {
    std::env::args().skip_while(|argument| argument != "--profile").nth(1)?.parse().ok()
}

fn print_table(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    println!("\n### {title}\n\n{}", table(&head, rows));
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (warm_up, measure, rounds, exchanges) = if quick { (200, 300, 3, 2_000) } else { (500, 2_000, 5, 20_000) };
    let (warm_up, measure) = (Duration::from_millis(warm_up), Duration::from_millis(measure));
    let plan = Plan { warm_up, measure, exchanges, ..Plan::default() };
    if let Some(message_bytes) = profiled() {
        let bulk = esock::bulk(Plan { measure: Duration::from_secs(5), ..plan }, message_bytes, esock::Backend::Udp);
        println!("{message_bytes} bytes: {:.2} Gbit/s, {:.2} million messages/s", bulk.gigabits(), bulk.megamessages());
        return;
    }
    println!("packets of {} bytes, {rounds} rounds of {measure:?}", plan.packet_bytes);
    let head = ["", "esock over UDP", "kernel TCP", "bare UDP (GSO)"];
    let mut rows = Vec::new();
    for (name, bytes) in [("16 KiB", 16 << 10), ("64 bytes", 64)] {
        let results = alternate(
            rounds,
            &mut [&mut || esock::bulk(plan, bytes, esock::Backend::Udp), &mut || tcp::bulk(plan, bytes), &mut || {
                bare_udp::bulk(plan, bytes)
            }],
        );
        let row = |unit: &str, value: fn(&Bulk) -> f64| {
            let mut row = vec![format!("{name}, {unit}")];
            row.extend(results.iter().map(|runs| format!("{:.2}", median(runs.iter().map(value).collect()))));
            row
        };
        rows.push(row("Gbit/s", Bulk::gigabits));
        rows.push(row("million messages/s", Bulk::megamessages));
    }
    print_table("Bulk, one association, messages of", &head, &rows);

    let mut rows = Vec::new();
    for (name, cores) in [("two cores", Cores::Two), ("one core", Cores::One)] {
        let plan = Plan { cores, ..plan };
        let results = alternate(
            rounds,
            &mut [&mut || esock::ping_pong(plan, 64), &mut || tcp::ping_pong(plan, 64), &mut || {
                bare_udp::ping_pong(plan, 64)
            }],
        );
        for (percentile, fraction) in [("p50", 0.5), ("p99", 0.99)] {
            let micros = |trips: &RoundTrips| trips.percentile(fraction).as_nanos() as f64 / 1000.0;
            let mut row = vec![format!("{name}, {percentile}, µs")];
            row.extend(results.iter().map(|runs| format!("{:.1}", median(runs.iter().map(micros).collect()))));
            rows.push(row);
        }
    }
    print_table("Ping-pong of 64 bytes", &head, &rows);
}
