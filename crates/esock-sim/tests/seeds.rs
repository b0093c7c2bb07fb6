//! Seeds of the fuzz targets, made from our own captures: the packet scripts, each run once, and simulated runs that
//! have everything that a scenario can have. They are the same each time.
//!
//! `ESOCK_FUZZ_SEEDS=directory` writes them down; `cargo xtask fuzz --seeds` sets it.

use esock_fuzz::seeds::{Capture, Captured, LONGEST, Seeds, make};
use esock_fuzz::{adversary, commands, cookie, stack, wire};
use esock_proto::Time;
use esock_script::Script;
use esock_sim::check::play;
use esock_sim::scenario::{Feature, Scenario};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each feature of a scenario is in so many of the captured ones.
const RUNS_PER_FEATURE: usize = 2;

fn scripts(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the scripts are there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            scripts(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "sctp") {
            files.push(path);
        }
    }
}

/// A script, run: what passed between the stack and its peer.
fn capture_of_script(root: &Path, file: &Path) -> Capture {
    let short = file.strip_prefix(root).expect("it lies there").with_extension("");
    let name = short.display().to_string().replace(['/', '\\'], "-");
    let text = std::fs::read_to_string(file).expect("it can be read");
    let report = Script::parse(&name, &text).unwrap_or_else(|failure| panic!("{failure}")).run();
    assert!(report.failure.is_none(), "{name}");
    let packets = report.traffic.packets.into_iter().map(|packet| Captured {
        at: packet.at,
        to: usize::from(!packet.by_stack),
        source: packet.from,
        destination: packet.to,
        udp: packet.udp.is_some(),
        data: packet.bytes,
    });
    let addresses = [report.traffic.peer, report.traffic.stack];
    Capture { name, addresses, both: false, packets: packets.collect() }
}

/// A simulated run: what passed between its hosts.
fn capture_of_run(scenario: &Scenario) -> Capture {
    let played = play(scenario, true);
    played.outcome.unwrap_or_else(|problem| panic!("seed {}: {problem}", scenario.seed));
    let addresses = scenario.addresses.clone().map(|all| all.iter().map(|address| address.ip()).collect::<Vec<_>>());
    let packets = played.capture.expect("it was asked for").read().into_iter().map(|packet| Captured {
        at: packet.at.since(Time::ZERO),
        to: usize::from(addresses[1].contains(&packet.to)),
        source: packet.from,
        destination: packet.to,
        udp: true,
        data: packet.sctp,
    });
    let packets = packets.collect();
    Capture { name: format!("run-{:02}", scenario.seed), addresses, both: true, packets }
}

/// Scenarios that have each feature at least so often.
fn scenarios() -> Vec<Scenario> {
    let mut seen = BTreeMap::<Feature, usize>::new();
    let all = (0..60).map(Scenario::from_seed).filter(|scenario| {
        let wanted = scenario.features.iter().any(|feature| seen.get(feature).is_none_or(|n| *n < RUNS_PER_FEATURE));
        if wanted {
            scenario.features.iter().for_each(|feature| *seen.entry(*feature).or_default() += 1);
        }
        wanted
    });
    all.collect()
}

fn captures() -> Vec<Capture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../esock-script/scripts");
    let mut files = Vec::new();
    scripts(&root, &mut files);
    files.sort();
    let scripts = files.iter().map(|file| capture_of_script(&root, file));
    scripts.chain(scenarios().iter().map(capture_of_run)).collect()
}

/// Writes them down, in place of those that were there.
fn write(seeds: &Seeds, root: &Path) {
    for (target, files) in seeds {
        let folder = root.join(target);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("old seeds can be removed");
        }
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).expect("it can be written");
        }
    }
}

/// Types of chunks that the stack under test sent, `1 << type`.
fn kinds(capture: &Capture) -> u32 {
    let mut seen = esock_fuzz::seen::Seen::default();
    capture.packets.iter().filter(|packet| packet.to == 0).for_each(|packet| seen.note(&packet.data));
    seen.kinds
}

#[test]
fn our_captures_make_the_same_seeds_each_time() {
    let seeds = make(&captures());
    assert_eq!(seeds, make(&captures()));
    assert_eq!(seeds.len(), esock_fuzz::TARGETS.len());
    for (target, files) in &seeds {
        let bytes: usize = files.values().map(Vec::len).sum();
        println!("{target}: {} seeds, {bytes} bytes", files.len());
        assert!(files.len() > 10 && bytes < 100_000, "{target}");
        assert!(files.values().all(|bytes| bytes.len() <= LONGEST), "{target}");
    }
    if let Some(folder) = std::env::var_os("ESOCK_FUZZ_SEEDS") {
        write(&seeds, Path::new(&folder));
    }
}

#[test]
fn seeds_play_what_was_captured() {
    let captures = captures();
    let seeds = make(&captures);
    let (mut again, mut all) = (0, 0);
    for (name, bytes) in &seeds["stack"] {
        let capture = captures.iter().find(|capture| capture.name == *name).expect("it was made from one");
        let (then, now) = (kinds(capture), stack::play(bytes).seen[1].kinds);
        all += then.count_ones();
        again += (then & now).count_ones();
    }
    println!("stack: of {all} types of chunks that it sent in captures, {again} are sent again");
    assert!(all > 500 && again * 10 > all * 9);

    let read = seeds["wire"].values().filter(|bytes| wire::play(bytes) > 0).count();
    println!("wire: {read} of {} packets and cookies are read", seeds["wire"].len());
    assert!(read * 20 > seeds["wire"].len() * 19);

    let messages = |target: &str, play: fn(&[u8]) -> [u32; 2]| {
        let sent: u32 = seeds[target].values().flat_map(|bytes| play(bytes)).sum();
        println!("{target}: {sent} messages are sent");
        sent
    };
    assert!(messages("adversary", adversary::play) > 300);
    assert!(messages("commands", commands::play) > 500);

    let stats: Vec<_> = seeds["cookie"].values().map(|bytes| cookie::play(bytes)).collect();
    let count = |of: fn(&esock_proto::StackStats) -> u64| stats.iter().map(of).sum::<u64>();
    let (made, bad, stale) =
        (count(|stats| stats.init_acks_sent), count(|stats| stats.bad_cookies), count(|stats| stats.stale_cookies));
    println!("cookie: {made} are made, {bad} are bad, {stale} are stale");
    assert!(made > 30 && bad > 3 && stale > 0);
}
