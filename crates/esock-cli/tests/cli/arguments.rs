//! Wrong arguments are answered with what is wrong and what to do.

use crate::common::Esock;

#[test]
fn wrong_arguments_end_with_status_2_and_say_why() {
    for (arguments, says) in [
        (&["listen"][..], "PORT"),
        (&["listen", "127.0.0.1"], "`127.0.0.1` is not a port"),
        (&["listen", "70000"], "`70000` is not a port"),
        (&["connect"], "HOST[:PORT]"),
        (&["connect", "127.0.0.1"], "write 127.0.0.1:PORT"),
        (&["connect", "127.0.0.1:0"], "port 0"),
        (&["connect", "a:1", "b:2"], "two different ports"),
        (&["connect", "--ppid", "nagp", "127.0.0.1:1"], "ngap"),
        (&["connect", "--stream", "65536", "127.0.0.1:1"], "65535"),
        (&["connect", "--backend", "tcp", "127.0.0.1:1"], "kernel, raw, udp"),
        (&["connect", "--protocol", "udp", "127.0.0.1:1"], "sctp, tcp"),
        (&["connect", "--set", "rto=1s", "127.0.0.1:1"], "rto_initial, rto_min"),
        (&["connect", "--set", "rto_min=90s", "127.0.0.1:1"], "rto_min"),
        (&["connect", "--preset", "fast", "127.0.0.1:1"], "sigtran"),
        (&["connect", "--wait", "0", "127.0.0.1:1"], "above 0"),
        (&["connect", "--encap-port", "0", "127.0.0.1:1"], "0"),
        (&["demonstrate"], "demo"),
    ] {
        let finished = Esock::start(arguments).finish();
        assert_eq!(finished.code, 2, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[test]
fn a_name_that_does_not_exist_is_named() {
    let finished = Esock::start(&["connect", "no-such-host.invalid:30400"]).finish();
    assert_eq!(finished.code, 1);
    assert!(finished.stderr.contains("no-such-host.invalid"), "{}", finished.stderr);
}

#[test]
fn help_lists_the_exit_codes() {
    for arguments in [&["--help"][..], &["listen", "--help"], &["connect", "--help"]] {
        let finished = Esock::start(arguments).finish();
        assert_eq!(finished.code, 0);
        for line in ["3    refused", "4    timed out", "5    aborted by the peer"] {
            assert!(finished.stdout.contains(line), "{arguments:?}: {}", finished.stdout);
        }
    }
}
