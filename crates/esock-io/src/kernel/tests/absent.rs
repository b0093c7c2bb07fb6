//! A kernel without SCTP.

use crate::kernel::{Family, OpenSocketError, SctpSocket};

#[test]
fn without_sctp_in_the_kernel_opening_a_socket_says_so_and_what_to_do() {
    for family in [Family::V4, Family::V6] {
        match SctpSocket::open(family) {
            // This kernel has it.
            Ok(_) => assert!(std::path::Path::new("/proc/sys/net/sctp").exists()),
            Err(error) => {
                assert!(matches!(error, OpenSocketError::Missing(_)), "{error}");
                let text = error.to_string();
                assert!(text.contains("modprobe sctp") && text.contains("the kernel has no SCTP"), "{text}");
            }
        }
    }
}

#[test]
fn what_the_kernel_says_without_sctp_is_told_from_other_refusals() {
    for (number, missing) in [
        (libc::EPROTONOSUPPORT, true),
        (libc::ESOCKTNOSUPPORT, true),
        (libc::EAFNOSUPPORT, false),
        (libc::EMFILE, false),
    ] {
        let error = OpenSocketError::new(std::io::Error::from_raw_os_error(number));
        assert_eq!(matches!(error, OpenSocketError::Missing(_)), missing, "{error}");
    }
}
