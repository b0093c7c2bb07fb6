//! Reads the output of `cargo test` as it passes by.

use std::collections::BTreeMap;

/// What a run of `cargo test` said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that libtest counts as passed, those that skipped themselves included.
    libtest_passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Names of failed tests, with their binary.
    pub failures: Vec<String>,
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
}

impl Parser {
    /// Takes one line of output.
    pub fn line(&mut self, line: &str) {
        let plain = without_colours(line);
        let line = plain.trim();
        if let Some(binary) = binary_of(line) {
            self.binary = binary;
            self.section = None;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
        } else if let Some(section) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.section = Some(section.to_owned());
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
        self.section = None;
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
    fn chatter_is_not_taken_for_results() {
        assert_eq!(parse("running 3 tests\ntesting: 5 failed; 2 passed\nskipped:"), Outcome::default());
    }
}
