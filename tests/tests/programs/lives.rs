//! How programs live and die: killed, as daemons, side by side.

use crate::source;
use esock_interop::network::Namespace;
use esock_interop::programs::{Carrier, Stage};
use std::time::{Duration, Instant};

/// A peer is told at once if it is told within this: without a word it would take minutes to find out.
pub const AT_ONCE: Duration = Duration::from_secs(10);

pub fn who_is_killed_has_told_its_peers_at_once(stage: Stage) {
    let script = source("sockets.py");
    let mut server = stage.start(&["python3", &script, "forking-server", "127.0.0.1", "6201"]);
    server.says("listening");
    let mut clients: Vec<_> =
        (0..3).map(|_| stage.start(&["python3", &script, "waiting-client", "127.0.0.1", "6201"])).collect();
    let mut children = Vec::new();
    for client in &mut clients {
        client.says("answered");
        let served = server.says("child ");
        children.push(served.trim_start_matches("child ").to_owned());
    }
    server.signal("KILL");
    let killed = Instant::now();
    esock_interop::process::run(
        &[&["kill", "-KILL"], &children.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
    );
    for client in &mut clients {
        client.says("told");
    }
    assert!(killed.elapsed() < AT_ONCE, "told after {:?}", killed.elapsed());
    clients.iter_mut().for_each(|client| client.ends_well());
    let mut late = stage.start(&["python3", &script, "waiting-client", "127.0.0.1", "6201"]);
    late.says("refused");
    late.ends();
    stage.was_ours(7, 6, 3);
}

pub fn a_server_becomes_a_daemon(stage: Stage) {
    let script = source("sockets.py");
    // It returns when it listens; what serves is its grandchild, in a session of its own.
    let mut starter = stage.start(&["python3", &script, "daemon", "127.0.0.1", "6202"]);
    starter.ends_well();
    let said = stage.run(&["python3", &script, "asking-client", "127.0.0.1", "6202", "are you there?"]);
    assert!(said.contains("answer: are you there?"), "{said}");
    // It serves once.
    stage.was_ours(3, 2, 2);
}

pub fn two_servers_have_two_ports(stage: Stage) {
    let mut one = stage.start(&["socat", "-d", "-d", "SCTP-LISTEN:6203,fork", "SYSTEM:echo one"]);
    let mut two = stage.start(&["socat", "-d", "-d", "SCTP-LISTEN:6204,fork", "SYSTEM:echo two"]);
    one.says("listening");
    two.says("listening");
    for (port, expected) in [("6203", "one"), ("6204", "two"), ("6203", "one")] {
        let mut client = stage.start(&["socat", "-", &format!("SCTP:127.0.0.1:{port}")]);
        client.says(expected);
        client.ends_well();
    }
    // A port that is taken is refused.
    let mut third = stage.start(&["socat", "SCTP-LISTEN:6204", "-"]);
    third.says("Address already in use");
    assert_eq!(third.ends(), Some(1));
    one.signal("TERM");
    two.signal("TERM");
    one.ends();
    two.ends();
    stage.was_ours(9, 6, 3);
}

pub fn two_brokers_keep_out_of_each_others_way(stage: Stage) {
    let carrier = stage.carrier;
    drop(stage);
    let namespace = Namespace::with_loopback();
    let first = Stage::new(&namespace, carrier, "first");
    // Its own UDP port, as a second user's broker has one that is free.
    let second = Stage::new(&namespace, carrier, "second").with(&["--udp-port", "9900"]);
    let listen = |stage: &Stage, port: u16, word: &str| {
        let words = [format!("SCTP-LISTEN:{port},fork"), format!("SYSTEM:echo {word}")];
        let mut server = stage.start(&["socat", "-d", "-d", &words[0], &words[1]]);
        server.says("listening");
        server
    };
    let hears = |stage: &Stage, port: u16, word: &str| {
        let mut client = stage.start(&["socat", "-", &format!("SCTP:127.0.0.1:{port}")]);
        client.says(word);
        client.ends();
    };
    let mut servers = vec![listen(&first, 6205, "first"), listen(&second, 6206, "second")];
    hears(&first, 6205, "first");
    hears(&second, 6206, "second");
    hears(&first, 6205, "first");
    match carrier {
        // Each has its own ports, behind a UDP port of its own.
        Carrier::Udp => {
            servers.push(listen(&second, 6205, "other"));
            hears(&second, 6205, "other");
            hears(&first, 6205, "first");
            hears(&first, 6206, "refused");
        }
        // They share the protocol: a port is one's, and both reach it.
        Carrier::Raw => {
            let mut taken = second.start(&["socat", "SCTP-LISTEN:6205", "-"]);
            taken.says("Address already in use");
            taken.ends();
            hears(&first, 6206, "second");
            hears(&second, 6205, "first");
        }
    }
    for server in &mut servers {
        server.signal("TERM");
        server.ends();
    }
    first.was_ours(4, 2, 2);
    second.was_ours(2, 2, 1);
}
