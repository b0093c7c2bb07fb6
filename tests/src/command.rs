//! The `esock` command, built as the test that asks for it was, with the library that it preloads beside it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where it is. `ESOCK_COMMAND` names another one.
///
/// # Panics
/// If it cannot be built.
pub fn esock() -> &'static Path {
    static ESOCK: OnceLock<PathBuf> = OnceLock::new();
    ESOCK.get_or_init(|| match std::env::var_os("ESOCK_COMMAND") {
        Some(named) => named.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("where is this program? {error}"));
    // .../target/PROFILE/deps/TEST, or .../target/PROFILE/PROGRAM
    let built = own.ancestors().find(|folder| folder.join("deps").is_dir());
    let built = built.unwrap_or_else(|| panic!("{} is not in a target directory", own.display()));
    let profile = match built.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--profile", profile, "--package", "esock-cli", "--package", "esock-preload"])
        .arg("--target-dir")
        .arg(built.parent().unwrap_or(built))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let output = output.unwrap_or_else(|error| panic!("cargo: {error}"));
    assert!(output.status.success(), "cargo build: {}", String::from_utf8_lossy(&output.stderr));
    built.join("esock")
}
