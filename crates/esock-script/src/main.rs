//! Runs scripts and prints what happened: `esock-script FILE...`.
#![forbid(unsafe_code)]

use esock_script::Script;
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: esock-script FILE...");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for file in &files {
        failed |= !run(file);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs one script. Returns whether it passed.
fn run(file: &str) -> bool {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(problem) => {
            eprintln!("error: {file}: {problem}");
            return false;
        }
    };
    let script = match Script::parse(file, &text) {
        Ok(script) => script,
        Err(failure) => {
            eprintln!("error: {failure}");
            return false;
        }
    };
    println!("{file}: {}", script.title);
    println!("line          time  what");
    let report = script.run();
    report.trace.iter().for_each(|entry| println!("{entry}"));
    match report.failure {
        None => {
            println!("passed");
            true
        }
        Some(failure) => {
            println!("FAILED\n\n{failure}");
            false
        }
    }
}
