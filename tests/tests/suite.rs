//! The suite of the public API, over every backend that this machine has.

use esock_interop::network::Namespace;
use esock_interop::process::Process;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long the suite may take over one backend.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs the suite in a network namespace of its own. Says what was skipped, and why.
fn run_over(over: &str) {
    if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") && over == "raw" {
        println!("skipped: the suite over raw IP: ESOCK_NO_PEERS=1");
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
    let (mut failed, mut end) = (Vec::new(), None);
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.contains("event=failed") {
            failed.push(line);
        } else if line.contains("event=skipped") {
            println!("{line}");
        } else if line.contains("event=end") {
            end = Some(line);
        }
    }
    let end = end.unwrap_or_else(|| panic!("the suite over {over} did not come to its end in {PATIENCE:?}"));
    println!("{over}: {end}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(!end.contains("passed=0"), "{end}");
}

#[test]
fn the_suite_holds_over_udp() {
    run_over("udp");
}

#[test]
fn the_suite_holds_over_raw_ip() {
    run_over("raw");
}
