//! `cargo xtask test`: every check and test of the repository.

use crate::exec::{self, Ended};
use crate::fuzz;
use crate::instructions;
use crate::matrix::Facts;
use crate::packages;
use crate::parse::Parser;
use crate::report::{Part, Report};
use crate::steps::{self, FUZZ_LIMIT, FUZZ_TIME, INSTRUCTIONS_LIMIT, PACKAGES_LIMIT, Step, TOTAL_LIMIT};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether the tests with other implementations run.
    pub peers: bool,
}

/// Runs all parts, each whatever became of those before, and prints the report.
pub fn run(root: &Path, options: Options) -> ExitCode {
    let started = Instant::now();
    let deadline = started + TOTAL_LIMIT;
    let mut report = Report::new(options.peers);

    if options.peers {
        heading("packages", "Debian packages of the interop tests");
        let began = Instant::now();
        let limit = deadline.min(began + PACKAGES_LIMIT);
        let problem = packages::ensure(limit).and_then(|()| packages::ensure_pysctp(root, limit)).err();
        report.add(Part::check("packages", began.elapsed(), PACKAGES_LIMIT, problem));
    }
    heading("manifests", "every package states the minimum Rust version");
    let began = Instant::now();
    let problem = rust_versions(root).err();
    report.add(Part::check("manifests", began.elapsed(), TOTAL_LIMIT, problem));

    let mut facts = Facts::default();
    for step in steps::checks() {
        report.add(run_step(root, &step, deadline, &mut facts));
    }
    std::thread::scope(|scope| {
        let background = scope.spawn(|| in_the_background(root, options, deadline));
        let [first, last] = steps::of_peers(options.peers);
        for step in steps::of_ours().into_iter().chain([first]) {
            report.add(run_step(root, &step, deadline, &mut facts));
        }
        // They have nothing to say for the matrix.
        let beside = scope
            .spawn(|| steps::beside(options.peers).map(|step| run_step(root, &step, deadline, &mut Facts::default())));
        for step in [last, steps::behind(options.peers)] {
            report.add(run_step(root, &step, deadline, &mut facts));
        }
        beside.join().expect("a part ends by itself").into_iter().for_each(|part| report.add(part));
        background.join().expect("a part ends by itself").into_iter().for_each(|part| report.add(part));
    });
    // Where a test failed it has not said what it shows.
    if options.peers && report.is_good() {
        report.add(settle_matrix(root, &facts, false));
    }
    report.finish(started.elapsed(), TOTAL_LIMIT)
}

/// Runs the tests with other implementations, and writes what they have shown into the README.
pub fn write_matrix(root: &Path) -> ExitCode {
    let started = Instant::now();
    let deadline = started + TOTAL_LIMIT;
    let mut report = Report::new(true);
    let limit = deadline.min(started + PACKAGES_LIMIT);
    if let Err(problem) = packages::ensure(limit).and_then(|()| packages::ensure_pysctp(root, limit)) {
        report.add(Part::check("packages", started.elapsed(), PACKAGES_LIMIT, Some(problem)));
        return report.finish(started.elapsed(), TOTAL_LIMIT);
    }
    let mut facts = Facts::default();
    for step in steps::of_peers(true) {
        report.add(run_step(root, &step, deadline, &mut facts));
    }
    if report.is_good() {
        report.add(settle_matrix(root, &facts, true));
    }
    report.finish(started.elapsed(), TOTAL_LIMIT)
}

fn settle_matrix(root: &Path, facts: &Facts, write: bool) -> Part {
    heading("matrix", "what the tests have shown of each peer, in README.md");
    Part::check("matrix", Duration::ZERO, TOTAL_LIMIT, facts.settle(root, write).err())
}

/// What needs a processor and nobody's patience: it takes what all others leave.
fn in_the_background(root: &Path, options: Options, deadline: Instant) -> [Part; 2] {
    exec::give_way();
    // What is wrong with it is said where it is run.
    let _ = run_step(root, &steps::built_before(), deadline, &mut Facts::default());
    [count_instructions(root, options, deadline), run_fuzz(root, options, deadline)]
}

/// What the hot paths cost, against the stored counts.
fn count_instructions(root: &Path, options: Options, deadline: Instant) -> Part {
    heading("instructions", "what the hot paths cost, as callgrind counts it");
    let began = Instant::now();
    if !options.peers && !instructions::has_callgrind() {
        let part = Part::check("instructions", began.elapsed(), INSTRUCTIONS_LIMIT, None);
        return part.says("not counted: there is no valgrind");
    }
    match instructions::settle(root, false, deadline) {
        Ok(said) => Part::check("instructions", began.elapsed(), INSTRUCTIONS_LIMIT, None).says(&said),
        Err(problem) => Part::check("instructions", began.elapsed(), INSTRUCTIONS_LIMIT, Some(problem)),
    }
}

/// Each fuzz target for a short time, beginning with the stored corpus.
fn run_fuzz(root: &Path, options: Options, deadline: Instant) -> Part {
    heading("fuzz", &format!("each target for {} seconds", FUZZ_TIME.as_secs()));
    let began = Instant::now();
    if !options.peers && !fuzz::has_compiler() {
        // Nothing may be installed; the stored corpus was run as a test all the same.
        return Part::check("fuzz", began.elapsed(), FUZZ_LIMIT, None).says("not run: there is no C++ compiler");
    }
    // One at a time: the other core is for the tests that run beside.
    let wanted = fuzz::Options { time: FUZZ_TIME, jobs: 1, fresh: true, ..fuzz::Options::default() };
    match fuzz::fuzz(root, &wanted, deadline) {
        Ok(summary) => Part::check("fuzz", began.elapsed(), FUZZ_LIMIT, None).says(&summary),
        Err(problem) => Part::check("fuzz", began.elapsed(), FUZZ_LIMIT, Some(problem)),
    }
}

fn run_step(root: &Path, step: &Step, deadline: Instant, facts: &mut Facts) -> Part {
    heading(step.name, &format!("cargo {}", step.arguments.join(" ")));
    let began = Instant::now();
    let mut command = cargo(root);
    command.args(step.arguments).envs(step.environment.iter().map(|(name, value)| (name, value)));
    let mut parser = Parser::default();
    let ended = exec::run(&mut command, deadline, |line| {
        if step.tests {
            parser.line(line);
            facts.line(line);
        }
    });
    let problem = match ended {
        Ended::Well => None,
        Ended::Badly(why) => Some(why),
        Ended::OutOfTime => Some("stopped: the time for all parts was used up".to_owned()),
    };
    if step.tests {
        Part::tests(step.name, began.elapsed(), step.limit, problem, parser.finish())
    } else {
        Part::check(step.name, began.elapsed(), step.limit, problem)
    }
}

/// Every package must say which Rust it needs: cargo and clippy hold it to that.
fn rust_versions(root: &Path) -> Result<(), String> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata = String::from_utf8_lossy(&output.stdout);
    let silent = metadata.matches("\"rust_version\":null").count();
    let stated = metadata.matches("\"rust_version\":\"").count();
    println!("{stated} packages state it, {silent} do not");
    if silent == 0 && stated > 0 {
        Ok(())
    } else {
        Err("a package has no rust-version: add `rust-version.workspace = true`".to_owned())
    }
}

/// The triple of this host, as the compiler names it.
pub fn host_triple() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say which host this is".to_owned())
}

/// Where cargo puts what it builds.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// cargo, in the root of the repository.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

fn heading(name: &str, what: &str) {
    println!("\n=== {name}: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_the_workspace_states_its_rust_version() {
        rust_versions(&crate::root()).unwrap();
    }
}
