//! Situations made by hand: failover, path MTU, heartbeats, captures.

use esock_proto::{
    Address, AssocId, Config, Encapsulation, EndpointConfig, Event, PathState, Peer, Pieces, Preset, SendOptions,
    StackConfig, StreamId,
};
use esock_sim::scenario::Scenario;
use esock_sim::{LinkConfig, Loss, Network};
use std::net::Ipv4Addr;
use std::time::Duration;

const PORT: u16 = 30_400;

fn address(host: u8, path: u8) -> Address {
    Ipv4Addr::new(10, 0, path, host + 1).into()
}

/// Two hosts with links as `link` says, per path; connected.
fn connected(config: &Config, paths: u8, link: impl Fn(u8) -> LinkConfig) -> (Network, AssocId, AssocId) {
    let mut network = Network::new(1);
    for host in 0..2 {
        let endpoint = EndpointConfig {
            port: if host == 0 { 5000 } else { PORT },
            addresses: (0..paths).map(|path| address(host, path)).collect(),
            host_addresses: Vec::new(),
            config: config.clone(),
        };
        network.add_host(StackConfig::default(), endpoint);
    }
    for path in 0..paths {
        network.link(0, address(1, path), link(path));
        network.link(1, address(0, path), link(path));
    }
    let addresses = (0..paths).map(|path| address(1, path)).collect();
    let peer = Peer { addresses, port: PORT, encapsulation: Encapsulation::Default };
    let (now, endpoint) = (network.now, network.hosts[0].endpoint);
    let client = network.hosts[0].stack.connect(now, endpoint, &peer, None).expect("a sound scenario");
    network.touch(0);
    network.run_until(now + Duration::from_secs(5));
    let server = *network.hosts[1].accepted.first().expect("the association comes up");
    (network, client, server)
}

/// Sends as fast as it can for `time`; returns user bytes that arrived.
fn pour(network: &mut Network, client: AssocId, server: AssocId, time: Duration) -> u64 {
    let end = network.now + time;
    let message = bytes::Bytes::from(vec![7; 16 << 10]);
    let mut arrived = 0;
    while network.now < end {
        let now = network.now;
        while network.hosts[0].stack.send(now, client, SendOptions::default(), message.clone()).is_ok() {}
        network.touch(0);
        network.run_until(now + Duration::from_millis(2));
        while let Some(message) = network.hosts[1].stack.recv(network.now, server) {
            arrived += message.payload.len() as u64;
        }
        network.touch(1);
    }
    arrived
}

