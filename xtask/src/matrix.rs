//! The matrix in the README: peer by feature, made from what the tests say they have shown.
//!
//! A test says `matrix: PEER | FEATURE | DETAIL` as the last thing it does; a fourth part is a remark, which is put
//! under the table. What is told of one feature of one peer is put together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

const BEGIN: &str = "<!-- matrix:begin -->";
const END: &str = "<!-- matrix:end -->";

/// The peers, in the order of their columns: what their names begin with.
const PEERS: [&str; 5] = ["Linux", "usrsctp", "dcsctp", "sctp-proto", "rtc-sctp"];

/// The features, in the order of their rows.
const FEATURES: [&str; 26] = [
    "we connect",
    "they connect",
    "both connect at once",
    "streams out / in",
    "extensions agreed on",
    "extensions offered and declined",
    "RE-CONFIG not agreed on",
    "messages of all sizes, both ways at once",
    "64 MB, both ways at once",
    "messages larger than the windows",
    "losses",
    "losses of 15 % in handshake and shutdown",
    "reordering and duplicates",
    "TSNs wrap",
    "our window shut for 30 s",
    "their window shut for 30 s",
    "IPv6",
    "two paths, each fails once",
    "any UDP port of ours is learnt",
    "encapsulation is found out",
    "we shut down",
    "they shut down",
    "we abort",
    "they abort",
    "we restart",
    "they restart",
];

/// What tests have shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By peer and feature: details and remarks.
    cells: BTreeMap<(String, String), Cell>,
    /// Lines that could not be taken.
    problems: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Cell {
    details: BTreeSet<String>,
    remarks: BTreeSet<String>,
}

impl Facts {
    /// Takes a line of a test's output, if it is one of ours.
    pub fn line(&mut self, line: &str) {
        let Some(fact) = line.trim().strip_prefix("matrix: ") else { return };
        let parts: Vec<&str> = fact.split(" | ").map(str::trim).collect();
        let (peer, feature, detail, remark) = match parts[..] {
            [peer, feature, detail] => (peer, feature, detail, None),
            [peer, feature, detail, remark] => (peer, feature, detail, Some(remark)),
            _ => return self.problems.push(format!("not PEER | FEATURE | DETAIL: {line}")),
        };
        if !FEATURES.contains(&feature) || !PEERS.iter().any(|known| peer.starts_with(known)) {
            return self.problems.push(format!("the matrix has no place for: {line}"));
        }
        let cell = self.cells.entry((peer.to_owned(), feature.to_owned())).or_default();
        cell.details.extend(detail.split(", ").map(str::to_owned));
        cell.remarks.extend(remark.map(str::to_owned));
    }

    /// The table, and the remarks under it.
    ///
    /// The error says what is missing or wrong.
    fn table(&self) -> Result<String, String> {
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        let names: BTreeSet<&str> = self.cells.keys().map(|(peer, _)| peer.as_str()).collect();
        let mut peers = Vec::new();
        for known in PEERS {
            match names.iter().filter(|name| name.starts_with(known)).collect::<Vec<_>>()[..] {
                [name] => peers.push(*name),
                [] => return Err(format!("no test has said anything of {known}")),
                ref several => return Err(format!("{known} has several names: {several:?}")),
            }
        }
        let mut remarks = Vec::new();
        let mut rows = format!("| | {} |\n|---|{}\n", peers.join(" | "), "---|".repeat(peers.len()));
        for feature in FEATURES {
            let cells: Vec<String> = peers.iter().map(|peer| self.cell(peer, feature, &mut remarks)).collect();
            // Writing to a String does not fail.
            let _ = writeln!(rows, "| {feature} | {} |", cells.join(" | "));
        }
        if !remarks.is_empty() {
            rows.push('\n');
        }
        for (number, remark) in remarks.iter().enumerate() {
            let _ = writeln!(rows, "{}. {remark}", number + 1);
        }
        Ok(rows)
    }

    fn cell(&self, peer: &str, feature: &str, remarks: &mut Vec<String>) -> String {
        let Some(cell) = self.cells.get(&(peer.to_owned(), feature.to_owned())) else { return "-".to_owned() };
        // In some runs none, in others something: something.
        let several = cell.details.len() > 1;
        let details = cell.details.iter().map(String::as_str).filter(|detail| !(several && *detail == "none"));
        let mut text = details.collect::<Vec<_>>().join(", ");
        for remark in &cell.remarks {
            let remark = format!("{peer}: {remark}");
            let known = remarks.iter().position(|other| *other == remark);
            let number = known.unwrap_or_else(|| {
                remarks.push(remark);
                remarks.len() - 1
            });
            let _ = write!(text, " [{}]", number + 1);
        }
        text
    }

