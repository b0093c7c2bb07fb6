//! `--protocol tcp`: between two of us, and with plain TCP peers.

use crate::common::{Esock, PATIENCE};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

const RAW: [&str; 4] = ["--protocol", "tcp", "--tcp-framing", "raw"];

/// Starts to listen; gives the port.
fn listen(arguments: &[&str]) -> (Esock, String) {
    let mut listener = Esock::start(&[&["listen"], arguments, &["127.0.0.1", "0"]].concat());
    let line = listener.told("listening on TCP port");
    let port = line.split("port ").nth(1).and_then(|rest| rest.split(',').next()).expect("a port").to_owned();
    (listener, port)
}

#[test]
fn framed_lines_keep_their_stream_and_payload_protocol() {
    let (mut listener, port) = listen(&["-v", "--protocol", "tcp"]);
    let peer = format!("127.0.0.1:{port}");
    let mut client = Esock::start(&["connect", "--protocol", "tcp", "--stream", "3", "--ppid", "diameter", &peer]);
    client.types("over tcp\n");
    assert_eq!(listener.prints(), "over tcp");
    let line = listener.told("message");
    assert!(line.contains("9 bytes on stream 3, protocol diameter"), "{line}");
    listener.types("and back\n");
    assert_eq!(client.prints(), "and back");
    client.ends_input();
    for finished in [client.finish(), listener.finish()] {
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        assert!(finished.stderr.contains("ended: shutdown"), "{}", finished.stderr);
    }
}

#[test]
fn a_plain_tcp_client_is_served() {
    let (mut listener, port) = listen(&RAW);
    let mut plain = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(b"from afar\n").unwrap();
    assert_eq!(listener.prints(), "from afar");
    listener.types("to afar\n");
    let mut line = String::new();
    BufReader::new(plain.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "to afar\n");
    drop(plain);
    assert_eq!(listener.finish().code, 0);
}

#[test]
fn a_plain_tcp_server_is_reached() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = server.local_addr().unwrap().to_string();
    let mut client = Esock::start(&[&["connect"], &RAW[..], &[&peer]].concat());
    let (mut plain, _) = server.accept().unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    client.types("one\ntwo\n");
    client.ends_input();
    let mut all = String::new();
    plain.read_to_string(&mut all).unwrap();
    assert_eq!(all, "one\ntwo\n");
    drop(plain);
    assert_eq!(client.finish().code, 0);
}

#[test]
fn nobody_listening_is_a_refusal() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let finished = Esock::start(&["connect", "--protocol", "tcp", &port]).finish();
    assert_eq!(finished.code, 3, "{}", finished.stderr);
    assert!(finished.stderr.contains("refused"), "{}", finished.stderr);
}
