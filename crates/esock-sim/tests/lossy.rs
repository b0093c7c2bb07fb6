//! Congestion control and loss recovery over a link of 100 Mbit/s and 20 ms whose queue holds twice what is on the
//! way: throughput with random loss, and what a second flow gets.

use bytes::Bytes;
use esock_proto::{
    Address, AssocId, Config, CongestionAlgorithm, Encapsulation, EndpointConfig, LossRecovery, Peer, SendOptions,
    StackConfig,
};
use esock_sim::{LinkConfig, Loss, Network};
use std::net::Ipv4Addr;
use std::time::Duration;

/// What of 100 Mbit/s user data can have: packets of 1,500 bytes with 56 of headers (IP, UDP, SCTP, DATA).
const CEILING: f64 = 100.0 * 1444.0 / 1500.0;

/// `ESOCK_SIM_SEED`, or 1.
fn seed() -> u64 {
    std::env::var("ESOCK_SIM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn address(host: u8) -> Address {
    Ipv4Addr::new(10, 0, 0, host + 1).into()
}

fn base() -> Config {
    let mut config = Config::default();
    config.initial_mtu = 1500;
    config.pmtud = false;
    config.receive_window = 4 << 20;
    config.send_buffer = 4 << 20;
    config
}

fn with(congestion: CongestionAlgorithm, recovery: LossRecovery, hystart: bool, pacing: bool) -> Config {
    let mut config = base();
    (config.congestion, config.loss_recovery, config.hystart, config.pacing) = (congestion, recovery, hystart, pacing);
    config
}

/// Two hosts, and an association from the first to the second for each configuration; all share the link.
struct Lab {
    network: Network,
    flows: Vec<(AssocId, AssocId)>,
}

impl Lab {
    fn new(seed: u64, loss: f64, configs: &[Config]) -> Self {
        let mut network = Network::new(seed);
        for host in 0..2 {
            let endpoint = EndpointConfig {
                port: if host == 0 { 5000 } else { 30_400 },
                addresses: vec![address(host)],
                host_addresses: Vec::new(),
                config: base(),
            };
            network.add_host(StackConfig::default(), endpoint);
            let link = LinkConfig {
                rate: Some(100_000_000),
                delay: Duration::from_millis(10),
                queue_bytes: 500_000,
                loss: Loss::Random(loss),
                ..LinkConfig::default()
            };
            network.link(usize::from(host), address(1 - host), link);
        }
        let mut lab = Self { network, flows: Vec::new() };
        for (number, config) in configs.iter().enumerate() {
            lab.connect(5001 + number as u16, config);
        }
        lab
    }

    fn connect(&mut self, port: u16, config: &Config) {
        let endpoint =
            EndpointConfig { port, addresses: vec![address(0)], host_addresses: Vec::new(), config: config.clone() };
        let network = &mut self.network;
        let endpoint = network.hosts[0].stack.open(endpoint).expect("a sound configuration");
        let peer = Peer { addresses: vec![address(1)], port: 30_400, encapsulation: Encapsulation::Default };
        let client = network.hosts[0].stack.connect(network.now, endpoint, &peer, None).expect("a sound scenario");
        network.touch(0);
        network.run_until(network.now + Duration::from_secs(10));
        let server = network.hosts[1].accepted.pop().expect("the association comes up");
        self.flows.push((client, server));
    }

    /// All send as fast as they can for `time`. User Mbit/s of each.
    fn pour(&mut self, time: Duration) -> Vec<f64> {
        let network = &mut self.network;
        let end = network.now + time;
        let message = Bytes::from(vec![7; 16 << 10]);
        let mut arrived = vec![0u64; self.flows.len()];
        while network.now < end {
            let now = network.now;
            for (client, _) in &self.flows {
                while network.hosts[0].stack.send(now, *client, SendOptions::default(), message.clone()).is_ok() {}
            }
            network.touch(0);
            network.run_until(now + Duration::from_millis(2));
            for ((_, server), arrived) in self.flows.iter().zip(&mut arrived) {
                while let Some(message) = network.hosts[1].stack.recv(network.now, *server) {
                    *arrived += message.payload.len() as u64;
                }
            }
            network.touch(1);
        }
        arrived.into_iter().map(|bytes| bytes as f64 * 8.0 / time.as_secs_f64() / 1e6).collect()
    }
}

/// User Mbit/s of one flow over 60 virtual seconds.
fn alone(config: &Config, loss: f64) -> f64 {
    let mut lab = Lab::new(seed(), loss, std::slice::from_ref(config));
    let mbit = lab.pour(Duration::from_secs(60))[0];
    let stats = lab.network.hosts[0].stack.association(lab.network.now, lab.flows[0].0).expect("it lives");
    let counters = stats.counters;
    println!(
        "{:.1} % loss: {mbit:.1} Mbit/s, {} sent again, {} timeouts",
        loss * 100.0,
        counters.retransmissions,
        counters.t3_timeouts
    );
    assert_eq!(counters.stalls, 0);
    mbit
}

const LOSSES: [f64; 4] = [0.0, 0.001, 0.01, 0.05];

/// Asserts what a configuration reaches at 0, 0.1, 1 and 5 % loss.
fn reaches(name: &str, config: &Config, least: [f64; 4]) {
    let got = LOSSES.map(|loss| alone(config, loss));
    println!(
        "figure: {name}: {:.1} / {:.1} / {:.1} / {:.1} Mbit/s at 0 / 0.1 / 1 / 5 % loss",
        got[0], got[1], got[2], got[3]
    );
    assert!(got.iter().zip(least).all(|(got, least)| *got >= least), "{name}: {got:?}, less than {least:?}");
}

use CongestionAlgorithm::{Bbr, Cubic, Rfc9260};
use LossRecovery::Rack;

#[test]
fn the_default_fills_the_link() {
    reaches("rfc9260", &base(), [0.97 * CEILING, 20.0, 6.3, 2.1]);
}

#[test]
fn data_channels_with_their_shorter_timeouts() {
    let mut config = base();
    config.rto_min = Duration::from_millis(400);
    config.rto_initial = Duration::from_millis(500);
    reaches("rfc9260, RTO.Min 400 ms", &config, [0.97 * CEILING, 20.0, 6.3, 2.8]);
}

#[test]
fn rack_finds_without_a_timeout_what_is_lost_again() {
    reaches("rfc9260, rack", &with(Rfc9260, Rack, false, false), [0.97 * CEILING, 20.0, 6.3, 3.0]);
}

#[test]
fn hystart_and_pacing_cost_nothing() {
    reaches("rfc9260, rack, hystart, pacing", &with(Rfc9260, Rack, true, true), [0.97 * CEILING, 19.0, 6.0, 2.8]);
}

#[test]
fn cubic_fills_the_link() {
    reaches("cubic, rack, hystart, pacing", &with(Cubic, Rack, true, true), [0.97 * CEILING, 20.0, 6.3, 2.8]);
}

#[test]
fn bbr_does_not_mind_losses() {
    reaches("bbr, rack", &with(Bbr, Rack, false, true), [92.0, 91.0, 90.0, 86.0]);
}

/// What two flows get of one link over 60 seconds, the second 10 s later than the first; 20 seconds where losses keep
/// both from filling it.
fn share(names: [&str; 2], configs: [Config; 2], loss: f64) -> [f64; 2] {
    let mut lab = Lab::new(seed(), loss, &configs[..1]);
    lab.pour(Duration::from_secs(10));
    lab.connect(5002, &configs[1]);
    let got = lab.pour(Duration::from_secs(if loss > 0.0 { 20 } else { 60 }));
    let got = [got[0], got[1]];
    println!(
        "figure: {} beside {}, {:.1} % loss: {:.1} and {:.1} Mbit/s, Jain's index {:.2}",
        names[0],
        names[1],
        loss * 100.0,
        got[0],
        got[1],
        fairness(got)
    );
    got
}

/// Jain's index: 1 when both have the same, 0.5 when one has all.
fn fairness(got: [f64; 2]) -> f64 {
    (got[0] + got[1]).powi(2) / (2.0 * (got[0].powi(2) + got[1].powi(2)))
}

#[test]
fn two_of_a_kind_share_the_link() {
    for (name, config) in [
        ("rfc9260", base()),
        ("rfc9260 with rack", with(Rfc9260, Rack, false, false)),
        ("cubic", with(Cubic, Rack, true, true)),
        ("bbr", with(Bbr, Rack, false, true)),
    ] {
        let got = share([name, name], [config.clone(), config], 0.0);
        assert!(fairness(got) > 0.8 && got[0] + got[1] > 0.9 * CEILING, "{name}: {got:?}");
    }
}

#[test]
fn nobody_starves_beside_another_kind() {
    let rfc = || ("rfc9260", base());
    let cubic = || ("cubic", with(Cubic, Rack, true, true));
    let bbr = || ("bbr", with(Bbr, Rack, false, true));
    for ((one, first), (other, second)) in
        [(rfc(), cubic()), (cubic(), rfc()), (rfc(), bbr()), (bbr(), rfc()), (cubic(), bbr()), (bbr(), cubic())]
    {
        let got = share([one, other], [first, second], 0.0);
        assert!(got[0].min(got[1]) > 5.0 && got[0] + got[1] > 0.9 * CEILING, "{one} beside {other}: {got:?}");
    }
}

#[test]
fn with_losses_everybody_keeps_what_the_losses_leave_whoever_is_beside() {
    let kinds = [("rfc9260", base()), ("cubic", with(Cubic, Rack, true, true)), ("bbr", with(Bbr, Rack, false, true))];
    for loss in [0.001, 0.01] {
        // About: the other tests say what each has alone.
        let alone = if loss < 0.01 { [23.8, 25.5, 94.1] } else { [7.0, 7.6, 93.3] };
        for (one, (name, first)) in kinds.iter().enumerate() {
            for (other, (beside, second)) in kinds.iter().enumerate().skip(one) {
                let got = share([name, beside], [first.clone(), second.clone()], loss);
                if one == other {
                    assert!(fairness(got) > 0.8, "two of {name}: {got:?}");
                }
                // Half, for two share the link; and half of that, for the other's queue makes the round trip longer.
                for (got, alone) in got.into_iter().zip([alone[one], alone[other]]) {
                    assert!(got > 0.25 * alone, "{name} beside {beside}, {loss}: {got} of {alone}");
                }
            }
        }
    }
}
