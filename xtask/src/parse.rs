//! Reads the output of `cargo test` as it passes by.

use std::collections::{BTreeMap, VecDeque};

/// This many lines of a failed test are kept, and this many characters of each.
const LINES: usize = 30;
const COLUMNS: usize = 1_000;

/// This many characters of why a test failed.
const REASON: usize = 300;

/// What is in the line in which a test says where it panicked.
const PANICKED: &str = " panicked at ";

/// What a run of `cargo test` said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that libtest counts as passed, those that skipped themselves included.
    libtest_passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Names of failed tests, with their binary.
    pub failures: Vec<String>,
    /// The end of what each failed test printed, by its name with its binary.
    pub said: BTreeMap<String, VecDeque<String>>,
    /// Why each failed: where it panicked, and the beginning of what it said there; or the first line of all.
    pub reasons: BTreeMap<String, String>,
    /// Names of ignored tests, with their binary and the reason if it was given.
    pub ignored: Vec<String>,
    /// Tests that ran without a peer they needed: who said so, and what was said.
    pub skipped: BTreeMap<String, String>,
}

impl Outcome {
    /// Tests that ran and passed.
    pub fn passed(&self) -> usize {
        self.libtest_passed.saturating_sub(self.skipped.len())
    }

    /// Tests that did not run.
    pub fn not_run(&self) -> usize {
        self.ignored.len() + self.skipped.len()
    }

    /// Adds what another run said.
    pub fn add(&mut self, other: Self) {
        self.libtest_passed += other.libtest_passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.said.extend(other.said);
        self.reasons.extend(other.reasons);
        self.ignored.extend(other.ignored);
        self.skipped.extend(other.skipped);
    }
}

/// Takes lines, keeps an [`Outcome`].
#[derive(Debug, Default)]
pub struct Parser {
    outcome: Outcome,
    binary: String,
    section: Option<String>,
    /// Whether what is printed comes from tests that failed.
    of_failures: bool,
    /// Whether it is a backtrace, which is long and says little.
    of_backtrace: bool,
}

impl Parser {
    /// Takes one line of output.
    pub fn line(&mut self, line: &str) {
        let plain = without_colours(line);
        let line = plain.trim();
        if let Some(binary) = binary_of(line) {
            self.binary = binary;
            (self.section, self.of_failures) = (None, false);
        } else if matches!(line, "successes:" | "failures:") {
            (self.section, self.of_failures) = (None, line == "failures:");
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
        } else if let Some(section) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
            self.section = Some(section.strip_suffix(" stdout").unwrap_or(section).to_owned());
        } else if self.of_failures && self.section.is_some() {
            self.of_backtrace = (self.of_backtrace || line == "stack backtrace:") && !line.starts_with("note: ");
            if !self.of_backtrace {
                self.keep(line);
            }
        } else if let Some((name, rest)) = line.strip_prefix("skipped: ").and_then(|rest| rest.split_once(": ")) {
            let who = self.section.clone().unwrap_or_else(|| name.to_owned());
            let what = format!("{name}: {rest}");
            self.outcome.skipped.insert(self.qualified(&who), what);
        } else if let Some((name, verdict)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            self.verdict(name.trim_end(), verdict);
        }
    }

    /// What all lines said.
    pub fn finish(self) -> Outcome {
        self.outcome
    }

    /// Keeps a line of the failed test whose section this is.
    fn keep(&mut self, line: &str) {
        let name = self.qualified(self.section.as_deref().unwrap_or_default());
        let reason = self.outcome.reasons.entry(name.clone()).or_default();
        if reason.is_empty() || (line.contains(PANICKED) && !reason.contains(PANICKED)) {
            *reason = line.chars().take(REASON).collect();
        } else if reason.contains(PANICKED)
            && !line.is_empty()
            && !line.starts_with("note: ")
            && reason.chars().count() < REASON
        {
            let room = REASON - reason.chars().count();
            reason.extend(" | ".chars().chain(line.chars()).take(room));
        }
        let lines = self.outcome.said.entry(name).or_default();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(COLUMNS).collect());
    }

    fn verdict(&mut self, name: &str, verdict: &str) {
        let qualified = self.qualified(name);
        if verdict == "FAILED" {
            self.outcome.failures.push(qualified);
        } else if let Some(reason) = verdict.strip_prefix("ignored") {
            let reason = reason.trim_start_matches([',', ' ']);
            let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            self.outcome.ignored.push(format!("{qualified}{reason}"));
        }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn result(&mut self, result: &str) {
        (self.section, self.of_failures) = (None, false);
        for part in result.split([';', '.']) {
            if let Some((number, what)) = part.trim().split_once(' ')
                && let Ok(number) = number.parse::<usize>()
            {
                match what {
                    "passed" => self.outcome.libtest_passed += number,
                    "failed" => self.outcome.failed += number,
                    _ => {}
                }
            }
        }
    }

    fn qualified(&self, name: &str) -> String {
        if self.binary.is_empty() { name.to_owned() } else { format!("{} {name}", self.binary) }
    }
}

