//! Every case with every peer.

mod cases;
mod dcsctp;
mod faults;
mod rtc_sctp;
mod sctp_proto;

use esock_rust_peers::Peer;

/// Makes a module of tests for each peer, one test a case.
macro_rules! table {
    ($cases:tt $($module:ident: $peer:ty,)*) => {
        $(
            mod $module {
                table!(@ $cases $peer);
            }
        )*
    };
    (@ { $($case:ident,)* } $peer:ty) => {
        $(
            #[test]
            fn $case() {
                crate::cases::$case::<$peer>();
            }
        )*
    };
}

table! {
    {
        we_connect_and_shut_down,
        we_connect_and_they_shut_down,
        they_connect_and_we_shut_down,
        they_connect_and_shut_down,
        both_connect_at_once,
        we_abort,
        they_abort,
        we_connect_and_all_sizes_pass_both_ways,
        they_connect_and_all_sizes_pass_both_ways,
        one_packet_in_a_hundred_is_lost,
        one_packet_in_twenty_is_lost_and_others_overtake_or_double,
        handshake_and_shutdown_survive_heavy_losses,
        we_restart,
        they_restart,
        we_read_slowly,
        they_read_slowly,
        transmission_sequence_numbers_wrap,
        extensions_are_used_only_if_both_ends_have_them,
        a_request_to_reset_streams_that_was_not_agreed_on_harms_nothing,
    }
    with_dcsctp: crate::dcsctp::Dcsctp,
    with_sctp_proto: crate::sctp_proto::SctpProto,
    with_rtc_sctp: crate::rtc_sctp::RtcSctp,
}

/// The names of the peers have their versions: those that were built.
#[test]
fn the_peers_have_the_versions_that_the_matrix_gives_them() {
    let lock = include_str!("../../../../Cargo.lock");
    for name in [dcsctp::Dcsctp::NAME, sctp_proto::SctpProto::NAME, rtc_sctp::RtcSctp::NAME] {
        let (name, version) = name.split_once(' ').expect("a name and a version");
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{name} {version}");
    }
}
