//! The laboratory itself: the real peers talk to each other, before and beside esock.

use esock_interop::lab::Lab;
use esock_interop::line::Line;
use esock_interop::network::{Family, Host};
use esock_interop::process::run;
use esock_interop::scenario::{Encapsulation, End, Scenario};
use esock_interop::workload::Workload;

fn enter(name: &str) -> Option<std::sync::MutexGuard<'static, Lab>> {
    Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer"))
}

#[test]
fn the_workload_is_the_same_in_rust_and_in_c() {
    let Some(lab) = enter("the_workload_is_the_same_in_rust_and_in_c") else { return };
    let program = lab.usrsctp_peer().display().to_string();
    for text in ["none", "fixed:16384:20:7", "fixed:1:3:1", "mixed:4194304:1048576:9", "mixed:100000:5000:10"] {
        let output = run(&[&program, "--describe", text]);
        let (_, said) = output.lines().find_map(Line::parse).unwrap();
        let workload: Workload = text.parse().unwrap();
        let unordered = (0..workload.count()).filter(|index| workload.is_unordered(*index)).count();
        assert_eq!(said.number("messages"), workload.count() as u64, "{text}");
        assert_eq!(said.number("bytes"), workload.total(), "{text}");
        assert_eq!(said.number("unordered"), unordered as u64, "{text}");
        assert_eq!(said.value("sum"), Some(format!("{:016x}", workload.total_sum()).as_str()), "{text}");
    }
}

#[test]
fn the_kernel_and_usrsctp_understand_each_other_over_udp_and_two_paths() {
    let Some(mut lab) = enter("the_kernel_and_usrsctp_understand_each_other_over_udp_and_two_paths") else { return };
    Scenario {
        links: &[Family::V4, Family::V4],
        buffer: 4 << 20,
        client_sends: "mixed:1000000:100000:3",
        server_sends: "mixed:1000000:100000:4",
        ..Scenario::new("kernel-usrsctp-udp", Host::Usrsctp, Host::Kernel, Encapsulation::Udp)
    }
    .run(&mut lab);
}

#[test]
fn the_kernel_and_usrsctp_understand_each_other_over_raw_ip_until_one_aborts() {
    let Some(mut lab) = enter("the_kernel_and_usrsctp_understand_each_other_over_raw_ip_until_one_aborts") else {
        return;
    };
    Scenario {
        ends: Host::Usrsctp,
        end: End::Abort,
        ..Scenario::new("kernel-usrsctp-raw", Host::Kernel, Host::Usrsctp, Encapsulation::Native)
    }
    .run(&mut lab);
}
