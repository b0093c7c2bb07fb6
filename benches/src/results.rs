//! What was measured, as a file of comma-separated values: one figure of one run a line.

use crate::case::{Case, Measure, Spread};
use crate::peers::Peer;
use std::fmt::Write;

/// The first line behind the remarks.
const HEAD: &str = "measure,peer,packet_bytes,size,run,figure,value";

/// A figure of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What was measured.
    pub case: Case,
    /// Which run it was, counted from 1.
    pub run: usize,
    /// Which figure, with its unit.
    pub figure: String,
    /// The figure.
    pub value: f64,
}

/// All of a run of the benchmarks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// About the machine and the run, a line each.
    pub remarks: Vec<String>,
    /// The figures.
    pub records: Vec<Record>,
}

impl Results {
    /// As a file.
    pub fn to_csv(&self) -> String {
        let mut out = String::new();
        self.remarks.iter().for_each(|remark| out.push_str(&format!("# {remark}\n")));
        out.push_str(HEAD);
        out.push('\n');
        for Record { case, run, figure, value } in &self.records {
            let Case { measure, packet_bytes, size, peer } = case;
            let (measure, peer) = (measure.name(), peer.name());
            writeln!(out, "{measure},{peer},{packet_bytes},{size},{run},{figure},{value:.6}")
                .expect("a string takes all");
        }
        out
    }

    /// From a file. Lines about peers that this build does not have are left out.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let mut results = Self::default();
        for (number, line) in text.lines().enumerate() {
            if let Some(remark) = line.strip_prefix("# ") {
                results.remarks.push(remark.to_owned());
            } else if line != HEAD {
                let bad = || format!("line {}: `{line}` is not a result", number + 1);
                let words: Vec<&str> = line.split(',').collect();
                let [measure, peer, packet, size, run, figure, value] = words[..] else { return Err(bad()) };
                let Some(peer) = Peer::from_name(peer) else { continue };
                let case = Case {
                    measure: Measure::from_name(measure).ok_or_else(bad)?,
                    packet_bytes: packet.parse().map_err(|_| bad())?,
                    size: size.parse().map_err(|_| bad())?,
                    peer,
                };
                let (run, value) = (run.parse().map_err(|_| bad())?, value.parse().map_err(|_| bad())?);
                results.records.push(Record { case, run, figure: figure.to_owned(), value });
            }
        }
        Ok(results)
    }

    /// Puts in what was measured anew, in place of older figures of the same cases.
    pub fn replace(&mut self, newer: Self) {
        self.records.retain(|old| newer.records.iter().all(|new| new.case != old.case));
        self.records.extend(newer.records);
        self.remarks = newer.remarks;
    }

    /// A figure of a case over all runs.
    pub fn spread(&self, case: Case, figure: &str) -> Option<Spread> {
        let of_case = self.records.iter().filter(|record| record.case == case && record.figure == figure);
        Spread::of(&of_case.map(|record| record.value).collect::<Vec<_>>())
    }

    /// The cases of a measure, each once.
    pub fn cases(&self, measure: Measure) -> Vec<Case> {
        let mut cases: Vec<Case> = self.records.iter().map(|record| record.case).collect();
        cases.retain(|case| case.measure == measure);
        cases.sort_unstable();
        cases.dedup();
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Results {
        let case = Case { measure: Measure::Bulk, packet_bytes: 1400, size: 64, peer: Peer::Esock };
        let record = |run, value| Record { case, run, figure: "Gbit/s".to_owned(), value };
        Results { remarks: vec!["a machine".to_owned()], records: vec![record(1, 3.0), record(2, 1.5), record(3, 2.0)] }
    }

    #[test]
    fn results_survive_the_file() {
        assert_eq!(Results::from_csv(&sample().to_csv()), Ok(sample()));
        assert!(Results::from_csv("bulk,esock,1400,64,1,Gbit/s,fast").is_err_and(|said| said.contains("line 1")));
    }

    #[test]
    fn a_case_measured_again_takes_the_place_of_the_old_one() {
        let mut results = sample();
        let mut newer = sample();
        newer.records.truncate(1);
        results.replace(newer.clone());
        assert_eq!(results, newer);
    }

    #[test]
    fn the_spread_is_over_all_runs() {
        let results = sample();
        let spread = results.spread(results.cases(Measure::Bulk)[0], "Gbit/s");
        assert_eq!(spread, Some(Spread { median: 2.0, least: 1.5, most: 3.0 }));
    }
}
