//! The parts of `cargo xtask test`.

use std::time::Duration;

/// A part: a cargo command and what to make of it.
#[derive(Debug)]
pub struct Step {
    /// Its name in the report.
    pub name: &'static str,
    /// Arguments to cargo.
    pub arguments: &'static [&'static str],
    /// Environment of the command.
    pub environment: Vec<(&'static str, String)>,
    /// Whether tests run in it: then at least one must.
    pub tests: bool,
    /// How long it may take on two cores, built from nothing; longer is reported.
    pub limit: Duration,
}

/// All parts together may take this long, on two cores.
pub const TOTAL_LIMIT: Duration = Duration::from_secs(19 * 60 + 20);

/// How long installing packages may take.
pub const PACKAGES_LIMIT: Duration = Duration::from_secs(180);

/// How long each fuzz target runs, and all of them with building them, in the time that others leave.
pub const FUZZ_TIME: Duration = Duration::from_secs(15);
pub const FUZZ_LIMIT: Duration = Duration::from_secs(600);

/// How long building for release and counting instructions may take, in the time that others leave.
pub const INSTRUCTIONS_LIMIT: Duration = Duration::from_secs(600);

/// How many seeded simulation runs are made unless ESOCK_SIM_RUNS says otherwise.
const SIM_RUNS: &str = "2000";

/// What fails fast comes first.
pub fn checks() -> Vec<Step> {
    vec![
        check("format", 30, &["fmt", "--all", "--check"]),
        check("fuzz format", 30, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
        check("clippy", 180, CLIPPY),
        Step { environment: crate::fuzz::environment(), ..check("fuzz clippy", 120, fuzz_clippy()) },
        Step {
            environment: vec![("RUSTDOCFLAGS", "-D warnings".to_owned())],
            ..check("docs", 120, &["doc", "--workspace", "--no-deps", "--locked"])
        },
    ]
}

/// Tests of our own, one part after the other: building them takes most of their time.
pub fn of_ours() -> Vec<Step> {
    let runs = std::env::var("ESOCK_SIM_RUNS").unwrap_or_else(|_| SIM_RUNS.to_owned());
    vec![
        // Many of them wait for timers and peers for the most part of their time.
        Step { environment: vec![("RUST_TEST_THREADS", "4".to_owned())], ..tests("unit", 330, UNIT) },
        tests("doc tests", 120, DOC_TESTS),
        tests("scripts", 120, SCRIPTS),
        Step { environment: vec![("ESOCK_SIM_RUNS", runs)], ..tests("simulation", 300, SIMULATION) },
    ]
}

/// Tests with other implementations; what they show makes the matrix in the README.
pub fn of_peers(peers: bool) -> [Step; 2] {
    [tests("rust peers", 180, RUST_PEERS), with_or_without(peers, tests("interop", 540, INTEROP))]
}

/// What runs behind the last of these, and what runs beside both, one after the other: all of it waits for guests and
/// timers most of the time.
pub fn behind(peers: bool) -> Step {
    with_or_without(peers, tests("suite", 300, SUITE))
}

pub fn beside(peers: bool) -> [Step; 2] {
    let sanitized = Step { environment: address_sanitizer(), ..tests("asan", 180, ASAN) };
    [with_or_without(peers, tests("programs", 540, PROGRAMS)), sanitized]
}

/// What can be built long before it runs, since it has a directory of its own.
pub fn built_before() -> Step {
    Step { environment: address_sanitizer(), ..check("asan, built", 600, ASAN_BUILT) }
}

fn with_or_without(peers: bool, step: Step) -> Step {
    let environment = if peers { Vec::new() } else { vec![("ESOCK_NO_PEERS", "1".to_owned())] };
    Step { environment, ..step }
}

/// The crate with unsafe code under AddressSanitizer, which finds leaks too.
const ASAN: &[&str] = &["test", "--package", "esock-io", "--lib", "--locked", "--no-fail-fast"];
const ASAN_BUILT: &[&str] = &["test", "--package", "esock-io", "--lib", "--locked", "--no-run"];

/// The compiler has AddressSanitizer, but calls it unstable: it is told that this is known. Dependencies are built
/// with it too, in a directory of their own; a target is named so that build scripts are not.
fn address_sanitizer() -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("RUSTC_BOOTSTRAP", "1".to_owned()),
        ("RUSTFLAGS", "-Zsanitizer=address".to_owned()),
        ("CARGO_TARGET_DIR", "target/asan".to_owned()),
        // Little is kept back of what is freed, so that tests can say how much memory something takes.
        ("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1:quarantine_size_mb=16".to_owned()),
        // A test breaks the rules and has to be caught: without the sanitizer this part fails.
        ("ESOCK_EXPECT_ASAN", "1".to_owned()),
    ];
    // Without it cargo says what is wrong.
    environment.extend(crate::test::host_triple().ok().map(|triple| ("CARGO_BUILD_TARGET", triple)));
    environment
}

