//! What `cargo xtask test` says at the end.

use crate::parse::Outcome;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// A part that has run.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    took: Duration,
    limit: Duration,
    problem: Option<String>,
    outcome: Option<Outcome>,
    says: Option<String>,
}

impl Part {
    /// A part without tests; `problem` if it failed.
    pub fn check(name: &'static str, took: Duration, limit: Duration, problem: Option<String>) -> Self {
        Self { name, took, limit, problem, outcome: None, says: None }
    }

    /// A part with tests; `problem` if it failed.
    pub fn tests(
        name: &'static str,
        took: Duration,
        limit: Duration,
        problem: Option<String>,
        outcome: Outcome,
    ) -> Self {
        let nothing_ran = outcome.passed() + outcome.failed + outcome.not_run() == 0;
        let problem = problem.or_else(|| nothing_ran.then(|| "not a single test ran".to_owned()));
        Self { name, took, limit, problem, outcome: Some(outcome), says: None }
    }

    /// What a part without tests did.
    #[must_use]
    pub fn says(self, what: &str) -> Self {
        Self { says: Some(what.to_owned()), ..self }
    }

    /// Whether it failed in another way than by a failed test: that counts as one failure.
    fn failed_itself(&self) -> bool {
        self.problem.is_some() && self.outcome.as_ref().is_none_or(|outcome| outcome.failed == 0)
    }
}

/// All parts that have run.
#[derive(Debug)]
pub struct Report {
    peers: bool,
    parts: Vec<Part>,
}

impl Report {
    /// Nothing has run. `peers`: whether tests with other implementations must run.
    pub fn new(peers: bool) -> Self {
        Self { peers, parts: Vec::new() }
    }

    /// Adds a part, and says at once if it failed or took too long.
    pub fn add(&mut self, part: Part) {
        if let Some(problem) = &part.problem {
            println!("--- {} failed: {problem}", part.name);
        }
        self.parts.push(part);
    }

    /// Whether nothing has failed so far.
    pub fn is_good(&self) -> bool {
        self.parts.iter().all(|part| part.problem.is_none())
    }

