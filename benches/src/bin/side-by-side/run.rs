//! Runs the cases, each candidate in turn, each in a process of its own.

use crate::machine;
use crate::options::Options;
use esock_benches::Plan;
use esock_benches::case::{Case, Measure};
use esock_benches::peers::Peer;
use esock_benches::results::{Record, Results};
use esock_benches::tables::number;
use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The first word of the command line of a process that measures one case.
pub const ONE: &str = "one";

/// Longer than it is to take, a case may take this long.
const GRACE: Duration = Duration::from_secs(30);

/// All that can be measured, in the order in which it is.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |measure, packet_bytes, sizes: &[usize], wanted: &dyn Fn(Peer, usize) -> bool| {
        for size in sizes {
            let peers = Peer::ALL.iter().copied().filter(|peer| wanted(*peer, *size));
            cases.extend(peers.map(|peer| Case { measure, packet_bytes, size: *size, peer }));
        }
    };
    for packet_bytes in [1400, 9000] {
        // Without a protocol the size of a message means nothing.
        let whole = [Peer::Udp, Peer::RawIp, Peer::EsockRaw];
        let wanted = |peer: Peer, size| peer != Peer::EsockShards && (!whole.contains(&peer) || size == 16 << 10);
        add(Measure::Bulk, packet_bytes, &[64, 1 << 10, 16 << 10, 256 << 10], &wanted);
    }
    add(Measure::PingPong, 1400, &[64], &|peer, _| peer.plays_ping_pong());
    add(Measure::Spinning, 1400, &[64], &|peer, _| peer.spins());
    add(Measure::BesideBulk, 1400, &[64], &|peer, _| peer == Peer::EsockSingle);
    add(Measure::Crowd, 1400, &[10, 1000], &|peer, _| peer.crowds());
    add(Measure::Several, 1400, &[1, 4], &|peer, _| peer.spreads());
    add(Measure::Setup, 1400, &[1, 64], &|peer, _| peer.sets_up());
    // usrsctp needs minutes for more.
    let curve = |peer: Peer, size| peer.sets_up() && (peer != Peer::Usrsctp || size <= 10_000);
    add(Measure::SetupCurve, 1400, &[1_000, 10_000, 30_000, 100_000], &curve);
    add(Measure::InMemory, 1400, &[10, 100_000], &|peer, size| {
        peer.lives_in_memory() && (peer == Peer::Esock || size > 10)
    });
    cases
}

/// Whether a case has all the words.
fn has_words(case: &Case, only: &[String]) -> bool {
    let packets = format!("packets={}", case.packet_bytes);
    let size = case.size.to_string();
    let words = [case.measure.name(), case.peer.name(), &packets, &size];
    let named = only.iter().any(|wanted| wanted.split('|').any(|wanted| wanted == case.measure.name()));
    (named || !case.measure.is_asked_for())
        && only.iter().all(|wanted| wanted.split('|').any(|wanted| words.contains(&wanted)))
}

/// Measures; says what failed beside the figures.
pub fn run(options: &Options) -> (Results, Vec<String>) {
    let mut cases = cases();
    cases.retain(|case| has_words(case, &options.only));
    let mut failures = Vec::new();
    for peer in Peer::ALL {
        if cases.iter().any(|case| case.peer == *peer)
            && let Err(problem) = peer.check()
        {
            failures.push(problem);
            cases.retain(|case| case.peer != *peer);
        }
    }
    let quick = options.plan.exchanges < Plan::default().exchanges;
    let remarks = machine::remarks(options.runs, options.plan.measure.as_secs_f64(), quick);
    remarks.iter().for_each(|remark| println!("{remark}"));
    let mut results = Results { remarks, records: Vec::new() };
    let (total, began) = (cases.len() * options.runs, Instant::now());
    let mut done = 0;
    for group in groups(&cases) {
        // In turn: what disturbs the machine for a while disturbs all alike.
        for run in 1..=options.runs {
            for case in &group {
                let measured = measure(case, &options.plan);
                done += 1;
                let left = began.elapsed().mul_f64((total - done) as f64 / done as f64).as_secs();
                let said = match &measured {
                    Ok(figures) => {
                        let said = figures.iter().map(|(name, value)| format!("{} {name}", number(*value)));
                        said.collect::<Vec<_>>().join(", ")
                    }
                    Err(problem) => format!("FAILED: {problem}"),
                };
                println!("[{done}/{total}, {left} s left] {case}, run {run}: {said}");
                match measured {
                    Ok(figures) => results.records.extend(figures.into_iter().map(|(figure, value)| Record {
                        case: *case,
                        run,
                        figure,
                        value,
                    })),
                    Err(problem) => failures.push(format!("{case}, run {run}: {problem}")),
                }
            }
        }
    }
    (results, failures)
}

/// Cases that are compared with each other.
fn groups(cases: &[Case]) -> Vec<Vec<Case>> {
    let mut groups = BTreeMap::<_, Vec<Case>>::new();
    for case in cases {
        groups.entry((case.measure, case.packet_bytes, case.size)).or_default().push(*case);
    }
    groups.into_values().collect()
}

/// Has a process measure a case.
fn measure(case: &Case, plan: &Plan) -> Result<Vec<(String, f64)>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(&own);
    if case.measure == Measure::InMemory {
        command = Command::new(own.with_file_name("in-memory"));
        command.args([case.peer.name(), &case.size.to_string()]);
    } else {
        command.arg(ONE).args(case.words(plan));
    }
    let mut child = command
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let deadline = Instant::now() + plan.warm_up + plan.measure + GRACE;
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() >= deadline => {
                child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                return Err("it took too long and was ended".to_owned());
            }
            // Rarely, so as not to disturb.
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let text = |stream: Option<&mut dyn Read>| {
        let mut text = String::new();
        // What cannot be read is missed below.
        let _ = stream.map(|stream| stream.read_to_string(&mut text));
        text
    };
    let (out, errors) = (
        text(child.stdout.as_mut().map(|s| s as &mut dyn Read)),
        text(child.stderr.as_mut().map(|s| s as &mut dyn Read)),
    );
    if !status.success() {
        return Err(format!("{status}: {}", errors.trim()));
    }
    let figures: Option<Vec<_>> = out
        .lines()
        .map(|line| line.rsplit_once('=').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?))))
        .collect();
    figures.filter(|figures| !figures.is_empty()).ok_or_else(|| format!("it said `{}`", out.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_choose_cases() {
        let count = |words: &[&str]| {
            let only: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            cases().iter().filter(|case| has_words(case, &only)).count()
        };
        let curve = count(&["setup-curve"]);
        assert!(curve > 0);
        assert_eq!(count(&[]) + curve, cases().len(), "it takes long");
        assert_eq!(count(&["bulk", "esock|tcp", "16384", "packets=1400"]), 2);
        assert_eq!(count(&["nobody"]), 0);
    }

    #[test]
    fn every_case_survives_the_command_line() {
        for case in cases() {
            let (read, plan) = Case::from_words(&case.words(&Plan::default())).unwrap();
            assert_eq!((read, plan.packet_bytes), (case, case.packet_bytes));
        }
    }
}
