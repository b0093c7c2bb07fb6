//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, with the compiler that the repository is built with.
//!
//! cargo-fuzz is not needed: coverage is measured by a pass of LLVM that every rustc has. AddressSanitizer is
//! left out, as `esock-proto` has no unsafe code; the crates that have some run their tests under it.

mod output;

use crate::exec::{self, Ended};
use output::{Findings, Progress};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The targets; `fuzz/Cargo.toml` has a binary for each.
pub const TARGETS: [&str; 5] = ["wire", "stack", "adversary", "cookie", "commands"];

/// What libFuzzer needs: edges counted, comparisons traced.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// From the root of the repository.
const TARGET_DIR: &str = "target/fuzz";
/// Inputs are not longer: a few hundred steps.
const MAX_LEN: usize = 2048;
/// Memory that a process may use.
const MEMORY_MIB: usize = 512;
/// One input may take this long, on a machine that does other things too.
const ONE_INPUT: Duration = Duration::from_secs(20);
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// What reading the corpus and ending may take beyond the time that was given.
const SLACK: Duration = Duration::from_secs(60);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which targets; none: all.
    pub targets: Vec<String>,
    /// How long each.
    pub time: Duration,
    /// How many at once.
    pub jobs: usize,
    /// Put what was found into the stored corpus, and keep there only what adds coverage.
    pub minimise: bool,
    /// Make the seeds anew, from our own captures.
    pub seeds: bool,
    /// Begin with the stored corpus alone, not with what earlier runs have found.
    pub fresh: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            time: Duration::from_secs(60),
            jobs: 1,
            minimise: false,
            seeds: false,
            fresh: false,
        }
    }
}

impl Options {
    /// From the words behind `fuzz`.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().ok_or_else(|| format!("`{word}` takes a number"))?;
                let number = value.parse().ok().filter(|number| *number > 0);
                number.ok_or_else(|| format!("`{word} {value}`: not a number above zero"))
            };
            match *word {
                "--seconds" => options.time = Duration::from_secs(number()?),
                "--jobs" => options.jobs = number()? as usize,
                "--minimise" => options.minimise = true,
                "--seeds" => options.seeds = true,
                target if TARGETS.contains(&target) => options.targets.push(target.to_owned()),
                other if other.starts_with('-') => return Err(format!("`fuzz` has no option `{other}`")),
                other => return Err(format!("there is no target `{other}`: there are {}", TARGETS.join(", "))),
            }
        }
        if options.seeds && (options.minimise || !options.targets.is_empty()) {
            return Err("`--seeds` makes the seeds of all targets, and does nothing else".to_owned());
        }
        Ok(options)
    }

    fn targets(&self) -> Vec<&str> {
        if self.targets.is_empty() { TARGETS.to_vec() } else { self.targets.iter().map(String::as_str).collect() }
    }
}

