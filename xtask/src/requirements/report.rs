//! The report: what is covered by which tests, and what is not.

use super::citations::Citation;
use super::list::{Level, List, Requirement, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What became of a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// A test cites it.
    Covered,
    /// It is departed from, and the list says why.
    Deviation,
    /// It does not bind the stack.
    NotApplicable,
    /// No test cites it.
    Open,
}

/// A list with the tests that cite it.
pub struct Coverage<'a> {
    list: &'a List,
    tests: BTreeMap<&'a str, BTreeSet<(&'a str, &'a str)>>,
}

impl<'a> Coverage<'a> {
    /// Resolves the citations; those of unknown sections and requirements are mistakes.
    pub fn new(list: &'a List, citations: &'a [Citation]) -> Result<Self, Vec<String>> {
        let mut tests: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let mut problems = Vec::new();
        for citation in citations {
            let target = citation.target.as_str();
            let known = if target.contains('-') { list.find(target).is_some() } else { list.section(target).is_some() };
            if known {
                tests.entry(target).or_default().insert((citation.file.as_str(), citation.test.as_str()));
            } else {
                problems.push(format!("{}:{}: the list has no §{target}", citation.file, citation.line));
            }
        }
        if problems.is_empty() { Ok(Self { list, tests }) } else { Err(problems) }
    }

    /// A citation of a section alone covers nothing: it does not say what of it.
    fn of(&self, id: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.tests.get(id).into_iter().flatten().copied()
    }

    /// What became of a requirement.
    pub fn status(&self, section: &Section, requirement: &Requirement) -> Status {
        // A test of what is done instead does not make it conformant.
        if requirement.not_applicable.is_some() {
            Status::NotApplicable
        } else if requirement.deviation.is_some() {
            Status::Deviation
        } else if self.of(&full(section, requirement)).next().is_some() {
            Status::Covered
        } else {
            let others = requirement.same_as.iter().map(|id| self.status_of(id)).max();
            others.unwrap_or(Status::Open)
        }
    }

    fn status_of(&self, id: &str) -> Status {
        let found = id.split_once('-').and_then(|(number, _)| self.list.section(number)).zip(self.list.find(id));
        found.map_or(Status::Open, |(section, requirement)| self.status(section, requirement))
    }

    fn each(&self) -> impl Iterator<Item = (&'a Section, &'a Requirement)> {
        let sections = self.list.sections.iter();
        sections.flat_map(|section| section.requirements.iter().map(move |requirement| (section, requirement)))
    }

    /// The report, as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::from(HEAD);
        self.totals(&mut out);
        self.open(&mut out);
        self.deviations(&mut out);
        out.push_str("\n## Section by section\n");
        for section in &self.list.sections {
            self.section(&mut out, section);
        }
        out
    }

    fn totals(&self, out: &mut String) {
        out.push_str("\n| | requirements | covered | deviation | not applicable | without a test | said again |\n");
        out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
        let row = |out: &mut String, name: &str, counts: [usize; 6]| {
            let cells = counts.map(|count| count.to_string()).join(" | ");
            line(out, &format!("| {name} | {cells} |"));
        };
        let mut sum = [0; 6];
        for level in Level::ALL {
            let mut counts = [0; 6];
            for (section, requirement) in self.each().filter(|(_, requirement)| requirement.level == level) {
                if requirement.same_as.is_empty() {
                    counts[0] += 1;
                    counts[1 + self.status(section, requirement) as usize] += 1;
                } else {
                    counts[5] += 1;
                }
            }
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
            let name = if level == Level::Rule { "rule without such a word".to_owned() } else { level.to_string() };
            row(out, &name, counts);
        }
        row(out, "together", sum);
    }

    fn open(&self, out: &mut String) {
        out.push_str("\n## Without a test\n\n");
        let mut none = true;
        for level in Level::ALL {
            for (section, requirement) in self.each().filter(|(_, requirement)| requirement.level == level) {
                if requirement.same_as.is_empty() && self.status(section, requirement) == Status::Open {
                    line(out, &format!("- {}", sentence(section, requirement)));
                    none = false;
                }
            }
        }
        if none {
            out.push_str("Nothing.\n");
        }
    }

    fn deviations(&self, out: &mut String) {
        out.push_str("\n## Deviations\n\n");
        for (section, requirement) in self.each() {
            if let Some(what) = &requirement.deviation {
                line(out, &format!("- {}: {what}.", sentence(section, requirement)));
            }
        }
    }

    fn section(&self, out: &mut String, section: &Section) {
        let touched: Vec<String> = self.of(&section.number.0).map(link).collect();
        if section.requirements.is_empty() && touched.is_empty() {
            return;
        }
        line(out, &format!("\n### {} {}\n", section.number, section.title));
        for requirement in &section.requirements {
            let mut text = format!("- {}", sentence(section, requirement));
            let tests: Vec<String> = self.of(&full(section, requirement)).map(link).collect();
            if !requirement.same_as.is_empty() {
                let targets: Vec<String> = requirement.same_as.iter().map(|id| format!("§{id}")).collect();
                let _ = write!(text, " = {}", targets.join(", "));
            }
            if let Some(why) = &requirement.not_applicable {
                let _ = write!(text, " - not applicable: {why}");
            }
            if let Some(what) = &requirement.deviation {
                let _ = write!(text, " - deviation: {what}");
            }
            if !tests.is_empty() {
                let _ = write!(text, ": {}", tests.join(", "));
            } else if self.status(section, requirement) == Status::Open {
                text.push_str(" - **no test**");
            }
            line(out, &text);
        }
        if !touched.is_empty() {
            line(out, &format!("\nTests that name the section: {}", touched.join(", ")));
        }
    }
}

