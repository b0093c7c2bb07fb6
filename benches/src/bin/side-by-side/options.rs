//! The command line.

use esock_benches::Plan;
use std::path::PathBuf;
use std::time::Duration;

/// What can be asked for.
pub const HELP: &str = "\
All candidates side by side over loopback, in alternating runs.

Usage: cargo xtask bench [OPTIONS]

Options:
  --quick        A first look: short runs, three of each
  --runs N       Runs of each candidate (default 5)
  --seconds S    How long each run is measured (default 1)
  --only WORD    Only cases that have this word: a measure (bulk, ping-pong, setup ...), a candidate (esock, tcp ...),
                 a size in bytes, or packets=BYTES. Given more than once, all must fit; a|b is one of both.
                 Only if named: setup-curve, the rate of setup where there are up to 100,000 associations already
  --append       Keep the results of other cases from the last run
  --out DIR      Where the results go (default benches/results, or target/bench with --quick or --only)
  --render       Measure nothing; write the tables and charts of the last results anew
";

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long things are measured.
    pub plan: Plan,
    /// Runs of each case.
    pub runs: usize,
    /// Words that a case must have.
    pub only: Vec<String>,
    /// Whether other results are kept.
    pub append: bool,
    /// Where the results go.
    pub out: PathBuf,
    /// Whether only tables and charts are written.
    pub render: bool,
}

impl Options {
    /// `None`: the help is wanted.
    pub fn parse(words: &[String]) -> Result<Option<Self>, String> {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut options = Self {
            plan: Plan::default(),
            runs: 5,
            only: Vec::new(),
            append: false,
            out: root.join("benches/results"),
            render: false,
        };
        let (mut out, mut quick) = (None, false);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` wants a value"));
            match word {
                "-h" | "--help" => return Ok(None),
                "--quick" => quick = true,
                "--append" => options.append = true,
                "--render" => options.render = true,
                "--only" => options.only.push(value()?.to_owned()),
                "--out" => out = Some(PathBuf::from(value()?)),
                "--runs" => {
                    options.runs = value()?.parse().ok().filter(|runs| *runs > 0).ok_or("--runs wants a number")?;
                }
                "--seconds" => {
                    let seconds = value()?.parse().ok().filter(|seconds| (0.01..3600.0).contains(seconds));
                    options.plan.measure = Duration::from_secs_f64(seconds.ok_or("--seconds wants a number of them")?);
                }
                other => return Err(format!("there is no option `{other}`")),
            }
        }
        if quick {
            options.runs = options.runs.min(3);
            options.plan.warm_up = Duration::from_millis(200);
            options.plan.measure = options.plan.measure.min(Duration::from_millis(300));
            options.plan.exchanges = 3_000;
        }
        if quick || !options.only.is_empty() {
            options.out = root.join("target/bench");
        }
        options.out = out.unwrap_or(options.out);
        Ok(Some(options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Options>, String> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_understood() {
        let options = parse("--runs 2 --seconds 0.5 --only bulk --only esock|tcp --append").unwrap().unwrap();
        assert_eq!((options.runs, options.plan.measure.as_millis(), options.append), (2, 500, true));
        assert_eq!(options.only, ["bulk", "esock|tcp"]);
        assert!(options.out.ends_with("target/bench"), "a part is no result of the whole");
        assert!(parse("").unwrap().unwrap().out.ends_with("benches/results"));
        assert!(parse("--help").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for bad in ["--slow", "--runs", "--runs 0", "--seconds fast"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
