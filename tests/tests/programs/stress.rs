//! Many sockets at once, and what is left of them.

use crate::{place, source};
use esock_interop::process::run;
use esock_interop::programs::Stage;

/// Sockets and associations of each kind in a round.
const COUNT: u64 = 1000;
/// Rounds: what grows with each leaks.
const ROUNDS: u64 = 4;
/// Kilobytes by which the broker may be larger after the last round than after the second: what the allocator keeps.
const GROWTH_KB: u64 = 4096;

pub fn a_thousand_sockets_and_a_thousand_associations_leave_nothing_behind(stage: Stage) {
    let program = place(&format!("stress-{}", stage.carrier.name())).display().to_string();
    run(&["cc", "-O2", "-Wall", "-Wextra", "-o", &program, &source("stress.c")]);
    let mut stress = stage.start(&[&program, "127.0.0.1", "6301", &COUNT.to_string()]);
    let mut after = Vec::new();
    for _ in 0..ROUNDS {
        stress.tell("a round");
        let own: u64 = stress.says("descriptors: ").trim_start_matches("descriptors: ").parse().unwrap();
        let report = stage.emptied();
        let broker = report.number("process");
        let descriptors = std::fs::read_dir(format!("/proc/{broker}/fd")).unwrap().count() as u64;
        after.push((own, memory_kb(u64::from(stress.id())), descriptors, memory_kb(broker)));
    }
    println!("{}: own descriptors, own kB, the broker's descriptors, its kB: {after:?}", stage.carrier.name());
    let (early, late) = (after[1], after[ROUNDS as usize - 1]);
    // Whoever asked for the report before may not have been noticed to be gone.
    assert!(late.0 == early.0 && late.2 <= early.2 + 2, "descriptors are left over: {after:?}");
    assert!(late.1 <= early.1 + GROWTH_KB && late.3 <= early.3 + GROWTH_KB, "memory is left over: {after:?}");
    stress.hush();
    stress.ends_well();
    stage.was_ours(ROUNDS * (3 * COUNT + 2), ROUNDS * 4 * COUNT, ROUNDS * 4 * COUNT);
}

/// What a process has in memory.
fn memory_kb(process: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