    /// Compares the table with the README's, or writes it there.
    pub fn settle(&self, root: &Path, write: bool) -> Result<(), String> {
        let file = root.join("README.md");
        let readme = std::fs::read_to_string(&file).map_err(|error| format!("README.md: {error}"))?;
        let current = replaced(&readme, &self.table()?)?;
        if current == readme {
            println!("the matrix in README.md is what the tests have shown");
            return Ok(());
        }
        if write {
            std::fs::write(&file, current).map_err(|error| format!("README.md: {error}"))?;
            println!("the matrix in README.md was written");
            return Ok(());
        }
        let old: Vec<&str> = readme.lines().collect();
        let new = current.lines().filter(|line| !old.contains(line)).collect::<Vec<_>>();
        Err(format!("the matrix in README.md is out of date, run `cargo xtask matrix`; new lines:\n{}", new.join("\n")))
    }
}

/// Writes the table from the output of tests that ran before, if none of them failed.
pub fn write_from(root: &Path, file: &Path) -> ExitCode {
    let output = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
    let settled = output.and_then(|output| {
        let mut facts = Facts::default();
        output.lines().for_each(|line| facts.line(line));
        match output.lines().find(|line| line.starts_with("test ") && line.ends_with("FAILED")) {
            Some(failed) => Err(format!("{}: {failed}", file.display())),
            None => facts.settle(root, true),
        }
    });
    match settled {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// `readme` with another table between its markers.
fn replaced(readme: &str, table: &str) -> Result<String, String> {
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(|| format!("README.md has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("README.md has no {END} behind {BEGIN}"))?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(lines: &str) -> Facts {
        let mut facts = Facts::default();
        lines.lines().for_each(|line| facts.line(line));
        facts
    }

    const ALL: &str = "matrix: Linux 6.1 | we connect | raw IP
chatter
  matrix: Linux 6.1 | we connect | UDP
matrix: usrsctp 0.9.5 | IPv6 | UDP
matrix: dcsctp 1.0 | we connect | yes
matrix: dcsctp 1.0 | extensions agreed on | none
matrix: dcsctp 1.0 | extensions agreed on | b, a
matrix: dcsctp 1.0 | extensions agreed on | a
matrix: rtc-sctp 1.0 | extensions agreed on | none
matrix: sctp-proto 1.0 | we abort | yes | after a while
matrix: rtc-sctp 1.0 | we abort | yes";

    #[test]
    fn what_tests_have_shown_is_put_together() {
        let table = facts(ALL).table().unwrap();
        let header = "| | Linux 6.1 | usrsctp 0.9.5 | dcsctp 1.0 | sctp-proto 1.0 | rtc-sctp 1.0 |\n|---|---|";
        assert!(table.starts_with(header), "{table}");
        assert!(table.contains("| we connect | UDP, raw IP | - | yes | - | - |\n"), "{table}");
        assert!(table.contains("| extensions agreed on | - | - | a, b | - | none |\n"), "{table}");
        assert!(table.contains("| we abort | - | - | - | yes [1] | yes |\n"), "{table}");
        assert!(table.ends_with("\n\n1. sctp-proto 1.0: after a while\n"), "{table}");
    }

    #[test]
    fn an_unknown_feature_a_missing_peer_and_two_versions_of_one_are_refused() {
        for (line, said) in [
            ("matrix: dcsctp 1.0 | flies | yes", "no place for"),
            ("matrix: pion 1.0 | we connect | yes", "no place for"),
            ("matrix: dcsctp 1.0 | we connect", "not PEER"),
            ("matrix: dcsctp 1.1 | we connect | yes", "several names"),
        ] {
            let error = facts(&format!("{ALL}\n{line}")).table().unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        let error = facts(&ALL.replace("matrix: dcsctp", "")).table().unwrap_err();
        assert!(error.contains("anything of dcsctp"), "{error}");
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced_and_the_readme_has_them() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let new = replaced(&old, "| table |\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\n\n| table |\n\n{END}\nz\n"));
        assert_eq!(replaced(&new, "| table |\n").as_ref(), Ok(&new));
        let readme = std::fs::read_to_string(crate::root().join("README.md")).unwrap();
        assert!(replaced(&readme, "").is_ok());
    }
}
