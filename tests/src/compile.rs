//! Programs in C that tests need.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Has the compiler make something. It takes its place when it is whole: another test may be running what is there.
///
/// # Panics
/// If it cannot be compiled.
pub fn compile(made: &Path, compiler: &mut Command) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let new = made.with_extension(format!("new-{}-{number}", std::process::id()));
    let output = compiler.arg("-o").arg(&new).output().unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
    assert!(output.status.success(), "{compiler:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&new, made).unwrap_or_else(|error| panic!("{}: {error}", made.display()));
}
