//! What the README says: its example passes, and every test purpose has a script.

use esock_script::{Script, scripts_under};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The test purposes of ETSI TS 102 369 that a tester of packets can drive, by group.
const PURPOSES: &[(&str, &str)] = &[
    (
        "AS",
        "V_1_1_1 V_1_1_2 I_1_2_1 I_1_2_2 I_1_3_1 I_1_3_2 I_1_4 V_1_5_1 V_1_5_2 V_1_6_1 V_1_6_2 V_1_7_1 I_1_7_2 V_1_7_3 \
         I_1_7_4 V_1_7_5 I_1_8_1 I_1_8_2 I_1_8_3 I_1_8_4 O_1_9_1 O_1_9_2 V_1_10_1 V_1_10_2 V_1_11_1 V_1_11_2 V_1_12_1 \
         I_1_12_2 V_1_13_1 I_1_13_2 I_1_14_1 I_1_14_2 I_1_15",
    ),
    (
        "AT",
        "V_2_2 I_2_3 I_2_4 I_2_5 V_2_6 I_2_7_1 I_2_7_2 I_2_7_3 I_2_7_4 I_2_8 I_2_9 I_2_10 I_2_11 I_2_12 I_2_13 V_2_14",
    ),
    ("IMH", "I_3_1 I_3_2 I_3_3 I_3_4 I_3_5 I_3_6 I_3_7 I_3_8 I_3_9 I_3_10"),
    (
        "DM",
        "O_4_1 O_4_2_1 O_4_2_2 O_4_3 O_4_4 O_4_5 O_4_6_1 O_4_6_2 O_4_6_3 O_4_7_1 O_4_7_2 O_4_7_3 O_4_8 O_4_9 O_4_10",
    ),
    ("FH", "I_5_1_1 I_5_1_2 V_5_2 O_5_3_1 O_5_3_2 O_5_3_3 O_5_3_4 O_5_3_5"),
    ("E", "O_6_1 O_6_2 I_6_3 I_6_4 I_6_5 I_6_6"),
    ("BDC", "I_7_1 I_7_2 I_7_3 V_7_4 V_7_5 V_7_6 V_7_7 V_7_8"),
    ("D", "V_8_1 V_8_2 V_8_3 V_8_4 I_8_5 O_8_6 O_8_7 O_8_8 V_8_9 V_8_10 I_8_11 O_8_12 V_8_13 V_8_14 V_8_15"),
    ("A", "V_9_1 V_9_2 O_9_3"),
    ("M", "I_10_1 I_10_2 I_10_3 I_10_4"),
    ("RT", "I_11_1 I_11_2 I_11_3"),
];

#[test]
fn every_test_purpose_has_one_script() {
    let mut found = BTreeSet::new();
    for file in scripts_under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).expect("they can be read") {
        let text = fs::read_to_string(&file).expect("a script can be read");
        let script = Script::parse(&file.display().to_string(), &text).unwrap_or_else(|failure| panic!("{failure}"));
        if let Some(purpose) = script.purpose {
            assert!(found.insert(purpose.clone()), "{purpose} has two scripts");
        }
    }
    let wanted: BTreeSet<String> = PURPOSES
        .iter()
        .flat_map(|(group, names)| names.split(' ').map(move |name| format!("ETSI TS 102 369 SCTP_{group}_{name}")))
        .collect();
    assert_eq!(wanted.len(), 121);
    assert_eq!(found, wanted);
}

#[test]
fn the_example_of_the_readme_passes() {
    let readme = include_str!("../README.md");
    let example =
        readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it has an example");
    let script = Script::parse("README.md", example).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!script.covers.is_empty());
    if let Some(failure) = script.run().failure {
        panic!("{failure}");
    }
}
