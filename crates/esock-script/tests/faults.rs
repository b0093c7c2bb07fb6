//! The scripts notice faults: for each fault on purpose there is one that fails.

use esock_proto::Fault;
use esock_script::{Script, scripts_under};
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

#[test]
fn every_fault_makes_a_script_fail() {
    let files = scripts_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).expect("they can be read");
    let all = files.iter().map(|file| {
        let text = fs::read_to_string(file).expect("a script can be read");
        Script::parse(&file.display().to_string(), &text).unwrap_or_else(|failure| panic!("{failure}"))
    });
    let all: Vec<Script> = all.collect();
    let unnoticed: Vec<Fault> = FAULTS
        .iter()
        .copied()
        .filter(|fault| all.iter().all(|script| script.run_with_fault(*fault).failure.is_none()))
        .collect();
    assert!(unnoticed.is_empty(), "no script notices {unnoticed:?}");
}
