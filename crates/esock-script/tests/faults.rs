//! The scripts notice faults: for each fault on purpose there is one that fails.

use esock_proto::Fault;
use esock_script::Script;
use std::fs;
use std::path::Path;

const FAULTS: &[Fault] = &[
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

fn scripts(folder: &Path, found: &mut Vec<Script>) {
    for entry in fs::read_dir(folder).expect("the folder of scripts can be read") {
        let path = entry.expect("the folder of scripts can be read").path();
        if path.is_dir() {
            scripts(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("a script can be read");
            found.push(Script::parse(&path.display().to_string(), &text).unwrap_or_else(|failure| panic!("{failure}")));
        }
    }
}

#[test]
fn every_fault_makes_a_script_fail() {
    let mut all = Vec::new();
    scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut all);
    let unnoticed: Vec<Fault> = FAULTS
        .iter()
        .copied()
        .filter(|fault| all.iter().all(|script| script.run_with_fault(*fault).failure.is_none()))
        .collect();
    assert!(unnoticed.is_empty(), "no script notices {unnoticed:?}");
}
