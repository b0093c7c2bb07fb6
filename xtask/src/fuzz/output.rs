//! What libFuzzer says.

use std::fmt;
use std::time::Duration;

/// Where it stands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Inputs executed.
    pub executions: u64,
    /// Edges of the control flow that were reached, of all that there are.
    pub edges: u64,
    all_edges: u64,
    /// Features: edges with how often they were taken, and comparisons.
    pub features: u64,
    /// Inputs that each add something.
    pub corpus: u64,
    crash: Option<String>,
    artifact: Option<String>,
}

impl Progress {
    /// Takes one line of output.
    pub fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix('#') {
            self.status(rest);
        } else if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number.trim().parse().unwrap_or(self.executions);
        } else if let Some((_, rest)) = line.split_once(" inline 8-bit counters): ") {
            let number = rest.split_whitespace().next().and_then(|number| number.parse().ok());
            self.all_edges += number.unwrap_or(0);
        } else if let Some((_, problem)) = line.split_once("ERROR: libFuzzer: ") {
            self.crash.get_or_insert_with(|| problem.to_owned());
        } else if let Some((_, place)) = line.split_once("panicked at ") {
            self.crash = Some(format!("panic at {}", place.trim_end_matches(':')));
        } else if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.artifact = Some(path.to_owned());
        }
    }

    /// `1234 NEW cov: 12 ft: 34 corp: 5/67b lim: 89 exec/s: ...`
    fn status(&mut self, rest: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let Some(executions) = words.first().and_then(|word| word.parse().ok()) else { return };
        self.executions = executions;
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.split('/').next()?.parse().ok()
        };
        self.edges = after("cov:").unwrap_or(self.edges);
        self.features = after("ft:").unwrap_or(self.features);
        self.corpus = after("corp:").unwrap_or(self.corpus);
    }

    /// Whether it has failed.
    pub fn is_crash(&self) -> bool {
        self.crash.is_some()
    }

    /// How it failed, and where the input is.
    pub fn crash(&self) -> Option<String> {
        let crash = self.crash.as_ref()?;
        Some(match &self.artifact {
            Some(path) => format!("{crash}; the input is {path}"),
            None => crash.clone(),
        })
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { executions, edges, all_edges, features, corpus, .. } = self;
        write!(f, "{executions} executions, {edges} of {all_edges} edges, {features} features, corpus {corpus}")
    }
}

/// What came of one target.
#[derive(Debug)]
pub struct Findings {
    /// Its name.
    pub target: String,
    /// Where it stood in the end.
    pub progress: Progress,
    /// How long it ran.
    pub took: Duration,
    /// What is wrong.
    pub problem: Option<String>,
}

impl Findings {
    /// Nothing yet.
    pub fn new(target: &str) -> Self {
        Self { target: target.to_owned(), progress: Progress::default(), took: Duration::ZERO, problem: None }
    }

    /// One line of the result.
    pub fn line(&self) -> String {
        let verdict =
            self.problem.as_ref().map_or_else(|| "no crash".to_owned(), |problem| format!("FAILED: {problem}"));
        format!("{:<10}{:>5} s: {}: {verdict}", self.target, self.took.as_secs(), self.progress)
    }
}

/// All of it in one line; `Err` if anything failed.
pub fn summary(all: &[Findings]) -> Result<String, String> {
    let executions: u64 = all.iter().map(|findings| findings.progress.executions).sum();
    let failed: Vec<_> = all
        .iter()
        .filter_map(|findings| findings.problem.as_ref().map(|problem| format!("{}: {problem}", findings.target)))
        .collect();
    if all.is_empty() {
        Err("no target ran".to_owned())
    } else if failed.is_empty() {
        Ok(format!("{} targets, {executions} executions, no crash", all.len()))
    } else {
        Err(failed.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read() {
        let mut progress = Progress::default();
        for line in [
            "INFO: Loaded 1 modules   (12312 inline 8-bit counters): 12312 [0x5650b0a4b218, 0x5650b0a4e230), ",
            "#5116\tREDUCE cov: 3434 ft: 13891 corp: 1475/27Kb lim: 38 exec/s: 1279 rss: 32Mb L: 14/38 MS: 1 CrossOver-",
            "stat::number_of_executed_units: 5240",
        ] {
            progress.line(line);
        }
        assert_eq!(progress.to_string(), "5240 executions, 3434 of 12312 edges, 13891 features, corpus 1475");
        assert!(!progress.is_crash());
    }

    #[test]
    fn a_crash_is_told_with_its_place_and_its_input() {
        let mut findings = Findings::new("stack");
        for line in [
            "thread '<unnamed>' (12480) panicked at src/world.rs:388:13:",
            "an event after Closed: Readable",
            "==12480== ERROR: libFuzzer: deadly signal",
            "artifact_prefix='x/'; Test unit written to x/crash-1",
        ] {
            findings.progress.line(line);
        }
        findings.problem = findings.progress.crash();
        assert_eq!(findings.problem.as_deref(), Some("panic at src/world.rs:388:13; the input is x/crash-1"));
        assert!(summary(&[findings]).unwrap_err().starts_with("stack: panic at src/world.rs"));
        assert!(summary(&[]).is_err());
    }
}