/// `cargo xtask fuzz`.
pub fn run(root: &Path, options: &Options) -> ExitCode {
    let rounds = options.targets().len().div_ceil(options.jobs) as u32;
    let deadline = Instant::now() + Duration::from_secs(1800) + (options.time + SLACK) * rounds;
    let done = if options.seeds {
        seeds(root, deadline)
    } else if options.minimise {
        minimise(root, options, deadline)
    } else {
        fuzz(root, options, deadline)
    };
    match done {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether libFuzzer, which is C++, can be built.
pub fn has_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let version = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Builds the targets and runs them; what they did, or what is wrong.
pub fn fuzz(root: &Path, options: &Options, deadline: Instant) -> Result<String, String> {
    let binaries = build(root, deadline)?;
    let waiting = Mutex::new(options.targets());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.min(TARGETS.len()) {
            scope.spawn(|| {
                loop {
                    let next = waiting
                        .lock()
                        .ok()
                        .and_then(|mut waiting| if waiting.is_empty() { None } else { Some(waiting.remove(0)) });
                    let Some(target) = next else { return };
                    let findings = run_target(root, &binaries, target, options, deadline);
                    if let Ok(mut done) = done.lock() {
                        done.push(findings);
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|findings| TARGETS.iter().position(|target| *target == findings.target));
    println!();
    done.iter().for_each(|findings| println!("{}", findings.line()));
    output::summary(&done)
}

/// What the targets are built with, and checked with too, so that libFuzzer is built once.
pub fn environment() -> Vec<(&'static str, String)> {
    let mut environment = vec![("CARGO_TARGET_DIR", TARGET_DIR.to_owned()), ("RUSTFLAGS", FLAGS.to_owned())];
    // Without it cargo says what is wrong. A target is named so that build scripts are not built so.
    environment.extend(crate::test::host_triple().ok().map(|triple| ("CARGO_BUILD_TARGET", triple)));
    environment
}

/// Builds the targets; where they are.
fn build(root: &Path, deadline: Instant) -> Result<PathBuf, String> {
    if !has_compiler() {
        return Err("libFuzzer needs a C++ compiler (Debian: g++)".to_owned());
    }
    let triple = crate::test::host_triple()?;
    let target_dir = root.join(TARGET_DIR);
    let mut command = crate::test::cargo(root);
    command
        .args(["build", "--release", "--locked", "--bins", "--manifest-path", "fuzz/Cargo.toml"])
        .envs(environment())
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    match exec::run(&mut command, deadline, |_| ()) {
        Ended::Well => Ok(target_dir.join(triple).join("release")),
        Ended::Badly(why) => Err(format!("the fuzz targets cannot be built ({why})")),
        Ended::OutOfTime => Err("building the fuzz targets took too long".to_owned()),
    }
}

fn stored(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz/corpus").join(target)
}

/// Seeds that were made from captures; they are stored too.
fn seeds_of(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz/seeds").join(target)
}

/// Makes them: the test that holds them to what was captured writes them down.
fn seeds(root: &Path, deadline: Instant) -> Result<String, String> {
    let mut command = crate::test::cargo(root);
    command
        .args(["test", "--package", "esock-sim", "--test", "seeds", "--locked", "--", "--nocapture"])
        .env("ESOCK_FUZZ_SEEDS", root.join("fuzz/seeds"));
    match exec::run(&mut command, deadline, |_| ()) {
        Ended::Well => Ok("the seeds are in fuzz/seeds".to_owned()),
        ended => Err(format!("the seeds cannot be made ({ended:?})")),
    }
}

/// What earlier runs found is kept here.
fn found(root: &Path, target: &str, options: &Options) -> Result<PathBuf, String> {
    let directory = root.join("target/fuzz").join(if options.fresh { "fresh" } else { "corpus" }).join(target);
    if options.fresh && directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    make(directory)
}

fn make(directory: PathBuf) -> Result<PathBuf, String> {
    let made = std::fs::create_dir_all(&directory);
    made.map(|()| directory.clone()).map_err(|error| format!("{}: {error}", directory.display()))
}

fn libfuzzer(root: &Path, binaries: &Path, target: &str) -> Result<Command, String> {
    let mut command = Command::new(binaries.join(target));
    // It must be there, even if nothing is put into it.
    let artifacts = make(root.join("fuzz/artifacts").join(target))?.join("");
    command
        .current_dir(root)
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={}", ONE_INPUT.as_secs()))
        .arg(format!("-artifact_prefix={}", artifacts.display()))
        .arg("-print_final_stats=1");
    Ok(command)
}

fn run_target(root: &Path, binaries: &Path, target: &str, options: &Options, deadline: Instant) -> Findings {
    let mut findings = Findings::new(target);
    let command = || {
        let mut command = libfuzzer(root, binaries, target)?;
        let directories = [found(root, target, options)?, make(stored(root, target))?, seeds_of(root, target)];
        command.arg(format!("-max_total_time={}", options.time.as_secs())).args(directories);
        Ok::<_, String>(command)
    };
    let mut command = match command() {
        Ok(command) => command,
        Err(problem) => return Findings { problem: Some(problem), ..findings },
    };
    let began = Instant::now();
    let deadline = deadline.min(began + options.time + SLACK);
    let mut progress = Progress::default();
    let mut told = began;
    let ended = exec::watch(&mut command, deadline, |line| {
        progress.line(line);
        if progress.is_crash() {
            println!("{target}: {line}");
        } else if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            println!("{target}: {:>4} s: {progress}", began.elapsed().as_secs());
        }
    });
    findings.took = began.elapsed();
    findings.problem = match ended {
        Ended::Well if progress.executions == 0 => Some("nothing was executed".to_owned()),
        Ended::Well => None,
        Ended::Badly(why) => Some(progress.crash().unwrap_or(why)),
        Ended::OutOfTime => Some("it did not end in time".to_owned()),
    };
    findings.progress = progress;
    findings
}

/// Puts what earlier runs found into the stored corpus; each file there reaches something that no other does, and no
/// seed and no input with a name of its own.
fn minimise(root: &Path, options: &Options, deadline: Instant) -> Result<String, String> {
    let binaries = build(root, deadline)?;
    let mut lines = Vec::new();
    for target in options.targets() {
        let (stored, found) = (make(stored(root, target))?, found(root, target, options)?);
        let merged = make(root.join("target/fuzz/merged").join(target))?;
        let failed = |error: std::io::Error| format!("{target}: {error}");
        std::fs::remove_dir_all(&merged).and_then(|()| std::fs::create_dir_all(&merged)).map_err(failed)?;
        // These stay: what they reach needs no other input.
        for kept in [&seeds_of(root, target), &stored] {
            copy(kept, &merged, |name| !is_hash(name)).map_err(failed)?;
        }
        let mut command = libfuzzer(root, &binaries, target)?;
        // What counts is which edges are reached, not how often: else thousands of inputs are worth keeping.
        command.args(["-merge=1", "-use_counters=0"]).args([&merged, &stored, &found]);
        let mut output = Vec::new();
        match exec::watch(&mut command, deadline, |line| output.push(line.to_owned())) {
            Ended::Well => {}
            ended => {
                output.iter().rev().take(20).rev().for_each(|line| println!("{line}"));
                return Err(format!("{target}: merging failed ({ended:?})"));
            }
        }
        let (files, bytes) = replace(&merged, &stored).map_err(failed)?;
        println!("{target}: {files} files, {bytes} bytes");
        lines.push(format!("{target} {files}"));
    }
    Ok(format!("files in fuzz/corpus: {}", lines.join(", ")))
}

/// Copies those files whose names are wanted.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for file in std::fs::read_dir(from)? {
        let file = file?;
        if wanted(&file.file_name().to_string_lossy()) {
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

/// Replaces the files of one directory by those of another. Those that have a name of their own stay where they are:
/// they are there for a reason.
fn replace(from: &Path, to: &Path) -> std::io::Result<(usize, u64)> {
    for file in std::fs::read_dir(to)? {
        let file = file?;
        if is_hash(&file.file_name().to_string_lossy()) {
            std::fs::remove_file(file.path())?;
        }
    }
    copy(from, to, is_hash)?;
    let all = std::fs::read_dir(to)?.collect::<Result<Vec<_>, _>>()?;
    let bytes = all.iter().map(|file| file.metadata().map(|file| file.len())).sum::<std::io::Result<u64>>()?;
    Ok((all.len(), bytes))
}

/// Whether libFuzzer has named a file.
fn is_hash(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_options_are_read_and_mistakes_are_named() {
        let options = Options::parse(&["stack", "--seconds", "15", "wire", "--jobs", "2"]).unwrap();
        assert_eq!(options.targets(), ["stack", "wire"]);
        assert_eq!((options.time, options.jobs), (Duration::from_secs(15), 2));
        assert_eq!(Options::parse(&[]).unwrap().targets(), TARGETS);
        assert!(Options::parse(&["--seeds"]).unwrap().seeds);
        assert!(Options::parse(&["--seeds", "wire"]).is_err());
        for (words, named) in [(&["stuck"][..], "stuck"), (&["--seconds", "x"], "x"), (&["--jobs"], "--jobs")] {
            assert!(Options::parse(words).unwrap_err().contains(named), "{words:?}");
        }
    }

    #[test]
    fn what_libfuzzer_has_named_is_replaced_and_what_has_a_name_of_its_own_stays() {
        let root = std::env::temp_dir().join(format!("esock-xtask-fuzz-{}", std::process::id()));
        let folders = ["from", "to"].map(|name| root.join(name));
        let names = [("a".repeat(40), "seed"), ("b".repeat(40), "was-a-crash-1")];
        for (folder, (hash, own)) in folders.iter().zip(&names) {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(hash), "12345").unwrap();
            std::fs::write(folder.join(own), "123").unwrap();
        }
        assert_eq!(replace(&folders[0], &folders[1]).unwrap(), (2, 8));
        let all = std::fs::read_dir(&folders[1]).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<_> = all.collect();
        left.sort();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(left, ["a".repeat(40), "was-a-crash-1".to_owned()]);
    }

    #[test]
    fn every_target_has_a_binary_a_stored_corpus_and_seeds() {
        let root = crate::root();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
            assert!(std::fs::read_dir(stored(&root, target)).unwrap().count() > 10, "{target}");
            assert!(std::fs::read_dir(seeds_of(&root, target)).unwrap().count() > 10, "{target}");
        }
    }
}