/// The test binary that cargo announces, as `esock_proto` or `esock_cli (tests/demo.rs)`, or the
/// crate whose doc tests follow.
fn binary_of(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (doc)"));
    }
    let (what, file) = line.strip_prefix("Running ")?.split_once(" (")?;
    let file = file.strip_suffix(')')?.rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    match what.strip_prefix("unittests ") {
        Some(_) => Some(name.to_owned()),
        None => Some(what.to_owned()),
    }
}

/// `line` without terminal escape sequences.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // CSI sequences end with a letter.
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Outcome {
        let mut parser = Parser::default();
        text.lines().for_each(|line| parser.line(line));
        parser.finish()
    }

    #[test]
    fn results_of_several_binaries_are_summed_and_names_kept() {
        let outcome = parse(
            "     Running unittests src/lib.rs (target/debug/deps/esock_proto-0a1b)
running 4 tests
test serial::tests::wraps ... ok
test slow ... ignored, takes an hour
test other ... ignored
test bad   ... FAILED
test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s
   \u{1b}[1m\u{1b}[92mDoc-tests\u{1b}[0m esock
test crates/esock/src/lib.rs - (line 3) ... ok
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s",
        );
        assert_eq!(outcome.passed(), 13);
        assert_eq!(outcome.failed, 1);
        assert_eq!(outcome.failures, ["esock_proto bad"]);
        assert_eq!(outcome.ignored, ["esock_proto slow: takes an hour", "esock_proto other"]);
        assert_eq!(outcome.not_run(), 2);
    }

    #[test]
    fn a_test_that_skipped_its_peers_is_not_counted_as_passed() {
        let outcome = parse(
            "     Running interop/kernel.rs (target/debug/deps/kernel-0a1b)
test one_path ... ok
test two_paths ... ok
successes:
---- one_path stdout ----
skipped: kernel: linux.uml is not installed
skipped: tshark: not installed
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        );
        assert_eq!(outcome.passed(), 1);
        assert_eq!(outcome.not_run(), 1);
        assert_eq!(outcome.skipped["interop/kernel.rs one_path"], "tshark: not installed");
    }

    #[test]
    fn the_end_of_what_failed_tests_printed_is_kept() {
        let mut text = String::from(
            "     Running interop/suite.rs (target/debug/deps/suite-0a1b)
successes:
---- good stdout ----
all is well
successes:
    good
failures:
---- bad stdout ----
",
        );
        (0..=LINES).for_each(|line| text.push_str(&format!("line {line}\n")));
        text.push_str(
            "---- worse ----\nthread panicked\nstack backtrace:\n   0: main\nnote: more\nfailures:\n    bad\n    worse\ntest result: FAILED. 1 passed; 2 failed",
        );
        let said = parse(&text).said;
        assert_eq!(said.keys().collect::<Vec<_>>(), ["interop/suite.rs bad", "interop/suite.rs worse"]);
        let bad = &said["interop/suite.rs bad"];
        assert_eq!((bad.len(), bad[0].as_str(), bad[LINES - 1].as_str()), (LINES, "line 1", "line 30"));
        assert_eq!(said["interop/suite.rs worse"], ["thread panicked", "note: more"]);
    }

    #[test]
    fn why_a_test_failed_is_kept_however_much_it_said() {
        let mut text =
            String::from("failures:\n---- a stdout ----\nport 7\n\nthread 'a' panicked at a.rs:3:4:\nno route\n");
        (0..=LINES).for_each(|line| text.push_str(&format!("trace {line}, which is of any length\n")));
        text.push_str("---- b ----\n12.0 s too late\ntrace\ntest result: FAILED. 0 passed; 2 failed");
        let reasons = parse(&text).reasons;
        assert!(reasons["a"].starts_with("thread 'a' panicked at a.rs:3:4: | no route | trace 0,"), "{reasons:?}");
        assert_eq!((reasons["a"].chars().count(), reasons["b"].as_str()), (REASON, "12.0 s too late"));
    }

    #[test]
    fn chatter_is_not_taken_for_results() {
        assert_eq!(parse("running 3 tests\ntesting: 5 failed; 2 passed\nskipped:"), Outcome::default());
    }
}
