//! esock over the kernel's SCTP, in the guest, and esock over its own stack outside, both ways.

use esock_interop::lab::Lab;
use esock_interop::matrix::Direction::{TheyConnect, WeConnect};
use esock_interop::matrix::{BOTH_V4, V4_AND_V6, bulk, failover, losses, mixed_sizes, restart, shutdown_by_the_server};
use esock_interop::network::Family::{V4, V6};
use esock_interop::network::Host;
use esock_interop::scenario::Encapsulation::{Native, Udp};
use std::time::{Duration, Instant};

const PEER: Host = Host::EsockOnKernel;

fn with_lab(name: &str, test: impl FnOnce(&mut Lab)) {
    if let Some(mut lab) = Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer")) {
        test(&mut lab);
    }
}

macro_rules! tests {
    ($($name:ident: $test:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let test: fn(&mut Lab, &'static str) = $test;
                with_lab(stringify!($name), |lab| test(lab, concat!("kernel-backend-", stringify!($name))));
            }
        )*
    };
}

tests! {
    we_connect_over_udp_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, WeConnect, Udp);
    they_connect_over_raw_ip_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, TheyConnect, Native);

    they_connect_over_udp_send_all_sizes_and_abort: |lab, name| {
        mixed_sizes(lab, name, PEER, TheyConnect, Udp, (&[V6], PEER));
    };
    we_connect_over_raw_ip_send_all_sizes_and_abort: |lab, name| {
        mixed_sizes(lab, name, PEER, WeConnect, Native, (&[V4], Host::Us));
    };

    they_connect_over_udp_and_we_shut_down: |lab, name| shutdown_by_the_server(lab, name, PEER, TheyConnect, Udp);
    we_connect_over_raw_ip_and_they_shut_down: |lab, name| {
        shutdown_by_the_server(lab, name, PEER, WeConnect, Native);
    };

    we_are_killed_and_come_back_over_raw_ip: |lab, name| restart(lab, name, PEER, WeConnect, Native);
    they_connect_over_udp_and_packets_are_lost: |lab, name| losses(lab, name, PEER, TheyConnect, Udp);

    they_connect_over_udp_and_each_of_two_paths_fails_once: |lab, name| {
        failover(lab, name, PEER, TheyConnect, Udp, BOTH_V4);
    };
    we_connect_over_raw_ip_and_each_of_two_paths_fails_once: |lab, name| {
        failover(lab, name, PEER, WeConnect, Native, V4_AND_V6);
    };
}

#[test]
fn programs_that_nobody_here_wrote_are_understood() {
    with_lab("programs_that_nobody_here_wrote_are_understood", |lab| {
        let mut lines = lab.execute_in_guest("lksctp", env!("CARGO_BIN_EXE_lksctp-check"));
        let deadline = Instant::now() + Duration::from_secs(110);
        let done = lines.wait("event=done", deadline);
        assert_eq!(done.number("failed"), 0, "{}", lines.transcript());
        assert_eq!(done.number("passed"), 5, "{}", lines.transcript());
        lines.wait("event=exit code=0", deadline);
    });
}
