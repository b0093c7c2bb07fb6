//! What peers say: one line an event, `@TAG event=NAME key=value ...`.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// One line of a peer, without its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// Splits a line of output into its tag and what was said; `None` for anything else (a kernel's messages).
    pub fn parse(line: &str) -> Option<(&str, Line)> {
        let (tag, rest) = line.trim().strip_prefix('@')?.split_once(' ')?;
        Some((tag, Line(rest.to_owned())))
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The number under a key.
    ///
    /// # Panics
    /// If there is none.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.value(key).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("`{}` has no number `{key}`", self.0))
    }

    /// What happened.
    pub fn event(&self) -> &str {
        self.value("event").unwrap_or_default()
    }

    /// Whether every `key=value` of `pattern` (words separated by spaces) is in the line.
    pub fn matches(&self, pattern: &str) -> bool {
        pattern.split(' ').all(|wanted| self.0.split(' ').any(|word| word == wanted))
    }
}

/// The lines of one peer, as they come, and those that came.
#[derive(Debug)]
pub struct Lines {
    name: String,
    source: Receiver<Line>,
    /// Everything it said so far, with the time since the peer was started.
    log: Vec<(Duration, Line)>,
    /// How much of the log has been looked at.
    seen: usize,
    started: Instant,
}

impl Lines {
    /// The lines from `source`, of a peer called `name`.
    pub fn new(name: &str, source: Receiver<Line>) -> Self {
        Self { name: name.to_owned(), source, log: Vec::new(), seen: 0, started: Instant::now() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the next line that matches `pattern`, passing over others.
    ///
    /// # Panics
    /// If it does not come before `deadline`, or the peer reports an error, a timeout or its exit before.
    pub fn wait(&mut self, pattern: &str, deadline: Instant) -> Line {
        loop {
            while let Some((_, line)) = self.log.get(self.seen) {
                self.seen += 1;
                if line.matches(pattern) {
                    return line.clone();
                }
                if ["error", "timeout", "exit"].contains(&line.event()) {
                    panic!("{}: waited for `{pattern}`, heard `{}`\n{}", self.name, line.0, self.transcript());
                }
            }
            match self.source.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.log.push((self.started.elapsed(), line)),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{}: waited in vain for `{pattern}`\n{}", self.name, self.transcript())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{}: ended while `{pattern}` was awaited\n{}", self.name, self.transcript())
                }
            }
        }
    }

    /// The last line so far that matches, among all that it said; takes what has come without waiting.
    pub fn last(&mut self, pattern: &str) -> Option<&Line> {
        while let Ok(line) = self.source.try_recv() {
            self.log.push((self.started.elapsed(), line));
        }
        self.log.iter().rev().map(|(_, line)| line).find(|line| line.matches(pattern))
    }

    /// The end of what it said, for a test that fails; of the many lines about progress only the last.
    pub fn transcript(&self) -> String {
        let told = self.log.iter().filter(|(_, line)| !["progress", "path-stats"].contains(&line.event()));
        let lines: Vec<String> = told.map(|(at, line)| format!("  {:8.3} {}", at.as_secs_f64(), line.0)).collect();
        let frequent = self.log.iter().rev().filter(|(_, line)| ["progress", "path-stats"].contains(&line.event()));
        let progress =
            frequent.take(4).map(|(at, line)| format!("  {:8.3} {} (among the last)", at.as_secs_f64(), line.0));
        let skipped = lines.len().saturating_sub(60);
        let shown: Vec<String> = lines.into_iter().skip(skipped).chain(progress).collect();
        format!("{} said:\n{}", self.name, shown.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_into_its_tag_and_its_values() {
        let (tag, line) = Line::parse("@c1 event=up out=10 in=12\n").unwrap();
        assert_eq!((tag, line.event(), line.number("in")), ("c1", "up", 12));
        assert!(line.matches("event=up out=10") && !line.matches("out=1"));
        assert_eq!(Line::parse("[    0.1] kernel noise"), None);
    }
}
