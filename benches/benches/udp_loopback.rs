//! Bulk throughput and ping-pong latency over loopback: esock over UDP encapsulation, beside the
//! kernel's TCP and bare UDP in the same run. Medians of alternating runs.
//!
//! `cargo bench -p esock-benches`, or with `-- --quick` for a first look, or with
//! `-- --profile BYTES` for a few seconds of esock alone with messages of this size, for a profiler.

use esock_benches::{
    Bulk, Cores, PACKET_BYTES, Plan, RoundTrips, alternate, association, bare_udp, median, print_table, tcp,
};
use std::time::Duration;

/// The message size of `--profile`.
fn profiled() -> Option<usize> {
    std::env::args().skip_while(|argument| argument != "--profile").nth(1)?.parse().ok()
}

fn main() {
    let plan = Plan::from_arguments();
    if let Some(message_bytes) = profiled() {
        let bulk = association::bulk(Plan { measure: Duration::from_secs(5), ..plan }, message_bytes);
        println!("{message_bytes} bytes: {:.2} Gbit/s, {:.2} million messages/s", bulk.gigabits(), bulk.megamessages());
        return;
    }
    println!(
        "{} cores, packets of {PACKET_BYTES} bytes, {} rounds of {:?}",
        std::thread::available_parallelism().map_or(0, usize::from),
        plan.rounds,
        plan.measure
    );
    let head = ["", "esock over UDP", "kernel TCP", "bare UDP (GSO)"];
    let mut rows = Vec::new();
    for (name, bytes) in [("16 KiB", 16 << 10), ("64 bytes", 64)] {
        let results = alternate(
            plan.rounds,
            &mut [&mut || association::bulk(plan, bytes), &mut || tcp::bulk(plan, bytes), &mut || {
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
            plan.rounds,
            &mut [&mut || association::ping_pong(plan, 64), &mut || tcp::ping_pong(plan, 64), &mut || {
                bare_udp::ping_pong(plan, 64)
            }],
        );
        for (percentile, fraction) in [("p50", 0.5), ("p99", 0.99)] {
            let micros = |run: &RoundTrips| run.percentile(fraction).as_secs_f64() * 1e6;
            let values = results.iter().map(|runs| format!("{:.1}", median(runs.iter().map(micros).collect())));
            let row = std::iter::once(format!("{name}, {percentile}, µs")).chain(values);
            rows.push(row.collect());
        }
    }
    print_table("Ping-pong, 64 bytes, round trip", &head, &rows);
}
