//! What is shown with each of the peers.

use crate::capture::Verdict;
use crate::facts::fact;
use crate::lab::Lab;
use crate::network::{Family, Host};
use crate::scenario::{Encapsulation, End, Run, Scenario};
use std::time::{Duration, Instant, SystemTime};

use crate::network::Family::{V4, V6};

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// esock connects to the peer.
    WeConnect,
    /// The peer connects to esock.
    TheyConnect,
}

fn between(name: &'static str, peer: Host, direction: Direction, encapsulation: Encapsulation) -> Scenario {
    let (client, server) = match direction {
        Direction::WeConnect => (Host::Us, peer),
        Direction::TheyConnect => (peer, Host::Us),
    };
    Scenario::new(name, client, server, encapsulation)
}

/// Tells what a test has shown, for the matrix in the README: of esock's stack with another.
fn shown(lab: &mut Lab, peer: Host, feature: &str, detail: &str) {
    if peer != Host::EsockOnKernel {
        fact(&lab.peer_name(peer), feature, detail);
    }
}

/// 64 MB each way at once, in messages of 16 KiB.
pub fn bulk(lab: &mut Lab, name: &'static str, peer: Host, direction: Direction, encapsulation: Encapsulation) {
    Scenario {
        client_sends: "fixed:16384:4096:1",
        server_sends: "fixed:16384:4096:2",
        buffer: 4 << 20,
        captured: Some(6000),
        least_packets: 6000,
        limit: Duration::from_secs(60),
        ..between(name, peer, direction, encapsulation)
    }
    .run(lab);
}

/// Messages of many times our receive window, and of three times theirs.
pub fn larger_than_the_windows(
    lab: &mut Lab,
    name: &'static str,
    peer: Host,
    direction: Direction,
    encapsulation: Encapsulation,
) {
    let (ours, theirs) = ("fixed:3000000:4:5", "fixed:900000:12:6");
    let (client_sends, server_sends) = match direction {
        Direction::WeConnect => (ours, theirs),
        Direction::TheyConnect => (theirs, ours),
    };
    Scenario {
        client_sends,
        server_sends,
        ours: vec!["--window".to_owned(), (64 << 10).to_string()],
        captured: Some(6000),
        least_packets: 6000,
        limit: Duration::from_secs(60),
        ..between(name, peer, direction, encapsulation)
    }
    .run(lab);
    shown(lab, peer, "messages larger than the windows", encapsulation.name());
}