    /// Prints the report; the exit code says whether all is well.
    pub fn finish(self, took: Duration, limit: Duration) -> ExitCode {
        let (text, good) = self.text(took, limit);
        print!("{text}");
        if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The report, and whether all is well. Its last line has the counts.
    fn text(self, took: Duration, limit: Duration) -> (String, bool) {
        let mut text = String::new();
        // Here too, where whoever sees but the end of the output finds it.
        for (name, lines) in self.parts.iter().filter_map(|part| part.outcome.as_ref()).flat_map(|tests| &tests.said) {
            line(&mut text, format_args!("\n=== the end of what {name} said"));
            lines.iter().for_each(|said| line(&mut text, format_args!("{said}")));
        }
        text.push_str("\n=== report\n");
        for part in &self.parts {
            part_line(&mut text, part);
        }
        let over = if took > limit { " - TOO LONG" } else { "" };
        let allowed = limit.as_secs() / 60;
        line(
            &mut text,
            format_args!("{:<12}{:>8.1} s of {allowed} minutes allowed{over}", "total", took.as_secs_f64()),
        );

        let failed_parts: Vec<&Part> = self.parts.iter().filter(|part| part.failed_itself()).collect();
        let mut failed = failed_parts.len() + usize::from(took > limit);
        for part in failed_parts {
            line(&mut text, format_args!("failed: {}", part.name));
        }
        let mut all = Outcome::default();
        for part in self.parts {
            all.add(part.outcome.unwrap_or_default());
        }
        failed += all.failed;
        for name in &all.failures {
            let reason = all.reasons.get(name).map(|reason| format!(": {reason}")).unwrap_or_default();
            line(&mut text, format_args!("failed: {name}{reason}"));
        }
        for name in &all.ignored {
            line(&mut text, format_args!("ignored: {name}"));
        }
        for (who, what) in &all.skipped {
            line(&mut text, format_args!("skipped: {who}: {what}"));
        }
        let peer_missing = self.peers && !all.skipped.is_empty();
        if peer_missing {
            line(&mut text, format_args!("a peer was skipped: that is a failure (unless --no-peers)"));
        }
        line(&mut text, format_args!("{} passed, {failed} failed, {} skipped", all.passed(), all.not_run()));
        (text, failed == 0 && !peer_missing)
    }
}

fn part_line(text: &mut String, part: &Part) {
    let mut says = match &part.outcome {
        Some(outcome) => {
            format!("{} passed, {} failed, {} skipped", outcome.passed(), outcome.failed, outcome.not_run())
        }
        None => match (&part.problem, &part.says) {
            (Some(_), _) => "failed".to_owned(),
            (None, Some(what)) => format!("ok: {what}"),
            (None, None) => "ok".to_owned(),
        },
    };
    if let (Some(problem), Some(_)) = (&part.problem, &part.outcome) {
        says = format!("{says} ({problem})");
    }
    if part.took > part.limit {
        says = format!("{says} - longer than its {} s", part.limit.as_secs());
    }
    line(text, format_args!("{:<12}{:>8.1} s  {says}", part.name, part.took.as_secs_f64()));
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Parser;

    const SECOND: Duration = Duration::from_secs(1);

    fn outcome(lines: &str) -> Outcome {
        let mut parser = Parser::default();
        lines.lines().for_each(|line| parser.line(line));
        parser.finish()
    }

    fn report(peers: bool, parts: Vec<Part>) -> (String, bool) {
        let mut report = Report::new(peers);
        report.parts = parts;
        report.text(SECOND, SECOND * 60)
    }

    #[test]
    fn the_last_line_has_the_counts_and_nothing_else() {
        let tests = outcome("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured");
        let (text, good) = report(true, vec![Part::tests("unit", SECOND, SECOND, None, tests)]);
        assert_eq!(text.lines().last(), Some("7 passed, 0 failed, 0 skipped"));
        assert!(good);
    }

    #[test]
    fn a_failed_check_counts_as_a_failure() {
        let problem = Some("exit status: 1".to_owned());
        let (text, good) = report(true, vec![Part::check("clippy", SECOND, SECOND, problem)]);
        assert!(text.ends_with("failed: clippy\n0 passed, 1 failed, 0 skipped\n"), "{text}");
        assert!(!good);
    }

    #[test]
    fn a_check_tells_what_it_did() {
        let part = Part::check("fuzz", SECOND, SECOND, None).says("5 targets, 7 executions, no crash");
        let (text, good) = report(true, vec![part]);
        assert!(good && text.contains("s  ok: 5 targets, 7 executions, no crash\n"), "{text}");
    }

    #[test]
    fn a_failed_test_is_counted_once() {
        let tests = outcome("test a ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored");
        let problem = Some("exit status: 101".to_owned());
        let (text, good) = report(true, vec![Part::tests("unit", SECOND, SECOND, problem, tests)]);
        assert!(text.ends_with("failed: a\n1 passed, 1 failed, 0 skipped\n"), "{text}");
        assert!(!good);
    }

    #[test]
    fn what_a_failed_test_said_stands_before_the_report() {
        let tests = outcome(
            "test a ... FAILED\nfailures:\n---- a stdout ----\nno route\ntest result: FAILED. 0 passed; 1 failed",
        );
        let (text, _) =
            report(true, vec![Part::tests("unit", SECOND, SECOND, Some("exit status: 101".to_owned()), tests)]);
        assert!(text.starts_with("\n=== the end of what a said\nno route\n\n=== report\n"), "{text}");
        assert!(text.ends_with("failed: a: no route\n0 passed, 1 failed, 0 skipped\n"), "{text}");
    }

    #[test]
    fn a_part_in_which_no_test_ran_failed() {
        let (_, good) = report(true, vec![Part::tests("unit", SECOND, SECOND, None, outcome(""))]);
        assert!(!good);
    }

    #[test]
    fn a_skipped_peer_is_a_failure_unless_peers_were_left_out() {
        let lines = "---- a stdout ----\nskipped: kernel: not installed\ntest result: ok. 2 passed; 0 failed";
        for (peers, expected) in [(true, false), (false, true)] {
            let tests = outcome(lines);
            let part = Part::tests("interop", SECOND, SECOND, None, tests);
            let (text, good) = report(peers, vec![part]);
            assert_eq!(good, expected);
            assert!(text.contains("skipped: a: kernel: not installed"), "{text}");
            assert!(text.ends_with("1 passed, 0 failed, 1 skipped\n"), "{text}");
        }
    }

    #[test]
    fn taking_longer_than_allowed_is_a_failure() {
        let report = Report::new(true);
        let (text, good) = report.text(SECOND * 2, SECOND);
        assert!(!good && text.ends_with("0 passed, 1 failed, 0 skipped\n"), "{text}");
    }
}
