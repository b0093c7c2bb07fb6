//! esock and usrsctp, both ways, over UDP and over raw IP.

use esock_interop::lab::Lab;
use esock_interop::matrix::Direction::{TheyConnect, WeConnect};
use esock_interop::matrix::{
    BOTH_V4, V4_AND_V6, bulk, encapsulation_found_out, ephemeral_udp_port, failover, larger_than_the_windows, losses,
    mixed_sizes, restart, shutdown_by_the_server,
};
use esock_interop::network::Family::{V4, V6};
use esock_interop::network::Host;
use esock_interop::scenario::Encapsulation::{Native, Udp};

const PEER: Host = Host::Usrsctp;

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
                with_lab(stringify!($name), |lab| test(lab, concat!("usrsctp-", stringify!($name))));
            }
        )*
    };
}

tests! {
    we_connect_over_udp_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, WeConnect, Udp);
    they_connect_over_udp_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, TheyConnect, Udp);
    we_connect_over_raw_ip_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, WeConnect, Native);
    they_connect_over_raw_ip_and_64_megabytes_pass_each_way: |lab, name| bulk(lab, name, PEER, TheyConnect, Native);

    we_connect_over_udp_and_messages_are_larger_than_the_windows: |lab, name| {
        larger_than_the_windows(lab, name, PEER, WeConnect, Udp);
    };
    they_connect_over_raw_ip_and_messages_are_larger_than_the_windows: |lab, name| {
        larger_than_the_windows(lab, name, PEER, TheyConnect, Native);
    };

    we_connect_over_udp_send_all_sizes_and_abort: |lab, name| {
        mixed_sizes(lab, name, PEER, WeConnect, Udp, (&[V4], Host::Us));
    };
    they_connect_over_udp_send_all_sizes_and_abort: |lab, name| {
        mixed_sizes(lab, name, PEER, TheyConnect, Udp, (&[V6], PEER));
    };
    we_connect_over_raw_ip_send_all_sizes_and_are_aborted: |lab, name| {
        mixed_sizes(lab, name, PEER, WeConnect, Native, (&[V6], PEER));
    };
    they_connect_over_raw_ip_send_all_sizes_and_are_aborted: |lab, name| {
        mixed_sizes(lab, name, PEER, TheyConnect, Native, (&[V4], Host::Us));
    };

    we_connect_over_udp_and_they_shut_down: |lab, name| shutdown_by_the_server(lab, name, PEER, WeConnect, Udp);
    they_connect_over_udp_and_we_shut_down: |lab, name| shutdown_by_the_server(lab, name, PEER, TheyConnect, Udp);
    we_connect_over_raw_ip_and_they_shut_down: |lab, name| {
        shutdown_by_the_server(lab, name, PEER, WeConnect, Native);
    };
    they_connect_over_raw_ip_and_we_shut_down: |lab, name| {
        shutdown_by_the_server(lab, name, PEER, TheyConnect, Native);
    };

    we_connect_from_any_udp_port_and_the_peer_learns_it: |lab, name| ephemeral_udp_port(lab, name, PEER);
    we_connect_without_knowing_the_encapsulation: |lab, name| encapsulation_found_out(lab, name, PEER);

    we_are_killed_and_come_back_over_udp: |lab, name| restart(lab, name, PEER, WeConnect, Udp);
    we_are_killed_and_come_back_over_raw_ip: |lab, name| restart(lab, name, PEER, WeConnect, Native);
    they_are_killed_and_come_back_over_udp: |lab, name| restart(lab, name, PEER, TheyConnect, Udp);

    we_connect_over_udp_and_packets_are_lost: |lab, name| losses(lab, name, PEER, WeConnect, Udp);
    they_connect_over_raw_ip_and_packets_are_lost: |lab, name| losses(lab, name, PEER, TheyConnect, Native);

    we_connect_over_udp_and_each_of_two_paths_fails_once: |lab, name| {
        failover(lab, name, PEER, WeConnect, Udp, BOTH_V4);
    };
    they_connect_over_udp_and_each_of_two_paths_fails_once: |lab, name| {
        failover(lab, name, PEER, TheyConnect, Udp, V4_AND_V6);
    };
    we_connect_over_raw_ip_and_each_of_two_paths_fails_once: |lab, name| {
        failover(lab, name, PEER, WeConnect, Native, V4_AND_V6);
    };
    they_connect_over_raw_ip_and_each_of_two_paths_fails_once: |lab, name| {
        // Over raw IPv4 usrsctp sends every packet from its first address, whichever link it takes: answers
        // leave over the other link, and two IPv4 paths fail together.
        failover(lab, name, PEER, TheyConnect, Native, V4_AND_V6);
    };
}
