//! The list of requirements: what RFC 9260 demands, in our words, one line each.

use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// How strongly a requirement binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// MUST, SHALL, REQUIRED.
    Must,
    /// MUST NOT, SHALL NOT.
    MustNot,
    /// SHOULD, RECOMMENDED.
    Should,
    /// SHOULD NOT, NOT RECOMMENDED.
    ShouldNot,
    /// A rule that the text gives without such a word.
    Rule,
}

impl Level {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [Self::Must, Self::MustNot, Self::Should, Self::ShouldNot, Self::Rule];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::Rule => "does",
        })
    }
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its id within its section: `1`, `C4a`.
    pub id: Label,
    /// Whom it binds.
    pub who: String,
    /// How strongly.
    pub level: Level,
    /// What it demands.
    pub text: String,
    /// How many of the words MUST, SHOULD ... of the section it stands for.
    pub times: usize,
    /// Says again what these say: covered when all of them are.
    pub same_as: Vec<String>,
    /// Why it does not bind this stack.
    pub not_applicable: Option<String>,
    /// What this stack does instead, and why.
    pub deviation: Option<String>,
}

/// A section with its requirements.
#[derive(Debug)]
pub struct Section {
    pub number: Label,
    pub title: String,
    pub requirements: Vec<Requirement>,
}

/// The whole list, in the order of the RFC.
#[derive(Debug)]
pub struct List {
    pub sections: Vec<Section>,
}

/// A section number or an id, ordered as people count: 9 before 10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(pub String);

impl Label {
    fn key(&self) -> Vec<(String, u32)> {
        let mut key = vec![(String::new(), 0)];
        let mut digits = false;
        for char in self.0.chars() {
            match char.to_digit(10) {
                Some(digit) => {
                    digits = true;
                    if let Some(last) = key.last_mut() {
                        last.1 = last.1 * 10 + digit;
                    }
                }
                None => {
                    if digits {
                        key.push((String::new(), 0));
                        digits = false;
                    }
                    if let Some(last) = key.last_mut() {
                        last.0.push(char);
                    }
                }
            }
        }
        key
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct RawSection {
    title: String,
    #[serde(default)]
    keywords: Keywords,
    #[serde(flatten)]
    requirements: BTreeMap<String, RawRequirement>,
}

/// How often the words stand in the section of the RFC.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Keywords {
    must: usize,
    must_not: usize,
    should: usize,
    should_not: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequirement {
    who: String,
    must: Option<String>,
    must_not: Option<String>,
    should: Option<String>,
    should_not: Option<String>,
    rule: Option<String>,
    times: Option<usize>,
    #[serde(default)]
    same_as: Vec<String>,
    not_applicable: Option<String>,
    deviation: Option<String>,
}

impl RawRequirement {
    fn checked(self, id: &str) -> Result<Requirement, String> {
        let levels = [
            (Level::Must, self.must),
            (Level::MustNot, self.must_not),
            (Level::Should, self.should),
            (Level::ShouldNot, self.should_not),
            (Level::Rule, self.rule),
        ];
        let mut stated = levels.into_iter().filter_map(|(level, text)| Some((level, text?)));
        let (Some((level, text)), None) = (stated.next(), stated.next()) else {
            return Err("needs exactly one of must, must_not, should, should_not and rule".to_owned());
        };
        let excuses = [!self.same_as.is_empty(), self.not_applicable.is_some(), self.deviation.is_some()];
        if excuses.into_iter().filter(|given| *given).count() > 1 {
            return Err("has more than one of same_as, not_applicable and deviation".to_owned());
        }
        Ok(Requirement {
            id: Label(id.to_owned()),
            who: self.who,
            level,
            text,
            times: self.times.unwrap_or(1),
            same_as: self.same_as,
            not_applicable: self.not_applicable,
            deviation: self.deviation,
        })
    }
}

impl List {
    /// Reads all files of the folder, and checks them.
    pub fn load(folder: &Path) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut sections: Vec<Section> = Vec::new();
        let mut files: Vec<_> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) => return Err(vec![format!("{}: {error}", folder.display())]),
        };
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
            match text.and_then(|text| Self::parse(&text)) {
                Ok((more, mistakes)) => {
                    sections.extend(more);
                    problems.extend(mistakes);
                }
                Err(problem) => problems.push(format!("{}: {problem}", file.display())),
            }
        }
        sections.sort_by(|a, b| a.number.cmp(&b.number));
        let list = Self { sections };
        list.check(&mut problems);
        if problems.is_empty() { Ok(list) } else { Err(problems) }
    }

    fn parse(text: &str) -> Result<(Vec<Section>, Vec<String>), String> {
        let raw: BTreeMap<String, RawSection> = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut problems = Vec::new();
        let mut sections = Vec::new();
        for (number, section) in raw {
            let mut requirements = Vec::new();
            for (id, requirement) in section.requirements {
                match requirement.checked(&id) {
                    Ok(requirement) => requirements.push(requirement),
                    Err(problem) => problems.push(format!("§{number}-{id} {problem}")),
                }
            }
            requirements.sort_by(|a, b| a.id.cmp(&b.id));
            count(&number, &section.keywords, &requirements, &mut problems);
            sections.push(Section { number: Label(number), title: section.title, requirements });
        }
        Ok((sections, problems))
    }

    fn check(&self, problems: &mut Vec<String>) {
        for pair in self.sections.windows(2) {
            if pair[0].number == pair[1].number {
                problems.push(format!("§{} stands in two places", pair[0].number));
            }
        }
        for section in &self.sections {
            for requirement in &section.requirements {
                for target in &requirement.same_as {
                    match self.find(target) {
                        None => problems.push(format!("§{}-{}: no §{target}", section.number, requirement.id)),
                        Some(other) if !other.same_as.is_empty() => problems.push(format!(
                            "§{}-{}: §{target} itself says what another says",
                            section.number, requirement.id
                        )),
                        Some(_) => {}
                    }
                }
            }
        }
    }

    /// The requirement `SECTION-ID`.
    pub fn find(&self, full: &str) -> Option<&Requirement> {
        let (section, id) = full.split_once('-')?;
        self.section(section)?.requirements.iter().find(|requirement| requirement.id.0 == id)
    }

    /// The section of this number.
    pub fn section(&self, number: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.number.0 == number)
    }
}

