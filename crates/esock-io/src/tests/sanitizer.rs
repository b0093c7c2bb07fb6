//! Where these tests are to run under AddressSanitizer, they do.

use std::process::Command;

/// Set by whoever builds the tests with AddressSanitizer.
const EXPECTED: &str = "ESOCK_EXPECT_ASAN";
/// Set for the process that breaks the rules.
const BREAK: &str = "ESOCK_BREAK_MEMORY";

#[test]
fn where_the_sanitizer_is_expected_it_finds_a_read_behind_an_allocation() {
    if std::env::var_os(BREAK).is_some() {
        return read_behind_an_allocation();
    }
    if std::env::var_os(EXPECTED).is_none() {
        println!("not expected: {EXPECTED} is not set");
        return;
    }
    let name = "tests::sanitizer::where_the_sanitizer_is_expected_it_finds_a_read_behind_an_allocation";
    let output = Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", name, "--nocapture"])
        .env(BREAK, "1")
        .output()
        .expect("it runs again");
    let told = String::from_utf8_lossy(&output.stderr);
    let found = told.contains("AddressSanitizer: heap-buffer-overflow") && !output.status.success();
    assert!(found, "the tests run without AddressSanitizer: {}\n{told}", output.status);
}

fn read_behind_an_allocation() {
    let bytes = std::hint::black_box(vec![1u8; 24]);
    // SAFETY: there is none, and that is the point: AddressSanitizer ends the process here. Without it a byte of the
    // allocator's is read, in a process that does nothing else.
    let behind = unsafe { bytes.as_ptr().add(std::hint::black_box(24)).read_volatile() };
    println!("read {behind} behind an allocation, and nobody minded");
}
