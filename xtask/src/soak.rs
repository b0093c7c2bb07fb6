//! `cargo xtask soak`: days of traffic in virtual time.

use crate::exec::{self, Ended};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Building, and the round that is under way when the time has come.
const SPARE: Duration = Duration::from_secs(30 * 60);
/// How long a soak is if nothing is said.
const MINUTES: f64 = 10.0;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Options {
    /// Wall time.
    pub minutes: Option<f64>,
    /// Virtual time.
    pub days: Option<f64>,
    /// Which soak.
    pub seed: Option<u64>,
}

impl Options {
    /// Reads the words behind `soak`.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{word}` needs a number, or is no option of `soak`"))?;
            let bad = || format!("`{word}` takes a number above zero, not `{value}`");
            let positive = || value.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
            match *word {
                "--minutes" => options.minutes = Some(positive().ok_or_else(bad)?),
                "--days" => options.days = Some(positive().ok_or_else(bad)?),
                "--seed" => options.seed = Some(value.parse().map_err(|_| bad())?),
                other => return Err(format!("`soak` has no option `{other}`")),
            }
        }
        if options.minutes.is_none() && options.days.is_none() {
            options.minutes = Some(MINUTES);
        }
        Ok(options)
    }
}

/// Runs it, with its progress shown.
pub fn run(root: &Path, options: Options) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command.args(["test", "--profile", "soak", "--package", "esock-sim", "--test", "soak", "--locked"]);
    command.args(["--", "--nocapture"]);
    let set = [
        ("ESOCK_SOAK_MINUTES", options.minutes.map(|number| number.to_string())),
        ("ESOCK_SOAK_DAYS", options.days.map(|number| number.to_string())),
        ("ESOCK_SOAK_SEED", options.seed.map(|number| number.to_string())),
    ];
    for (name, value) in set {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Without a limit of wall time, a year is one.
    let wall =
        options.minutes.map_or(Duration::from_secs(365 * 86_400), |minutes| Duration::from_secs_f64(minutes * 60.0));
    match exec::run(&mut command, Instant::now() + wall + SPARE, |_| ()) {
        Ended::Well => ExitCode::SUCCESS,
        Ended::Badly(why) => {
            println!("the soak failed: {why}");
            ExitCode::FAILURE
        }
        Ended::OutOfTime => {
            println!("the soak was stopped: it takes half an hour longer than asked for");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_what_is_wrong_is_named() {
        let options = Options::parse(&["--minutes", "0.5", "--seed", "7"]).unwrap();
        assert_eq!(options, Options { minutes: Some(0.5), days: None, seed: Some(7) });
        assert_eq!(Options::parse(&[]).unwrap().minutes, Some(MINUTES));
        assert_eq!(Options::parse(&["--days", "3"]).unwrap().minutes, None);
        for bad in [&["--minutes"][..], &["--minutes", "0"], &["--days", "x"], &["--seed", "-1"], &["--hours", "1"]] {
            assert!(Options::parse(bad).unwrap_err().contains(bad[0]), "{bad:?}");
        }
    }
}