/// Nothing is left out: each MUST and SHOULD of the section's text has its entry.
fn count(number: &str, keywords: &Keywords, requirements: &[Requirement], problems: &mut Vec<String>) {
    let said = [
        (Level::Must, keywords.must),
        (Level::MustNot, keywords.must_not),
        (Level::Should, keywords.should),
        (Level::ShouldNot, keywords.should_not),
    ];
    for (level, said) in said {
        let listed: usize = requirements.iter().filter(|one| one.level == level).map(|one| one.times).sum();
        if said != listed {
            problems.push(format!("§{number} says {level} {said} times, the list {listed} times"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_ordered_as_people_count() {
        let mut labels: Vec<Label> = ["10", "9", "C4b", "C4a", "C10", "5.1.10", "5.1.9", "5.1", "5"]
            .into_iter()
            .map(|text| Label(text.to_owned()))
            .collect();
        labels.sort();
        let sorted: Vec<&str> = labels.iter().map(|label| label.0.as_str()).collect();
        assert_eq!(sorted, ["5", "5.1", "5.1.9", "5.1.10", "9", "10", "C4a", "C4b", "C10"]);
    }

    fn problems(text: &str) -> Vec<String> {
        let (sections, mut problems) = List::parse(text).unwrap();
        List { sections }.check(&mut problems);
        problems
    }

    #[test]
    fn a_must_that_is_left_out_is_noticed() {
        let text = "[\"1\"]\ntitle = \"a\"\nkeywords = { must = 2 }\n1 = { who = \"sender\", must = \"do\" }\n";
        assert_eq!(problems(text), ["§1 says MUST 2 times, the list 1 times"]);
        assert!(problems(&text.replace("must = 2", "must = 1")).is_empty());
    }

    #[test]
    fn a_reference_to_nothing_is_noticed() {
        let text = "[\"1\"]\ntitle = \"a\"\n1 = { who = \"sender\", rule = \"do\", same_as = [\"2-1\"] }\n";
        assert_eq!(problems(text), ["§1-1: no §2-1"]);
    }
}