/// 4 MB each way in messages from 1 byte to 1 MB, some of them unordered, over a link of this family; ends in
/// an ABORT of `ends`.
pub fn mixed_sizes(
    lab: &mut Lab,
    name: &'static str,
    peer: Host,
    direction: Direction,
    encapsulation: Encapsulation,
    (links, ends): (&'static [Family], Host),
) {
    Scenario {
        client_sends: "mixed:4194304:1048576:3",
        server_sends: "mixed:4194304:1048576:4",
        buffer: 4 << 20,
        links,
        ends,
        end: End::Abort,
        // Each way 4 MiB, in packets of 1,500 bytes if all are full and every SACK goes along with data.
        least_packets: 5700,
        limit: Duration::from_secs(40),
        ..between(name, peer, direction, encapsulation)
    }
    .run(lab);
}

/// A little data, and a shutdown by the server: the end that the bulk runs do not have.
pub fn shutdown_by_the_server(
    lab: &mut Lab,
    name: &'static str,
    peer: Host,
    direction: Direction,
    encapsulation: Encapsulation,
) {
    let scenario = between(name, peer, direction, encapsulation);
    Scenario { ends: scenario.server, ..scenario }.run(lab);
}

/// The same, from a UDP port that the system chooses: the peer learns it.
pub fn ephemeral_udp_port(lab: &mut Lab, name: &'static str, peer: Host) {
    let scenario = between(name, peer, Direction::WeConnect, Encapsulation::Udp);
    Scenario { ours: words(&["--local-udp", "0"]), ends: peer, ..scenario }.run(lab);
    shown(lab, peer, "any UDP port of ours is learnt", "yes");
}

/// Connecting without knowing how the peer's packets travel: it answers the native INIT first.
pub fn encapsulation_found_out(lab: &mut Lab, name: &'static str, peer: Host) {
    let scenario = between(name, peer, Direction::WeConnect, Encapsulation::Native);
    Scenario { ours: words(&["--encapsulation", "either"]), ..scenario }.run(lab);
    shown(lab, peer, "encapsulation is found out", "yes");
}

/// The client dies without a word, comes back from the same addresses and ports, and the same association goes on
/// from its beginning.
pub fn restart(lab: &mut Lab, name: &'static str, peer: Host, direction: Direction, encapsulation: Encapsulation) {
    let links = BOTH_V4;
    Scenario { restart: true, links, fast: true, ..between(name, peer, direction, encapsulation) }.run(lab);
}

/// 4 MB each way in messages of all sizes while every 33rd packet is lost, in both directions. The seed is printed, and taken
/// from ESOCK_SEED.
pub fn losses(lab: &mut Lab, name: &'static str, peer: Host, direction: Direction, encapsulation: Encapsulation) {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let seed = std::env::var("ESOCK_SEED").unwrap_or_else(|_| clock.to_string());
    println!("figure: {name}: ESOCK_SEED={seed}");
    let mut run = Scenario {
        client_sends: "mixed:4194304:1048576:7",
        server_sends: "mixed:4194304:1048576:8",
        buffer: 4 << 20,
        lossy: true,
        ours: words(&["--loss", "0.03", "--seed", &seed]),
        fast: true,
        ends: Host::Us,
        least_packets: 4000,
        limit: Duration::from_secs(60),
        ..between(name, peer, direction, encapsulation)
    }
    .start(lab);
    let deadline = run.deadline;
    let lost = run.lines(Host::Us).wait("event=lost", deadline).number("packets");
    assert!(lost > 50, "only {lost} packets were lost");
    run.finish();
    shown(lab, peer, "losses", "3 %");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// How long both ends have to notice that a path is dead: with the fast timers (RTO at most 400 ms, two
/// errors) about a second.
const NOTICE: Duration = Duration::from_millis(2500);

/// Over two paths, IPv4 and `second`: each link is cut once while data goes both ways, and mended. While a
/// link is cut all data goes over the other, both ways, and the path is told to have failed; nothing is lost.
pub fn failover(
    lab: &mut Lab,
    name: &'static str,
    peer: Host,
    direction: Direction,
    encapsulation: Encapsulation,
    links: &'static [Family; 2],
) {
    let scenario = Scenario {
        client_sends: "fixed:3000:1100:5",
        server_sends: "fixed:3000:1100:6",
        links,
        fast: true,
        pace: Duration::from_millis(8),
        least_packets: 2000,
        limit: Duration::from_secs(60),
        ..between(name, peer, direction, encapsulation)
    };
    let mut run = scenario.start(lab);
    run.wait_for_progress(Host::Us, 50);
    run.wait_for_progress(peer, 50);
    let start = run.start;
    let [first, second] = [0, 1].map(|link| {
        confirmed(&mut run, peer, link, links);
        outage(&mut run, lab, peer, link, links)
    });
    let verdict = run.finish();
    expect_switch(&verdict, peer, start, &first);
    expect_switch(&verdict, peer, start, &second);
    // The primary path is the first link's when we connect: it carried our data before, and nothing else did.
    if direction == Direction::WeConnect {
        let before = [0, 1].map(|link| verdict.data_packets(Host::Us, link, start, first.cut));
        assert!(before[0] > 0 && before[1] == 0, "before the first cut our data went over the links {before:?}");
    }
    shown(lab, peer, "two paths, each fails once", encapsulation.name());
}

/// A time in which a link was cut.
#[derive(Debug)]
struct Outage {
    link: u8,
    cut: SystemTime,
    /// From here on both ends knew.
    noticed: SystemTime,
    mended: SystemTime,
}

/// Waits until we see the path over `link` in use by both: active.
fn confirmed(run: &mut Run, peer: Host, link: u8, links: &[Family; 2]) {
    let address = peer.address(link, links[usize::from(link)]);
    wait_for_state(run, &address.to_string(), "active");
}

/// Waits until our statistics say that the path to `address` is in `state`.
fn wait_for_state(run: &mut Run, address: &str, state: &str) {
    let deadline = run.deadline.min(Instant::now() + Duration::from_secs(8));
    loop {
        let lines = run.lines(Host::Us);
        let now = lines.last(&format!("event=path-stats address={address}"));
        if now.is_some_and(|line| line.value("state") == Some(state)) {
            return;
        }
        assert!(Instant::now() < deadline, "the path to {address} did not become {state}\n{}", lines.transcript());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// User packets sent so far over the path to `address`, as our statistics say.
fn data_sent(run: &mut Run, address: &str) -> u64 {
    run.lines(Host::Us).last(&format!("event=path-stats address={address}")).map_or(0, |line| line.number("data"))
}

/// Cuts a link, waits until data flows over the other, mends it.
fn outage(run: &mut Run, lab: &Lab, peer: Host, link: u8, links: &[Family; 2]) -> Outage {
    let address = |link: u8| peer.address(link, links[usize::from(link)]).to_string();
    let (dead, alive) = (address(link), address(1 - link));
    let cut = SystemTime::now();
    lab.network.cut(Host::Us, link);
    wait_for_state(run, &dead, "inactive");
    std::thread::sleep(NOTICE.saturating_sub(cut.elapsed().unwrap_or_default()));
    let noticed = SystemTime::now();
    let progress = [Host::Us, peer].map(|host| (host, run.progress(host)));
    let sent = data_sent(run, &alive);
    for (host, count) in progress {
        run.wait_for_progress(host, count + 100);
    }
    assert!(data_sent(run, &alive) > sent, "our statistics say that nothing went over {alive} while {dead} was dead");
    let mended = SystemTime::now();
    lab.network.mend(Host::Us, link);
    wait_for_state(run, &dead, "active");
    Outage { link, cut, noticed, mended }
}

/// That during an outage, once it was noticed, all data went over the other link, in both directions.
fn expect_switch(verdict: &Verdict, peer: Host, start: SystemTime, outage: &Outage) {
    for host in [Host::Us, peer] {
        let sent = |link| verdict.data_packets(host, link, outage.noticed, outage.mended);
        let (dead, alive) = (sent(outage.link), sent(1 - outage.link));
        assert!(dead == 0, "{host:?} sent {dead} packets of data over link {} while it was dead", outage.link);
        assert!(alive >= 100, "{host:?} sent only {alive} packets of data over the link that was left");
    }
    let before: usize =
        [Host::Us, peer].iter().map(|host| verdict.data_packets(*host, outage.link, start, outage.cut)).sum();
    println!("figure: link {} carried {before} packets of data before it was cut", outage.link);
}

/// The links of a failover between IPv4 addresses.
pub const BOTH_V4: &[Family; 2] = &[V4, V4];

/// The links of a failover between an IPv4 path and an IPv6 path.
pub const V4_AND_V6: &[Family; 2] = &[V4, V6];