#[test]
fn failover_takes_one_timeout_and_nothing_waits_longer() {
    let config = Preset::Sigtran.config();
    let (mut network, client, server) = connected(&config, 2, |_| LinkConfig::default());
    let dark = network.now + Duration::from_secs(1);
    for (from, to) in [(0, address(1, 0)), (1, address(0, 0))] {
        network.link_mut(from, to).unwrap().black_holes.push((dark, dark + Duration::from_secs(600)));
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..300 {
        let sent = network.now;
        network.hosts[0].stack.send(sent, client, SendOptions::default(), vec![1; 200].into()).unwrap();
        network.touch(0);
        while network.hosts[1].stack.recv(network.now, server).is_none() {
            network.run_until(network.now + Duration::from_millis(1));
        }
        slowest = slowest.max(network.now.since(sent));
        network.run_until(sent + Duration::from_millis(20).max(network.now.since(sent)));
    }
    println!("slowest message: {slowest:?}");
    // RTO.Min of the preset is 200 ms, and a HEARTBEAT may have begun to wait before the message did.
    assert!(slowest >= Duration::from_millis(50) && slowest < Duration::from_millis(250), "{slowest:?}");
    let stats = network.hosts[0].stack.association(network.now, client).unwrap();
    assert_ne!(stats.paths[0].state, PathState::Active);
    assert!(stats.paths[1].data_packets_sent > 200);
}

// covers: RFC 9260 §7.3-1
#[test]
fn the_path_mtu_is_found_through_a_black_hole_and_when_it_shrinks() {
    let config = Config::default();
    let link = |_| LinkConfig { mtu: 4400, ..LinkConfig::default() };
    let (mut network, client, server) = connected(&config, 1, link);
    pour(&mut network, client, server, Duration::from_secs(60));
    let mtu = |network: &Network| network.hosts[0].stack.association(network.now, client).unwrap().paths[0].mtu;
    assert_eq!(mtu(&network), 4352);
    // It shrinks without a word.
    network.link_mut(0, address(1, 0)).unwrap().mtu = 1300;
    let arrived = pour(&mut network, client, server, Duration::from_secs(60));
    assert!(arrived > 1_000_000, "{arrived}");
    assert!((1200..=1300).contains(&mtu(&network)), "{}", mtu(&network));
}

#[test]
fn heartbeats_of_associations_set_up_together_are_spread_out() {
    let mut times = Vec::new();
    let (mut network, _, _) = connected(&Config::default(), 1, |_| LinkConfig::default());
    let endpoint = network.hosts[1].endpoint;
    for port in 0..50u16 {
        let peer = Peer { addresses: vec![address(0, 0)], port: 5000, encapsulation: Encapsulation::Default };
        let config = EndpointConfig {
            port: 6000 + port,
            addresses: vec![address(1, 0)],
            host_addresses: Vec::new(),
            config: Config::default(),
        };
        let now = network.now;
        let own = network.hosts[1].stack.open(config).unwrap();
        network.hosts[1].stack.connect(now, own, &peer, None).unwrap();
    }
    let _ = endpoint;
    network.touch(1);
    network.run_until(network.now + Duration::from_secs(28));
    let end = network.now + Duration::from_secs(6);
    let mut packets = network.packets;
    while network.step(end) {
        if network.packets > packets {
            packets = network.packets;
            times.push(network.now);
        }
    }
    let busiest = times.windows(20).map(|window| window[19].since(window[0])).min().unwrap();
    // 51 associations, each with a question and an answer, within a second of jitter: 5 of them per 50 ms.
    println!("{} packets, 20 of them within {busiest:?}", times.len());
    assert!(busiest > Duration::from_millis(20), "20 packets within {busiest:?}");
}

#[test]
fn a_window_update_that_is_lost_costs_a_probe_and_not_the_association() {
    let mut config = Config::default();
    config.receive_window = 16_000;
    let (mut network, client, server) = connected(&config, 1, |_| LinkConfig::default());
    for _ in 0..30 {
        let now = network.now;
        network.hosts[0].stack.send(now, client, SendOptions::default(), vec![3; 1000].into()).unwrap();
    }
    network.touch(0);
    network.run_until(network.now + Duration::from_secs(30));
    // Everything that the receiver says while it reads is lost.
    let from = network.now;
    network.link_mut(1, address(0, 0)).unwrap().black_holes.push((from, from + Duration::from_millis(100)));
    let mut got = 0;
    while network.hosts[1].stack.recv(network.now, server).is_some() {
        got += 1;
    }
    network.touch(1);
    assert!((5..30).contains(&got), "{got}");
    let mut waited = Duration::ZERO;
    while got < 30 {
        let before = network.now;
        network.run_until(before + Duration::from_millis(100));
        waited += Duration::from_millis(100);
        while network.hosts[1].stack.recv(network.now, server).is_some() {
            got += 1;
        }
        network.touch(1);
        assert!(waited < Duration::from_secs(130), "the sender never asks again: {got} of 30");
    }
    let closed = network.hosts[0].events.iter().any(|(_, event)| matches!(event, Event::Closed(_)));
    assert!(!closed);
}

#[test]
fn captures_are_what_tshark_reads() {
    let scenario = Scenario::from_seed(3);
    let played = esock_sim::check::play(&scenario, true);
    played.outcome.expect("the seed holds");
    let capture = played.capture.expect("it was asked for");
    let path = std::env::temp_dir().join(format!("esock-sim-{}.pcapng", std::process::id()));
    std::fs::write(&path, capture.bytes()).unwrap();
    let tshark = std::process::Command::new("tshark")
        .args([
            "-o",
            "sctp.checksum:crc-32c",
            "-T",
            "fields",
            "-e",
            "sctp.checksum.status",
            "-e",
            "_ws.malformed",
            "-r",
        ])
        .arg(&path)
        .output();
    let _ = std::fs::remove_file(&path);
    let Ok(tshark) = tshark else {
        println!("skipped: captures_are_what_tshark_reads: tshark is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&tshark.stdout);
    let good = text.lines().filter(|line| line.split('\t').next() == Some("1")).count();
    assert!(capture.packets() > 50);
    assert_eq!(good, capture.packets(), "{}", text.lines().take(5).collect::<String>());
}

#[test]
fn a_message_fifty_times_the_window_crosses_a_bad_network_in_pieces() {
    let mut config = Config::default();
    (config.receive_window, config.partial_delivery, config.send_buffer) = (64 << 10, true, 8 << 20);
    let link = |_| LinkConfig {
        rate: Some(20_000_000),
        jitter: Duration::from_millis(3),
        loss: Loss::Random(0.02),
        reorder: 0.02,
        reorder_by: Duration::from_millis(10),
        duplicate: 0.02,
        ..LinkConfig::default()
    };
    let (mut network, client, server) = connected(&config, 2, link);
    let sent: Vec<u8> = (0..3_200_000u32).map(|at| (at % 251) as u8).collect();
    let behind = SendOptions { stream: StreamId(1), unordered: true, ..SendOptions::default() };
    let now = network.now;
    network.hosts[0].stack.send(now, client, SendOptions::default(), sent.clone().into()).unwrap();
    network.hosts[0].stack.send(now, client, behind, vec![9; 300].into()).unwrap();
    network.touch(0);
    let (mut pieces, mut whole) = (Pieces::default(), Vec::new());
    while whole.len() < 2 {
        network.run_until(network.now + Duration::from_millis(5));
        assert!(network.now < now + Duration::from_secs(600), "it stands still");
        let held = network.hosts[1].stack.association(network.now, server).unwrap().receive_buffered;
        assert!(held <= 72 << 10, "{held} bytes held");
        while let Some(piece) = network.hosts[1].stack.recv(network.now, server) {
            whole.extend(pieces.join(piece));
        }
        network.touch(1);
    }
    let at = whole.iter().position(|message| !message.unordered).unwrap();
    assert!(whole[at].payload[..] == sent[..] && whole[1 - at].payload.len() == 300);
}
