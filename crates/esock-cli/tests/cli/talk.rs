//! `esock listen` and `esock connect`, talking over loopback.

use crate::common::Esock;

#[test]
fn lines_typed_on_either_side_arrive_on_the_other_and_the_end_of_input_ends_both() {
    let (mut listener, udp_port) = Esock::listen(30400, &[]);
    let mut client = Esock::connect(30400, udp_port, &[]);
    client.types("hello\n\nsecond line\n");
    assert_eq!(listener.prints(), "hello");
    assert_eq!(listener.prints(), "");
    assert_eq!(listener.prints(), "second line");
    listener.types("and back\n");
    assert_eq!(client.prints(), "and back");
    client.types("no newline");
    client.ends_input();
    let listener = listener.finish();
    let client = client.finish();
    assert_eq!((listener.code, client.code), (0, 0), "{}\n{}", listener.stderr, client.stderr);
    assert_eq!(listener.stdout, "no newline\n");
    for told in [&listener.stderr, &client.stderr] {
        assert!(told.contains("up: 10 streams out, 10 in"), "{told}");
        assert!(told.contains("ended: shutdown"), "{told}");
    }
}

#[test]
fn everything_typed_before_the_end_arrives() {
    let (listener, udp_port) = Esock::listen(30401, &["--recv-only"]);
    let mut client = Esock::connect(30401, udp_port, &[]);
    let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    client.types(&text);
    client.ends_input();
    assert_eq!(client.finish().code, 0);
    let listener = listener.finish();
    assert_eq!(listener.code, 0);
    assert!(listener.stdout == text, "{} bytes of {}", listener.stdout.len(), text.len());
}

#[test]
fn the_end_of_the_listeners_input_ends_the_client_with_status_0() {
    let (mut listener, udp_port) = Esock::listen(30402, &[]);
    listener.types("typed before anybody came\n");
    listener.ends_input();
    let mut client = Esock::connect(30402, udp_port, &[]);
    assert_eq!(client.prints(), "typed before anybody came");
    assert_eq!(client.finish().code, 0);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn with_keep_open_typed_lines_go_to_all_and_peers_come_and_go() {
    let (mut listener, udp_port) = Esock::listen(30403, &["-k"]);
    let mut one = Esock::connect(30403, udp_port, &[]);
    one.types("from one\n");
    assert_eq!(listener.prints(), "from one");
    let mut two = Esock::connect(30403, udp_port, &[]);
    two.types("from two\n");
    assert_eq!(listener.prints(), "from two");
    listener.types("to all\n");
    assert_eq!(one.prints(), "to all");
    assert_eq!(two.prints(), "to all");
    one.ends_input();
    assert_eq!(one.finish().code, 0);
    listener.told("ended: shutdown");
    listener.types("to the rest\n");
    assert_eq!(two.prints(), "to the rest");
    let mut three = Esock::connect(30403, udp_port, &[]);
    three.types("from three\n");
    assert_eq!(listener.prints(), "from three");
    listener.ends_input();
    for esock in [two, three, listener] {
        let finished = esock.finish();
        assert_eq!(finished.code, 0, "{}", finished.stderr);
    }
}

#[test]
fn stream_protocol_and_order_are_as_asked_for() {
    let (mut listener, udp_port) = Esock::listen(30404, &["-v"]);
    let mut client = Esock::connect(30404, udp_port, &["--stream", "12", "--ppid", "ngap", "--unordered"]);
    client.types("x\n");
    let line = listener.told("message");
    assert!(line.contains("2 bytes on stream 12, protocol ngap, unordered"), "{line}");
    client.ends_input();
    assert_eq!(client.finish().code, 0);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn several_addresses_of_both_ends_become_paths() {
    let mut listener = Esock::start(&["listen", "--backend", "udp", "--udp-port", "0", "127.0.0.1", "::1", "30405"]);
    let line = listener.told("listening");
    let udp_port = line.rsplit_once("UDP port ").unwrap().1.to_owned();
    let mut client = Esock::start(&[
        "connect",
        "-v",
        "--backend",
        "udp",
        "--udp-port",
        "0",
        "--encap-port",
        &udp_port,
        "-B",
        "127.0.0.1",
        "-B",
        "::1",
        "127.0.0.1:30405",
        "[::1]:30405",
    ]);
    client.types("over here\n");
    assert_eq!(listener.prints(), "over here");
    // Addresses that the user gave are confirmed (RFC 9260 §5.4), those that an INIT named are
    // confirmed by a heartbeat.
    let line = client.told("path to ::1");
    assert!(line.contains("active"), "{line}");
    let line = listener.told("path up");
    assert!(line.contains("::1"), "{line}");
    client.ends_input();
    assert_eq!(client.finish().code, 0);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn a_name_and_ipv6_reach_a_listener_on_all_addresses() {
    let mut listener = Esock::start(&["listen", "-k", "--backend", "udp", "--udp-port", "0", "30406"]);
    let line = listener.told("listening");
    let udp_port = line.rsplit_once("UDP port ").unwrap().1.to_owned();
    for peer in ["localhost:30406", "[::1]:30406", "127.0.0.1:30406"] {
        let mut client =
            Esock::start(&["connect", "--backend", "udp", "--udp-port", "0", "--encap-port", &udp_port, peer]);
        client.types(&format!("to {peer}\n"));
        assert_eq!(listener.prints(), format!("to {peer}"));
        client.ends_input();
        assert_eq!(client.finish().code, 0);
    }
}

#[test]
fn a_line_longer_than_a_message_is_sent_in_parts() {
    let (mut listener, udp_port) = Esock::listen(30407, &[]);
    let mut client = Esock::connect(30407, udp_port, &[]);
    client.types(&format!("{}\n", "x".repeat((256 << 10) + 5)));
    assert_eq!(listener.prints().len(), 256 << 10);
    assert_eq!(listener.prints(), "xxxxx");
    client.told("in parts");
    client.ends_input();
    assert_eq!(client.finish().code, 0);
}

#[test]
fn an_interrupt_shuts_down_gracefully() {
    let (mut listener, udp_port) = Esock::listen(30408, &[]);
    let mut client = Esock::connect(30408, udp_port, &[]);
    client.types("before\n");
    assert_eq!(listener.prints(), "before");
    client.signal("INT");
    let client = client.finish();
    assert_eq!(client.code, 0, "{}", client.stderr);
    assert!(client.stderr.contains("interrupted"), "{}", client.stderr);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn what_will_not_work_well_is_told_and_presets_are_taken_as_they_are() {
    let (mut listener, udp_port) = Esock::listen(30409, &["--preset", "sigtran"]);
    let settings = ["--set", "rto_min=100ms", "--set", "path_max_retrans=3", "-v"];
    let mut client = Esock::connect(30409, udp_port, &settings);
    let line = client.told("warning: rto_min");
    assert!(line.contains("100ms is not above the 200ms"), "{line}");
    let line = client.told("warning: assoc_max_retrans");
    assert!(line.contains("10 is above 3"), "{line}");
    client.types("it works all the same\n");
    assert_eq!(listener.prints(), "it works all the same");
    client.ends_input();
    assert_eq!(client.finish().code, 0);
    let listener = listener.finish();
    assert_eq!(listener.code, 0);
    assert!(!listener.stderr.contains("warning"), "{}", listener.stderr);
}