const HEAD: &str = "\
# Conformance to RFC 9260

Written by `cargo xtask requirements --write`; `cargo xtask test` checks that it is current.

`tests/requirements/rfc9260/` lists what RFC 9260 demands, each MUST and SHOULD of its text, in our words. Tests cite
what they cover: `// covers: RFC 9260 §6.3.1-C4a`, in scripts `# covers: ...`. Covered is what a test cites by its id;
a test that only names a section is shown there, and covers nothing by that. A deviation stays one, whatever tests
what is done instead. What the RFC says in several places is counted where it is said best, and elsewhere as \"said
again\". Rules without such a word are those that the text gives as a fact (\"the endpoint sets RTO to ...\").
";

fn full(section: &Section, requirement: &Requirement) -> String {
    format!("{}-{}", section.number, requirement.id)
}

fn sentence(section: &Section, requirement: &Requirement) -> String {
    let Requirement { id, who, level, text, .. } = requirement;
    let level = if *level == Level::Rule { String::new() } else { format!(" {level}") };
    format!("**{}-{id}** {who}{level}: {text}", section.number)
}

fn link((file, test): (&str, &str)) -> String {
    format!("[`{test}`](../{file})")
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::list::Label;
    use super::*;

    fn requirement(id: &str) -> Requirement {
        Requirement {
            id: Label(id.to_owned()),
            who: "sender".to_owned(),
            level: Level::Must,
            text: "do".to_owned(),
            times: 1,
            same_as: Vec::new(),
            not_applicable: None,
            deviation: None,
        }
    }

    fn citation(target: &str) -> Citation {
        Citation { test: "it_does".to_owned(), file: "a.rs".to_owned(), line: 7, target: target.to_owned() }
    }

    fn list() -> List {
        let again = Requirement { same_as: vec!["1-1".to_owned(), "1-2".to_owned()], ..requirement("3") };
        let requirements = vec![requirement("1"), requirement("2"), again];
        List { sections: vec![Section { number: Label("1".to_owned()), title: "t".to_owned(), requirements }] }
    }

    fn statuses(citations: &[Citation]) -> Vec<Status> {
        let list = list();
        let coverage = Coverage::new(&list, citations).unwrap();
        let section = &list.sections[0];
        section.requirements.iter().map(|requirement| coverage.status(section, requirement)).collect()
    }

    #[test]
    fn only_a_citation_of_the_requirement_covers_it() {
        use Status::{Covered, Open};
        assert_eq!(statuses(&[citation("1")]), [Open, Open, Open]);
        assert_eq!(statuses(&[citation("1-1")]), [Covered, Open, Open]);
        assert_eq!(statuses(&[citation("1-1"), citation("1-2")]), [Covered, Covered, Covered]);
    }

    #[test]
    fn a_deviation_stays_one_whatever_tests_it() {
        let mut list = list();
        list.sections[0].requirements[0].deviation = Some("otherwise".to_owned());
        let citations = [citation("1-1")];
        let coverage = Coverage::new(&list, &citations).unwrap();
        let section = &list.sections[0];
        assert_eq!(coverage.status(section, &section.requirements[0]), Status::Deviation);
    }

    #[test]
    fn an_unknown_id_is_an_error_that_says_where() {
        let problems = Coverage::new(&list(), &[citation("1-9")]).err().unwrap();
        assert_eq!(problems, ["a.rs:7: the list has no §1-9"]);
    }

    #[test]
    fn the_report_counts_and_names_what_has_no_test() {
        let list = list();
        let citations = [citation("1-1")];
        let text = Coverage::new(&list, &citations).unwrap().markdown();
        assert!(text.contains("| MUST | 2 | 1 | 0 | 0 | 1 | 1 |"), "{text}");
        assert!(text.contains("## Without a test\n\n- **1-2** sender MUST: do\n\n"), "{text}");
        assert!(text.contains("- **1-1** sender MUST: do: [`it_does`](../a.rs)\n"), "{text}");
    }
}
