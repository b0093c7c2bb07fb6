//! esock's bindings to the kernel's SCTP, on a kernel that has it.

use esock_interop::lab::Lab;
use std::time::{Duration, Instant};

#[test]
fn every_call_of_the_kernels_sctp_does_what_it_says() {
    let name = "every_call_of_the_kernels_sctp_does_what_it_says";
    let Some(mut lab) = Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer")) else {
        return;
    };
    let mut lines = lab.execute_in_guest("check", env!("CARGO_BIN_EXE_kernel-check"));
    let deadline = Instant::now() + Duration::from_secs(90);
    let done = lines.wait("event=done", deadline);
    lines.wait("event=exit code=0", deadline);
    println!("{} checks on {}", done.number("checks"), lab.kernel());
    assert!(done.number("checks") > 150, "{}", lines.transcript());
}
