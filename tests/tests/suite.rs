//! The suite of the public API, over every backend that this machine has.

use esock_interop::lab::Lab;
use esock_interop::network::Namespace;
use esock_interop::process::Process;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long the suite may take over one backend.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the suite in a network namespace of its own. Says what was skipped, and why.
fn run_over(over: &str) {
    if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") && over.starts_with("raw") {
        println!("skipped: the suite over {over}: ESOCK_NO_PEERS=1");
        return;
    }
    let suite = [env!("CARGO_BIN_EXE_esock-suite"), "--over", over];
    let namespace = std::env::var_os("ESOCK_NO_PEERS").is_none().then(Namespace::with_loopback);
    let words = namespace.as_ref().map_or_else(|| suite.to_vec(), |namespace| namespace.enter(&suite));
    let mut process = Process::start(&words, |command| {
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
    });
    let (sender, lines) = channel();
    process.read_lines(move |line| {
        // An error: the test has given up.
        let _ = sender.send(line.trim().to_owned());
    });
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        said.push(line);
    }
    judge(over, &said);
}

/// Whether the suite came to its end with no failure. Says what was skipped.
fn judge(over: &str, said: &[String]) {
    let about = |event: &str| {
        let wanted = format!("event={event}");
        said.iter().filter(move |line| line.contains(&wanted)).map(String::as_str).collect::<Vec<_>>().join("\n")
    };
    println!("{}", about("skipped"));
    let (failed, end) = (about("failed "), about("end"));
    println!("{over}: {end}");
    assert!(failed.is_empty(), "over {over}: {failed}");
    assert!(end.contains("failed=0") && !end.contains("passed=0"), "over {over}: {}", said.join("\n"));
}

#[test]
fn the_suite_holds_over_udp() {
    run_over("udp");
}

#[test]
fn the_suite_holds_over_raw_ip() {
    run_over("raw");
}

#[test]
fn the_suite_holds_over_udp_with_shards() {
    run_over("udp-shards");
}

#[test]
fn the_suite_holds_over_raw_ip_with_shards() {
    run_over("raw-shards");
}

#[test]
fn the_suite_holds_over_framed_tcp() {
    run_over("tcp");
}

#[test]
fn the_suite_holds_over_raw_tcp() {
    run_over("tcp-raw");
}

#[test]
fn the_suite_holds_over_the_kernels_sctp() {
    let name = "the_suite_holds_over_the_kernels_sctp";
    let Some(mut lab) = Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer")) else {
        return;
    };
    let only = std::env::var("ESOCK_SUITE_ONLY").map(|only| format!(" --only {only}")).unwrap_or_default();
    let suite = format!("{} --over kernel{only}", env!("CARGO_BIN_EXE_esock-suite"));
    let mut lines = lab.execute_in_guest("suite", &suite);
    let exit = lines.wait("event=exit", Instant::now() + PATIENCE);
    let said: Vec<String> = lines.transcript().lines().map(str::to_owned).collect();
    judge("kernel", &said);
    assert_eq!(exit.value("code"), Some("0"));
}
