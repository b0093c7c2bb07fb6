//! `cargo xtask script FILE...`: runs packet scripts and prints what happened.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs the scripts in one process of `esock-script`; its output is ours.
pub fn run(root: &Path, files: &[&str]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = root.join("Cargo.toml");
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--package", "esock-script", "--manifest-path"]).arg(manifest);
    match command.arg("--").args(files).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("error: cargo: {problem}");
            ExitCode::FAILURE
        }
    }
}
