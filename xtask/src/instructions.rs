//! `cargo xtask instructions`: what the hot paths cost in instructions, which callgrind counts, against stored limits.
//! Times vary with the machine and its load; counts do not.

use crate::exec::{self, Ended};
use crate::test::{cargo, target};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Where the counts are kept.
const FILE: &str = "benches/instructions.toml";

/// More than it may grow by is a regression; less than it may shrink by is to be kept.
const MARGIN_PERCENT: f64 = 3.0;

/// Building in release mode, and counting.
const LIMIT: Duration = Duration::from_secs(240);

const HEAD: &str = "\
# Instructions of the hot paths, as callgrind counts them: `cargo xtask instructions` compares, with a margin of 3 %,
# and `cargo xtask instructions --write` writes this file. Another compiler counts differently.
";

/// What was counted, by its name, in whole instructions.
pub type Counts = BTreeMap<String, u64>;

/// The command: compares, or writes.
pub fn run(root: &Path, write: bool) -> ExitCode {
    match settle(root, write, Instant::now() + LIMIT) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there is a callgrind.
pub fn has_callgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Counts, and compares with the file or writes it. Says what came of it.
pub fn settle(root: &Path, write: bool, deadline: Instant) -> Result<String, String> {
    let counts = count(root, deadline)?;
    let file = root.join(FILE);
    if write {
        fs::write(&file, to_toml(&counts, &compiler())).map_err(|error| format!("{FILE}: {error}"))?;
        return Ok(format!("{} counts written to {FILE}", counts.len()));
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{FILE}: {error}"))?;
    let (limits, by) = from_toml(&text)?;
    let (table, problems) = compare(&counts, &limits);
    println!("{table}");
    if problems.is_empty() {
        return Ok(format!("{} counts, each within {MARGIN_PERCENT} % of {FILE}", counts.len()));
    }
    let own = compiler();
    let other = if by == own { String::new() } else { format!("\nthey were counted with {by}, this is {own}") };
    let advice = "if it is meant to be so: cargo xtask instructions --write";
    Err(format!("{}{other}\n{advice}", problems.join("\n")))
}

/// Builds what is counted, and has callgrind count.
fn count(root: &Path, deadline: Instant) -> Result<Counts, String> {
    let mut build = cargo(root);
    build.args(["build", "--release", "--locked", "--package", "esock-benches", "--bin", "instructions"]);
    ended_well("cargo build", exec::run(&mut build, deadline, |_| ()))?;
    let target = target(root);
    let folder = target.join("instructions");
    // It may not be there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let out = folder.join("out");
    let mut callgrind = Command::new("valgrind");
    callgrind
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_region*"])
        .arg("--dump-before=*scenario_done*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(target.join("release/instructions"));
    let mut scenarios = Vec::new();
    let ended = exec::watch(&mut callgrind, deadline, |line| scenarios.extend(scenario(line)));
    ended_well("valgrind (Debian: valgrind)", ended)?;
    let mut counts = Counts::new();
    for (number, (per, name)) in scenarios.into_iter().enumerate() {
        let dump = out.with_extension((number + 1).to_string());
        let text = fs::read_to_string(&dump).map_err(|error| format!("{}: {error}", dump.display()))?;
        let total = total(&text).ok_or_else(|| format!("{} has no total", dump.display()))?;
        counts.insert(name, total / per);
    }
    if counts.is_empty() || counts.values().any(|count| *count == 0) {
        return Err(format!("nothing was counted: {counts:?}"));
    }
    Ok(counts)
}

fn ended_well(what: &str, ended: Ended) -> Result<(), String> {
    match ended {
        Ended::Well => Ok(()),
        Ended::Badly(why) => Err(format!("{what}: {why}")),
        Ended::OutOfTime => Err(format!("{what} took too long")),
    }
}

/// A line of the counted program: by what a count is divided, and its name. Callgrind's lines are others.
fn scenario(line: &str) -> Option<(u64, String)> {
    let (per, name) = line.split_once(' ')?;
    Some((per.parse().ok().filter(|per| *per > 0)?, name.to_owned()))
}

fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn to_toml(counts: &Counts, compiler: &str) -> String {
    let mut out = format!("{HEAD}compiler = \"{compiler}\"\n\n[instructions]\n");
    for (name, count) in counts {
        writeln!(out, "\"{name}\" = {count}").expect("a string takes all");
    }
    out
}

/// The counts, and the compiler that they were made with.
fn from_toml(text: &str) -> Result<(Counts, String), String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        compiler: String,
        instructions: Counts,
    }
    let file: File = toml::from_str(text).map_err(|error| format!("{FILE}: {error}"))?;
    Ok((file.instructions, file.compiler))
}

/// A table of both, and what is wrong.
fn compare(counts: &Counts, limits: &Counts) -> (String, Vec<String>) {
    let mut table = format!("{:>10} {:>10} {:>8}\n", "counted", "stored", "");
    let mut problems = Vec::new();
    for (name, count) in counts {
        let Some(limit) = limits.get(name) else {
            problems.push(format!("`{name}` is not in {FILE}"));
            continue;
        };
        let percent = (*count as f64 / *limit as f64 - 1.0) * 100.0;
        writeln!(table, "{count:>10} {limit:>10} {percent:>+7.1} %  {name}").expect("a string takes all");
        if percent > MARGIN_PERCENT {
            problems.push(format!("`{name}` takes {count} instructions, {percent:.1} % more than the stored {limit}"));
        } else if percent < -MARGIN_PERCENT {
            problems.push(format!("`{name}` takes {count} instructions, less than the stored {limit}: keep the gain"));
        }
    }
    problems.extend(limits.keys().filter(|name| !counts.contains_key(*name)).map(|name| format!("`{name}` is gone")));
    (table, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Counts {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn counts_survive_the_file() {
        let counts = counts(&[("send a 1,400-byte packet", 2000), ("b", 3)]);
        assert_eq!(from_toml(&to_toml(&counts, "rustc 1")), Ok((counts, "rustc 1".to_owned())));
    }

    #[test]
    fn what_is_off_by_more_than_the_margin_is_told_either_way() {
        let limits = counts(&[("a", 1000), ("b", 1000), ("c", 1000), ("d", 1000)]);
        let (table, problems) = compare(&counts(&[("a", 1029), ("b", 1031), ("c", 969), ("e", 1)]), &limits);
        assert!(table.contains("1029"));
        let said = problems.join("; ");
        assert!(!said.contains("`a`"), "{said}");
        for wanted in ["`b` takes 1031", "`c` takes 969", "`d` is gone", "`e` is not in"] {
            assert!(said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn lines_of_the_program_and_of_callgrind_are_told_apart() {
        assert_eq!(scenario("500 set up"), Some((500, "set up".to_owned())));
        assert_eq!(scenario("==12== Callgrind"), None);
        assert_eq!(total("events: Ir\ntotals: 42\n"), Some(42));
    }
}