const CLIPPY: &[&str] = &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];

/// `fuzz/` is a workspace of its own. Without a C++ compiler all of it is checked but the few lines that libFuzzer calls;
/// where peers are wanted one is installed.
fn fuzz_clippy() -> &'static [&'static str] {
    if crate::fuzz::has_compiler() { FUZZ_CLIPPY } else { FUZZ_CLIPPY_ALONE }
}

const FUZZ_CLIPPY: &[&str] =
    &["clippy", "--release", "--manifest-path", "fuzz/Cargo.toml", "--all-targets", "--locked", "--", "-D", "warnings"];

const FUZZ_CLIPPY_ALONE: &[&str] = &[
    "clippy",
    "--release",
    "--manifest-path",
    "fuzz/Cargo.toml",
    "--no-default-features",
    "--lib",
    "--locked",
    "--",
    "-D",
    "warnings",
];

/// Tests of the crates that have no part of their own, built once for unit tests and doc tests.
macro_rules! tests_of_most_crates {
    ($($argument:literal)*) => {
        &[
            "test",
            "--workspace",
            "--exclude",
            "esock-sim",
            "--exclude",
            "esock-script",
            "--exclude",
            "esock-interop",
            "--exclude",
            "esock-rust-peers",
            "--locked",
            "--no-fail-fast",
            $($argument,)*
        ]
    };
}

/// Unit tests, and the tests of each crate's `tests/`; benchmarks would run for minutes as tests.
const UNIT: &[&str] = tests_of_most_crates!("--lib" "--bins" "--tests" "--examples");

/// The crates that are left out are not published, and have none.
const DOC_TESTS: &[&str] = tests_of_most_crates!("--doc");

/// Apart from the unit tests, like the simulation: both build the stack with its faults on purpose.
const SCRIPTS: &[&str] = &["test", "--package", "esock-script", "--lib", "--tests", "--locked", "--no-fail-fast"];

const SIMULATION: &[&str] = &["test", "--package", "esock-sim", "--lib", "--tests", "--locked", "--no-fail-fast"];

/// Other stacks in memory: they need nothing but cargo, and what they build nothing else needs.
const RUST_PEERS: &[&str] =
    &["test", "--package", "esock-rust-peers", "--lib", "--tests", "--locked", "--no-fail-fast", "--", "--show-output"];

/// Tests with other implementations as real processes. Shows the output of tests that passed too: it says which peers
/// were skipped.
macro_rules! tests_of_interop {
    ($($argument:literal)*) => {
        &["test", "--package", "esock-interop", "--locked", "--no-fail-fast", $($argument,)* "--", "--show-output"]
    };
}

/// Those in a network of their own, one after the other: the kernel's SCTP in its guest, and usrsctp.
const INTEROP: &[&str] = tests_of_interop!(
    "--lib" "--bins" "--test" "harness" "--test" "kernel" "--test" "kernel_abi" "--test" "kernel_backend"
    "--test" "usrsctp"
);

/// Those of programs.
const PROGRAMS: &[&str] =
    tests_of_interop!("--test" "packets" "--test" "preload" "--test" "programs" "--test" "socket_api");

/// Those of the public API, over each backend; four at once, since they hardly do anything but wait.
const SUITE: &[&str] = &[
    "test",
    "--package",
    "esock-interop",
    "--locked",
    "--no-fail-fast",
    "--test",
    "suite",
    "--",
    "--show-output",
    "--test-threads",
    "4",
];

fn check(name: &'static str, limit: u64, arguments: &'static [&'static str]) -> Step {
    let limit = Duration::from_secs(limit);
    Step { name, arguments, environment: Vec::new(), tests: false, limit }
}

fn tests(name: &'static str, limit: u64, arguments: &'static [&'static str]) -> Step {
    Step { tests: true, ..check(name, limit, arguments) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_tests_with_real_processes_is_in_one_part() {
        let named = [INTEROP, PROGRAMS, SUITE].concat();
        let mut named: Vec<_> = named.windows(2).filter(|pair| pair[0] == "--test").map(|pair| pair[1]).collect();
        named.sort_unstable();
        let folder = std::fs::read_dir(crate::root().join("tests/tests")).unwrap();
        let place = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
        let is_test = |path: &std::path::PathBuf| path.is_file() || path.join("main.rs").is_file();
        let name = |path: std::path::PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut there: Vec<_> = folder.map(place).filter(is_test).map(name).collect();
        there.sort_unstable();
        assert_eq!(named, there);
    }
}
