//! The properties bite: faults that are put into the stack on purpose are found.

use esock_proto::{Fault, Faults, Time};
use esock_sim::check::play;
use esock_sim::scenario::Scenario;
use esock_sim::soak::Soak;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Seeds tried for a fault at most.
const SEEDS: u64 = 3000;

const FAULTS: [Fault; 18] = [
    Fault::GapBlocksOffByOne,
    Fault::RenegingIgnored,
    Fault::T3NotStarted,
    Fault::FlightNotReduced,
    Fault::DuplicateDelivered,
    Fault::SsnNotAdvanced,
    Fault::WindowNotProbed,
    Fault::EndFlagMissing,
    Fault::RetransmissionNotInFlight,
    Fault::ErrorsNotCleared,
    Fault::UndeliveredSwallowed,
    Fault::MaybeReceivedLies,
    Fault::OrderForgotten,
    Fault::WindowNotEnforced,
    Fault::DroppedAcknowledged,
    Fault::RestartKeepsStreams,
    Fault::ShutdownTooEarly,
    Fault::MtuNeverFalls,
];

/// The first seed at which the fault is found, and how.
fn find(fault: Fault) -> Option<(u64, String)> {
    (0..SEEDS).find_map(|seed| {
        let mut scenario = Scenario::from_seed(seed);
        scenario.sides.iter_mut().for_each(|side| side.config.faults = Faults::of(fault));
        // A check of the stack's own that fails is as good as one of ours.
        match catch_unwind(AssertUnwindSafe(|| play(&scenario, false).outcome)) {
            Ok(Ok(_)) => None,
            Ok(Err(problem)) => Some((seed, problem.lines().next().unwrap_or_default().to_owned())),
            Err(_) => Some((seed, "a check within the stack".to_owned())),
        }
    })
}

#[test]
fn every_fault_that_is_put_into_the_stack_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let found: Vec<_> = std::thread::scope(|scope| {
        let halves = FAULTS.chunks(FAULTS.len() / 2);
        let threads: Vec<_> =
            halves.map(|half| scope.spawn(|| half.iter().map(|fault| find(*fault)).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let _ = std::panic::take_hook();
    let mut missed = Vec::new();
    for (fault, found) in FAULTS.iter().zip(found) {
        match found {
            Some((seed, how)) => println!("{fault:?}: seed {seed}: {how}"),
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}

#[test]
fn the_soak_finds_faults_too() {
    // One of them takes luck: a message has to arrive, and its acknowledgement not, before an end crashes.
    const ROUNDS: usize = 16;
    let faults = [
        Fault::DuplicateDelivered,
        Fault::SsnNotAdvanced,
        Fault::UndeliveredSwallowed,
        Fault::MaybeReceivedLies,
        Fault::OrderForgotten,
        Fault::DroppedAcknowledged,
        Fault::RestartKeepsStreams,
        Fault::T3NotStarted,
    ];
    for fault in faults {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut soak = Soak::with_faults(1, Time::from_millis(1000), Faults::of(fault));
            (0..ROUNDS).try_for_each(|_| soak.round(Duration::from_secs(1200), &mut |_| ()))
        }));
        // A check of the stack's own that fails is as good as one of the soak's.
        let found = match outcome {
            Ok(outcome) => outcome.expect_err(&format!("{fault:?} is not found")),
            Err(_) => "a check within the stack".to_owned(),
        };
        println!("{fault:?}: {found}");
    }
}
