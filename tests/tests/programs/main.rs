//! Programs that were never changed, over `esock run`: with each other, and with the Linux kernel's SCTP.
//!
//! - `ESOCK_IPERF_SECONDS=60` has iperf3 run longer than the second that it runs otherwise.

#![expect(clippy::unwrap_used, reason = "a step of a test fails by a panic")]

mod erlang;
mod iperf;
mod kernel;
mod lives;
mod lksctp;
mod perl;
mod pipes;
mod python;
mod stress;

use esock_interop::network::Namespace;
use esock_interop::programs::{Carrier, Stage};
use std::path::{Path, PathBuf};

/// Runs a test in a network namespace of its own, over one carrier.
fn on_stage(name: &str, carrier: Carrier, test: fn(Stage)) {
    if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") {
        println!("skipped: {name}: ESOCK_NO_PEERS=1");
        return;
    }
    let namespace = Namespace::with_loopback();
    test(Stage::new(&namespace, carrier, name));
}

/// A program of ours, as a script or in C.
fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name).display().to_string()
}

/// Where programs that are compiled and files that they write are put.
fn place(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    directory.join(format!("{name}-{}", std::process::id()))
}

macro_rules! over_both {
    ($($module:ident: $($name:ident)*;)*) => {
        mod over_udp { $(mod $module { $(
            #[test]
            fn $name() { crate::on_stage(stringify!($name), crate::Carrier::Udp, crate::$module::$name); }
        )* })* }
        mod over_raw_ip { $(mod $module { $(
            #[test]
            fn $name() { crate::on_stage(stringify!($name), crate::Carrier::Raw, crate::$module::$name); }
        )* })* }
    };
}

over_both! {
    lksctp: checksctp_says_that_there_is_sctp sctp_test_sends_to_sctp_test sctp_darn_does_what_is_typed
        sctp_status_shows_associations;
    iperf: iperf3_measures_both_directions_many_streams_and_many_associations;
    erlang: gen_sctp_has_one_to_many_sockets_and_peels_off;
    python: pysctp_sends_receives_and_is_told pythons_own_library_takes_sockets_as_any_others;
    perl: perl_has_streams_of_lines_children_and_one_to_many_sockets;
    pipes: two_ncats_chat socat_forks_for_each_connection socat_carries_a_file_whole;
    lives: who_is_killed_has_told_its_peers_at_once a_server_becomes_a_daemon two_servers_have_two_ports
        two_brokers_keep_out_of_each_others_way;
    stress: a_thousand_sockets_and_a_thousand_associations_leave_nothing_behind;
}
