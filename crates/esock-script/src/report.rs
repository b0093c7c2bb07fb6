//! What a run says: the trace, and where and how it failed.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// What happened, in order.
    pub trace: Vec<Entry>,
    /// The packets that passed, as bytes.
    pub traffic: Traffic,
    /// Where it went wrong, if it did.
    pub failure: Option<Failure>,
}

/// A capture of a run.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Addresses of the stack.
    pub stack: Vec<IpAddr>,
    /// Addresses of its peer.
    pub peer: Vec<IpAddr>,
    /// In the order in which they were sent.
    pub packets: Vec<Passed>,
}

/// A packet that passed.
#[derive(Debug, Clone)]
pub struct Passed {
    /// Since the script began.
    pub at: Duration,
    /// Whether the stack sent it, or else it was sent to the stack.
    pub by_stack: bool,
    /// The address that it comes from.
    pub from: IpAddr,
    /// The address that it goes to.
    pub to: IpAddr,
    /// The peer's UDP port, unless it was native.
    pub udp: Option<u16>,
    /// The SCTP packet.
    pub bytes: Vec<u8>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Since the script began.
    pub at: Duration,
    /// The line of the script that brought it about or was fulfilled by it; 0: none yet.
    pub line: usize,
    /// In the notation of scripts.
    pub text: String,
}

/// A script that cannot be read, or that the stack does not fulfil.
#[derive(Debug, Clone)]
pub struct Failure {
    script: String,
    line: usize,
    text: String,
    /// When; `None` for a script that cannot be read.
    at: Option<Duration>,
    problem: String,
    trace: Vec<Entry>,
}

/// Entries that a failure shows.
const SHOWN: usize = 12;

impl Failure {
    pub(crate) fn in_script(script: &str, line: usize, text: &str, problem: String) -> Self {
        Self { script: script.to_owned(), line, text: text.trim().to_owned(), at: None, problem, trace: Vec::new() }
    }

    pub(crate) fn in_run(
        script: &str,
        (line, text): (usize, &str),
        at: Duration,
        problem: String,
        trace: &[Entry],
    ) -> Self {
        let trace = trace[trace.len().saturating_sub(SHOWN)..].to_vec();
        Self { at: Some(at), trace, ..Self::in_script(script, line, text, problem) }
    }

    /// The line of the script.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.script, self.line, self.problem)?;
        write!(f, "\n\n  line {}:  {}", self.line, self.text.replace('\n', "\n           "))?;
        if let Some(at) = self.at {
            write!(f, "\n  time:    {}", Seconds(at))?;
        }
        if !self.trace.is_empty() {
            f.write_str("\n\n  what happened before:")?;
            self.trace.iter().try_for_each(|entry| write!(f, "\n  {entry}"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = if self.line == 0 { String::new() } else { self.line.to_string() };
        write!(f, "{line:>4}  {:>12}  {}", Seconds(self.at).to_string(), self.text)
    }
}

/// A time in seconds, as exact as it is.
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        let places = match nanos {
            nanos if nanos % 1_000_000 == 0 => 3,
            nanos if nanos % 1_000 == 0 => 6,
            _ => 9,
        };
        let part = format!("{nanos:09}");
        write!(f, "{}.{} s", self.0.as_secs(), &part[..places])
    }
}
