//! The commands of the repository, run as `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod bench;
mod exec;
mod fuzz;
mod instructions;
mod matrix;
mod packages;
#[cfg(test)]
mod pages;
mod parse;
mod report;
mod requirements;
mod script;
mod soak;
mod steps;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
The commands of this repository.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  test            Run every check and test; exit status 0 only if all of them passed
  bench           Measure esock beside TCP, UDP and other stacks, over loopback (--help: its options)
  instructions    Count the instructions of the hot paths, and compare with benches/instructions.toml
  soak            Run days of traffic in virtual time: every message accounted for, no growth of memory
  matrix          Run the tests with other SCTP implementations, and write what they have shown
                  into the table in README.md
  requirements    Print what RFC 9260 demands, with the tests that cover it and what has none
  script FILE...  Run packet scripts (crates/esock-script/README.md) and print what happened
  fuzz [TARGET]   Run the fuzz targets (fuzz/README.md), all or some, and print what they covered
  help            Print this text

Options of test:
  --no-peers    Leave out the tests that need other SCTP implementations (the Linux kernel's in
                User-Mode Linux, usrsctp, tshark), and install nothing. Without it a missing peer
                is a failure; when root, missing Debian packages are installed first.

Options of soak:
  --minutes N    Until so many minutes have passed (default 10, unless there are days)
  --days N       Until so many days of virtual time have passed
  --seed N       Another soak (default 1)

Options of matrix:
  --from FILE    Run nothing: take what the tests have shown from the output of an earlier run

Options of fuzz:
  --seconds N    How long each target runs (default 60)
  --jobs N       How many run at once (default 1)
  --minimise     Run nothing; put what earlier runs found into the stored corpus, where it adds coverage
  --seeds        Run nothing; make the seeds anew from our own captures: packet scripts, simulated runs

Options of instructions:
  --write    Write what was counted to benches/instructions.toml instead

Options of requirements:
  --write    Write it to docs/conformance.md instead

Environment of test:
  ESOCK_SIM_RUNS    How many seeded simulation runs to make (default 2000)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["help" | "-h" | "--help", ..] | ["test" | "soak", "-h" | "--help"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        ["test", options @ ..] => match test_options(options) {
            Ok(options) => test::run(&root(), options),
            Err(problem) => usage(&problem),
        },
        ["instructions"] => instructions::run(&root(), false),
        ["instructions", "--write"] => instructions::run(&root(), true),
        ["instructions", other, ..] => usage(&format!("`instructions` has no option `{other}`")),
        ["bench", options @ ..] => bench::run(&root(), options),
        ["soak", options @ ..] => match soak::Options::parse(options) {
            Ok(options) => soak::run(&root(), options),
            Err(problem) => usage(&problem),
        },
        ["matrix"] => test::write_matrix(&root()),
        ["matrix", "--from", file] => matrix::write_from(&root(), Path::new(file)),
        ["matrix", other, ..] => usage(&format!("`matrix` has no option `{other}`")),
        ["requirements"] => requirements::run(&root(), false),
        ["requirements", "--write"] => requirements::run(&root(), true),
        ["requirements", other, ..] => usage(&format!("`requirements` has no option `{other}`")),
        ["script"] => usage("`script` takes the files to run"),
        ["script", files @ ..] => script::run(&root(), files),
        ["fuzz", options @ ..] => match fuzz::Options::parse(options) {
            Ok(options) => fuzz::run(&root(), &options),
            Err(problem) => usage(&problem),
        },
        [other, ..] => usage(&format!("there is no command `{other}`")),
    }
}

fn test_options(words: &[&str]) -> Result<test::Options, String> {
    let mut options = test::Options { peers: true };
    for word in words {
        match *word {
            "--no-peers" => options.peers = false,
            other => return Err(format!("`test` has no option `{other}`")),
        }
    }
    Ok(options)
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("error: {problem}\n\n{HELP}");
    ExitCode::from(2)
}

/// The root of the workspace: the parent of this package.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_of_test_is_named() {
        assert!(test_options(&["--no-peers"]).is_ok_and(|options| !options.peers));
        assert!(test_options(&["--no-beers"]).is_err_and(|problem| problem.contains("--no-beers")));
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("Cargo.lock").exists());
    }
}
