//! What is said about the machine and the run.

use std::fs;
use std::process::Command;

/// A line each: figures of different machines cannot be compared.
pub fn remarks(runs: usize, seconds: f64, quick: bool) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut remarks = vec![
        format!("machine: {} with {cores} cores, Linux {}", cpu(), kernel.trim()),
        format!("each candidate {runs} times, in turn; {seconds} s each"),
    ];
    if let Some(commit) = said("git", &["describe", "--always", "--dirty"]) {
        remarks.push(format!("commit {commit}"));
    }
    if let Some(compiler) = said("rustc", &["--version"]) {
        remarks.push(compiler);
    }
    if quick {
        remarks.push("a first look: too short to be quoted".to_owned());
    }
    remarks
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("a processor", |(_, name)| name).to_owned()
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
