//! `esock bench`, both ends over loopback.

use crate::common::{Esock, Finished};

/// A server, with its UDP port.
fn serve(port: u16) -> (Esock, String) {
    let port = port.to_string();
    let mut server =
        Esock::start(&["bench", "--server", "-1", "--backend", "udp", "--udp-port", "0", "127.0.0.1", &port]);
    let line = server.told("UDP port");
    server.told("listening on TCP");
    let (_, number) = line.rsplit_once("UDP port ").expect("it was looked for");
    (server, number.trim().to_owned())
}

fn measure(port: u16, more: &[&str]) -> Finished {
    let (server, udp_port) = serve(port);
    let to = format!("127.0.0.1:{port}");
    let mut arguments = vec!["bench", "--backend", "udp", "--udp-port", "0", "--encap-port", &udp_port, &to];
    arguments.extend(["--time", "0.3"]);
    arguments.extend(more);
    let client = Esock::start(&arguments).finish();
    assert_eq!(client.code, 0, "{}", client.stderr);
    let server = server.finish();
    assert_eq!((server.code, server.stdout.as_str()), (0, ""), "{}", server.stderr);
    client
}

/// A number behind a name in JSON.
fn number(json: &str, name: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}"));
    let end = rest.find([',', '}']).expect("an object ends");
    rest[..end].parse().unwrap_or_else(|_| panic!("{name} is no number in {json}"))
}

#[test]
fn throughput_is_what_the_server_has_received() {
    let client = measure(30500, &["--json", "--length", "1000"]);
    let json = client.stdout.trim();
    assert!(json.starts_with("{\"sctp\":{\"mode\":\"forward\",\"backend\":\"udp\",\"associations\":1"), "{json}");
    let [bytes, messages, seconds] = ["bytes", "messages", "seconds"].map(|name| number(json, name));
    assert_eq!(bytes, messages * 1000.0);
    assert!(messages > 100.0 && (0.1..10.0).contains(&seconds), "{json}");
    let rate = number(json, "gbit_per_second");
    assert!((rate / (bytes * 8.0 / seconds / 1e9) - 1.0).abs() < 0.01, "{json}");
}

#[test]
fn all_streams_of_all_associations_are_used_and_the_server_can_send() {
    let client = measure(30501, &["--json", "-P", "3", "--streams", "4", "--reverse", "-l", "64"]);
    let json = client.stdout.trim();
    assert!(json.contains("\"mode\":\"reverse\"") && json.contains("\"associations\":3"), "{json}");
    let counts: Vec<f64> = (0..4).map(|stream| number(json, &stream.to_string())).collect();
    assert_eq!(counts.iter().sum::<f64>(), number(json, "messages"));
    assert!(counts.iter().all(|count| *count > 0.0 && (count - counts[0]).abs() <= 3.0), "{json}");
}

#[test]
fn round_trips_over_sctp_and_beside_it_over_tcp() {
    let client = measure(30502, &["--ping", "--tcp"]);
    let lines: Vec<&str> = client.stdout.lines().collect();
    let [sctp, trips, tcp, more] = lines[..] else { panic!("{}", client.stdout) };
    assert!(sctp.starts_with("SCTP (udp), 1 association, 1 stream, messages of 64 bytes"), "{sctp}");
    assert!(tcp.starts_with("TCP (kernel)"), "{tcp}");
    for line in [trips, more] {
        assert!(line.contains("round trips, µs: p50 ") && line.contains(" p99 "), "{line}");
    }
}

#[test]
fn shards_and_busy_polling_are_for_the_asking() {
    let client = measure(30503, &["--json", "-P", "4", "--shards", "2"]);
    let json = client.stdout.trim();
    assert!(json.contains("\"associations\":4") && number(json, "messages") > 100.0, "{json}");
    let client = measure(30504, &["--ping", "--busy-poll", "50"]);
    assert!(client.stdout.contains("round trips, µs: p50 "), "{}", client.stdout);
}

#[test]
fn without_a_server_it_says_so() {
    let client =
        Esock::start(&["bench", "--backend", "udp", "--udp-port", "0", "--encap-port", "30509", "127.0.0.1:30509"]);
    let client = client.finish();
    assert_eq!(client.code, 3, "{}", client.stderr);
    assert!(client.stderr.contains("127.0.0.1:30509"), "{}", client.stderr);
}
