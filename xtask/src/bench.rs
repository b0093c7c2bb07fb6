//! `cargo xtask bench`: all candidates side by side.

use crate::test::{cargo, target};
use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds the benchmarks with all candidates, and runs them with these options.
pub fn run(root: &Path, options: &[&str]) -> ExitCode {
    let mut build = cargo(root);
    build.args(["build", "--release", "--locked", "--package", "esock-benches", "--features", "peers", "--bins"]);
    let mut benches = Command::new(target(root).join("release/side-by-side"));
    benches.args(options).current_dir(root);
    // What they say passes through as it comes: progress is shown.
    for command in [&mut build, &mut benches] {
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) if status.code() == Some(2) => return ExitCode::from(2),
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {}: {error}", command.get_program().display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
