//! Thousands of seeded situations: every message arrives exactly once and, within its stream, in order,
//! or comes back; nothing stalls, nothing is left.
//!
//! `ESOCK_SIM_RUNS=10000` runs more; `ESOCK_SIM_SEED=n` runs one, and with `ESOCK_SIM_PCAP=file` writes it down.

use esock_sim::check::{Report, play};
use esock_sim::scenario::{Feature, Scenario};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays the scenario of a seed; a panic is a broken promise too.
fn play_seed(seed: u64) -> Result<(Scenario, Report), String> {
    let scenario = Scenario::from_seed(seed);
    let played = catch_unwind(AssertUnwindSafe(|| play(&scenario, false)));
    match played {
        Ok(played) => played.outcome.map(|report| (scenario, report)),
        Err(panic) => Err(format!("panic: {:?}", panic.downcast_ref::<String>())),
    }
}

fn play_one(seed: u64) {
    let scenario = Scenario::from_seed(seed);
    println!("{scenario:#?}");
    let wanted = std::env::var("ESOCK_SIM_PCAP").ok();
    let played = play(&scenario, wanted.is_some());
    if let (Some(path), Some(capture)) = (wanted, played.capture) {
        std::fs::write(&path, capture.bytes()).expect("the capture can be written");
    }
    let report = played.outcome.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    println!("{report:#?}");
}

#[test]
fn every_message_arrives_once_and_in_order_or_comes_back_whatever_the_network_does() {
    if let Some(seed) = number("ESOCK_SIM_SEED") {
        return play_one(seed);
    }
    let runs = number("ESOCK_SIM_RUNS").unwrap_or(2000);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let seen = Mutex::new((BTreeMap::<Feature, u64>::new(), Report::default(), [0u64; 2]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        return;
                    }
                    match play_seed(seed) {
                        Ok((scenario, report)) => {
                            let mut seen = seen.lock().unwrap();
                            scenario.features.iter().for_each(|feature| *seen.0.entry(*feature).or_default() += 1);
                            seen.1.received += report.received;
                            seen.1.returned += report.returned;
                            seen.1.packets += report.packets;
                            seen.1.took += report.took;
                            seen.2[0] += u64::from(report.was_up);
                            seen.2[1] += u64::from(report.graceful);
                        }
                        Err(problem) => failures.lock().unwrap().push((seed, problem)),
                    }
                }
            });
        }
    });
    let (features, total, [up, graceful]) = seen.into_inner().unwrap();
    println!("{runs} runs: {up} came up, {graceful} ended with SHUTDOWN at both ends");
    println!("{} messages arrived, {} came back, {} packets", total.received, total.returned, total.packets);
    println!("{:.1} hours of virtual time", total.took.as_secs_f64() / 3600.0);
    for (feature, count) in &features {
        println!("{count:6} with {feature:?}");
    }
    let failures = failures.into_inner().unwrap();
    for (seed, problem) in failures.iter().take(10) {
        println!("ESOCK_SIM_SEED={seed}: {problem}");
    }
    assert!(
        failures.is_empty(),
        "{} of {runs} seeds failed: {:?}",
        failures.len(),
        failures.iter().map(|failure| failure.0).take(50).collect::<Vec<_>>()
    );
    // Nine of ten associations come up, and most end as they should: the others had networks that nobody survives.
    assert!(up * 10 >= runs * 9, "only {up} of {runs} came up");
    assert!(graceful * 10 >= runs * 7, "only {graceful} of {runs} ended gracefully");
    if runs >= 1000 {
        let least = runs / 20;
        let missing: Vec<_> =
            ALL.iter().filter(|feature| features.get(feature).copied().unwrap_or(0) < least).collect();
        assert!(missing.is_empty(), "fewer than {least} runs with {missing:?}");
    }
}

const ALL: [Feature; 21] = [
    Feature::RandomLoss,
    Feature::BurstyLoss,
    Feature::Reordering,
    Feature::Duplication,
    Feature::Corruption,
    Feature::SeveralPaths,
    Feature::MixedFamilies,
    Feature::BlackHole,
    Feature::SmallMtu,
    Feature::SlowReader,
    Feature::TinyWindow,
    Feature::Restart,
    Feature::Abort,
    Feature::EarlyShutdown,
    Feature::TsnWrap,
    Feature::Unordered,
    Feature::Cubic,
    Feature::Bbr,
    Feature::Rack,
    Feature::HyStart,
    Feature::Pacing,
];
