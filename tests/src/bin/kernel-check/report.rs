//! What is said: a line a check, in the form of the other peers.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Whatever went wrong.
pub type Failure = Box<dyn std::error::Error>;

/// The result of a group of checks.
pub type Ended = Result<(), Failure>;

/// What was checked so far.
#[derive(Debug)]
pub struct Report {
    tag: String,
    checks: usize,
    failures: Vec<String>,
}

impl Report {
    /// Nothing checked yet.
    pub fn new(tag: String) -> Self {
        Self { tag, checks: 0, failures: Vec::new() }
    }

    fn say(&self, text: &str) {
        // An error: nobody listens, and the exit status says it too.
        let _ = writeln!(std::io::stdout().lock(), "@{} {text}", self.tag);
    }

    /// A check that passes if `holds`; `detail` explains.
    pub fn check(&mut self, name: &str, holds: bool, detail: impl Display) {
        self.checks += 1;
        let verdict = if holds { "pass" } else { "fail" };
        self.say(&format!("event=check verdict={verdict} name={} ({detail})", name.replace(' ', "-")));
        if !holds {
            self.failures.push(format!("{name}: {detail}"));
        }
    }

    /// A check that two things are equal.
    pub fn equal<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, left: T, right: T) {
        let holds = left == right;
        let detail = if holds { format!("{left:?}") } else { format!("{left:?} is not {right:?}") };
        self.check(name, holds, detail);
    }

    /// A check that something was told or learned, without saying more.
    pub fn passed(&mut self, name: &str, detail: impl Display) {
        self.check(name, true, detail);
    }

    /// Takes the end of a group: an error in it is a failed check.
    pub fn group(&mut self, name: &str, ended: Ended) {
        if let Err(error) = ended {
            self.check(name, false, error);
        }
    }

    /// Says how it went.
    pub fn end(self) -> ExitCode {
        if self.failures.is_empty() {
            self.say(&format!("event=done checks={}", self.checks));
            return ExitCode::SUCCESS;
        }
        self.say(&format!("event=error what={}", self.failures.join("; ").replace(' ', "_")));
        ExitCode::FAILURE
    }
}
