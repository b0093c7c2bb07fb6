//! Checks esock's bindings to the kernel's SCTP on a kernel that has it, over its loopback device.
//!
//! `kernel-check --tag TAG` prints a line for each check and one about all; exit status 0 only if all passed.

#![forbid(unsafe_code)]

mod associations;
mod backend;
mod endings;
mod report;
mod settings;
mod side;

use report::Report;

fn main() -> std::process::ExitCode {
    let tag = std::env::args().skip_while(|word| word != "--tag").nth(1).unwrap_or_else(|| "check".to_owned());
    let mut report = Report::new(tag);
    macro_rules! run {
        ($($group:expr;)*) => {
            $(
                let ended = $group(&mut report);
                report.group(stringify!($group), ended);
            )*
        };
    }
    run! {
        settings::options_of_a_socket;
        settings::options_of_future_associations;
        associations::two_addresses;
        associations::streams_and_flags;
        associations::a_large_message;
        associations::many_associations_on_one_socket;
        associations::paths;
        associations::ipv6_and_ipv4;
        associations::udp_encapsulation;
        endings::shutdown;
        endings::abort_with_a_reason;
        endings::what_was_not_sent_comes_back;
        endings::fragments_come_back_one_by_one;
        endings::a_partial_delivery_that_ends;
        endings::a_socket_that_is_closed;
        endings::nobody_there;
        endings::silent_endpoint;
        backend::parameters_of_one_connection_are_its_own;
    }
    report.end()
}
