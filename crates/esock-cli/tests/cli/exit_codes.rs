//! Exit codes tell what happened.

use crate::common::Esock;
use std::net::UdpSocket;
use std::time::Duration;

#[test]
fn refused_is_3_when_nobody_has_the_sctp_port() {
    let (_listener, udp_port) = Esock::listen(30420, &["-k"]);
    let finished = Esock::connect(30421, udp_port, &[]).finish();
    assert_eq!(finished.code, 3, "{}", finished.stderr);
    assert!(finished.stderr.contains("refused"), "{}", finished.stderr);
}

#[test]
fn refused_is_3_when_nobody_has_the_udp_port() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let finished = Esock::connect(30422, free, &[]).finish();
    assert_eq!(finished.code, 3, "{}", finished.stderr);
    assert!(finished.stderr.contains("refused"), "{}", finished.stderr);
}

#[test]
fn refused_is_3_for_a_second_peer_without_keep_open() {
    let (mut listener, udp_port) = Esock::listen(30423, &[]);
    let mut first = Esock::connect(30423, udp_port, &[]);
    first.types("first\n");
    assert_eq!(listener.prints(), "first");
    let second = Esock::connect(30423, udp_port, &[]).finish();
    assert_eq!(second.code, 3, "{}", second.stderr);
    first.types("still here\n");
    assert_eq!(listener.prints(), "still here");
}

#[test]
fn timed_out_is_4_when_nobody_answers_in_the_given_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = silent.local_addr().unwrap().port();
    let finished = Esock::connect(30424, udp_port, &["--wait", "0.5"]).finish();
    assert_eq!(finished.code, 4, "{}", finished.stderr);
    assert!(finished.stderr.contains("timed out"), "{}", finished.stderr);
}

#[test]
fn timed_out_is_4_when_every_init_stays_unanswered() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_port = silent.local_addr().unwrap().port();
    let finished = Esock::connect(30425, udp_port, &["--preset", "sigtran"]).finish();
    assert_eq!(finished.code, 4, "{}", finished.stderr);
    assert!(finished.stderr.contains("timed out"), "{}", finished.stderr);
}

#[test]
fn aborted_is_5_when_the_peer_has_forgotten_the_association() {
    let (mut listener, udp_port) = Esock::listen(30426, &[]);
    let mut client = Esock::connect(30426, udp_port, &["--preset", "sigtran"]);
    client.types("first\n");
    assert_eq!(listener.prints(), "first");
    listener.signal("KILL");
    assert_eq!(listener.finish().code, -1);
    let (_fresh, same) = Esock::listen_on(30426, udp_port, &[]);
    assert_eq!(same, udp_port);
    client.types("second\n");
    let client = client.finish();
    assert_eq!(client.code, 5, "{}", client.stderr);
    assert!(client.stderr.contains("abort by the peer"), "{}", client.stderr);
}

#[test]
fn a_udp_port_that_is_taken_is_an_error_that_names_another_way() {
    let (_listener, udp_port) = Esock::listen(30427, &[]);
    let port = udp_port.to_string();
    let finished = Esock::start(&["listen", "--backend", "udp", "--udp-port", &port, "127.0.0.1", "30428"]).finish();
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains(&port), "{}", finished.stderr);
    assert!(finished.stderr.contains("--udp-port"), "{}", finished.stderr);
}

#[test]
fn an_interrupt_before_anybody_came_is_130() {
    let (listener, _) = Esock::listen(30429, &[]);
    listener.signal("TERM");
    assert_eq!(listener.finish().code, 130);
}

#[test]
fn a_stream_beyond_those_negotiated_is_an_error_that_names_the_count() {
    let (_listener, udp_port) = Esock::listen(30430, &[]);
    let mut client = Esock::connect(30430, udp_port, &["--stream", "65535"]);
    client.types("x\n");
    let client = client.finish();
    assert_eq!(client.code, 1, "{}", client.stderr);
    assert!(client.stderr.contains("65535"), "{}", client.stderr);
}

#[test]
fn a_second_interrupt_aborts_and_the_peer_ends_with_5_and_the_cause() {
    let (mut listener, udp_port) = Esock::listen(30431, &[]);
    let mut client = Esock::connect(30431, udp_port, &[]);
    client.types("x\n");
    assert_eq!(listener.prints(), "x");
    // A peer that does not answer: the graceful shutdown cannot end.
    client.signal("STOP");
    listener.signal("INT");
    listener.told("once more to abort");
    listener.signal("INT");
    let listener = listener.finish();
    assert_eq!(listener.code, 130, "{}", listener.stderr);
    client.signal("CONT");
    let client = client.finish();
    assert_eq!(client.code, 5, "{}", client.stderr);
    assert!(client.stderr.contains("User-Initiated Abort, \"interrupted\""), "{}", client.stderr);
}

#[test]
fn a_reader_of_our_output_that_has_left_ends_the_association_gracefully() {
    let (mut listener, udp_port) = Esock::listen(30432, &[]);
    let client = Esock::connect_unheard(30432, udp_port);
    listener.types("x\n");
    let client = client.finish();
    assert_eq!(client.code, 1, "{}", client.stderr);
    assert!(client.stderr.contains("standard output"), "{}", client.stderr);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn a_second_interrupt_ends_even_if_nobody_reads_our_output() {
    let (mut listener, udp_port) = Esock::listen(30433, &[]);
    let client = Esock::connect_stuck(30433, udp_port);
    listener.types(&"a line that fills pipes and windows\n".repeat(4000));
    listener.told("up");
    std::thread::sleep(Duration::from_millis(300));
    client.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    client.signal("INT");
    assert_eq!(client.finish().code, 130);
}
