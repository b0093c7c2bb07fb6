//! `cargo xtask bench`: all candidates side by side.

use crate::test::cargo;
use std::path::Path;
use std::process::ExitCode;

/// Builds the benchmarks with all candidates, and runs them with these options.
pub fn run(root: &Path, options: &[&str]) -> ExitCode {
    let mut command = cargo(root);
    command.args(["run", "--release", "--locked", "--package", "esock-benches", "--features", "peers"]);
    command.args(["--bin", "side-by-side", "--"]).args(options);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) if status.code() == Some(2) => ExitCode::from(2),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
