//! `esock demo`

use crate::common::Esock;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

#[test]
fn the_demo_fails_over_recovers_and_ends_well_within_ten_seconds() {
    // Somebody else has the registered port, here or elsewhere on this machine.
    let _taken = UdpSocket::bind("0.0.0.0:9899");
    let started = Instant::now();
    let finished = Esock::start(&["demo"]).finish();
    assert_eq!(finished.code, 0, "{}\n{}", finished.stdout, finished.stderr);
    assert!(started.elapsed() < Duration::from_secs(10));
    for part in [
        "SCTP port 30400",
        "└─ association with port",
        "├─ path to 127.0.0.1 (primary): active",
        "└─ path to",
        "10 streams out, 10 in",
        "RTT ",
        "cwnd ",
        "path down: 127.0.0.1",
        "path up: 127.0.0.1",
        "Everything held",
    ] {
        assert!(finished.stdout.contains(part), "no `{part}` in:\n{}", finished.stdout);
    }
    assert!(!finished.stdout.contains('\u{1b}'), "colour without a terminal");
}
