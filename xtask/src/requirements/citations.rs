//! Citations: comments of tests that say which requirement they cover.
//!
//! `// covers: RFC 9260 §6.3.1-C4a, §8.2` above a test or inside it; in a script, `# covers: RFC 9260 §5.1-3`.

use std::path::{Path, PathBuf};

/// A test, and what it says to cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// The test: its name, or that of the table that holds the case, or of the script.
    pub test: String,
    /// Its file, from the root of the repository.
    pub file: String,
    /// The line of the comment.
    pub line: usize,
    /// A section of RFC 9260, or a requirement (`SECTION-ID`).
    pub target: String,
}

/// All citations in the tests of the repository, and what is wrong with others.
pub fn all(root: &Path) -> (Vec<Citation>, Vec<String>) {
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        walk(&root.join(folder), &mut files);
    }
    files.sort();
    let mut citations = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let found = if name.ends_with(".sctp") { script(&name, &text) } else { rust(&name, &text) };
        citations.extend(found.0);
        problems.extend(found.1);
    }
    (citations, problems)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "sctp") {
            files.push(path);
        }
    }
}

type Found = (Vec<Citation>, Vec<String>);

/// The citations of a script: it is one test.
fn script(file: &str, text: &str) -> Found {
    let test = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut found = Found::default();
    for (at, raw) in text.lines().enumerate() {
        if let Some(cited) =
            raw.trim_start().strip_prefix('#').and_then(|rest| rest.trim_start().strip_prefix("covers:"))
        {
            take(&mut found, &Place { test: &test, file, line: at + 1 }, cited);
        }
    }
    found
}

/// Where a citation stands.
struct Place<'a> {
    test: &'a str,
    file: &'a str,
    line: usize,
}

fn take(found: &mut Found, place: &Place<'_>, cited: &str) {
    match targets(cited) {
        Ok(targets) => found.0.extend(targets.into_iter().map(|target| Citation {
            test: place.test.to_owned(),
            file: place.file.to_owned(),
            line: place.line,
            target,
        })),
        Err(problem) => found.1.push(format!("{}:{}: {problem}", place.file, place.line)),
    }
}

/// `RFC 9260 §5.1-3, §8.4, RFC 6951 §5.4`: those of RFC 9260.
fn targets(cited: &str) -> Result<Vec<String>, String> {
    let mut targets = Vec::new();
    let mut rfc = None;
    for item in cited.split(',').map(str::trim) {
        let Some((before, target)) = item.split_once('§') else {
            return Err(format!("`{item}` names no section: write `covers: RFC 9260 §5.1-3`"));
        };
        if let Some(number) = before.trim().strip_prefix("RFC ") {
            rfc = Some(number.trim());
        } else if !before.trim().is_empty() {
            return Err(format!("`{item}` is neither a section nor `RFC NUMBER §SECTION`"));
        }
        match rfc {
            Some("9260") => targets.push(target.trim().trim_end_matches('.').to_owned()),
            Some(_) => {}
            None => return Err(format!("`{item}` does not say which RFC")),
        }
    }
    Ok(targets)
}

/// The citations of a Rust file, each with the function or table that it stands at. Relies on rustfmt's layout.
fn rust(file: &str, text: &str) -> Found {
    let mut found = Found::default();
    let mut waiting: Vec<(usize, &str)> = Vec::new();
    let mut open: Option<Item<'_>> = None;
    let mut is_test = false;
    for (at, raw) in text.lines().enumerate() {
        let line = raw.trim();
        let indent = raw.len() - raw.trim_start().len();
        if let Some(cited) = comment(line) {
            match &open {
                Some(item) => give(&mut found, item, file, at + 1, cited),
                None => waiting.push((at + 1, cited)),
            }
        }
        if let Some(item) = &open {
            if indent == item.indent && (line.starts_with('}') || line.starts_with(']')) {
                open = None;
            }
            continue;
        }
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = item_name(line) {
            let item = Item { name, indent, citable: is_test || !line.contains("fn ") };
            for (at, cited) in waiting.drain(..) {
                give(&mut found, &item, file, at, cited);
            }
            is_test = false;
            if line.ends_with(['{', '[', '(']) {
                open = Some(item);
            }
        } else if !line.starts_with("//") && !line.is_empty() {
            is_test = false;
        }
    }
    found.1.extend(waiting.iter().map(|(at, _)| format!("{file}:{at}: no test follows this citation")));
    found
}

/// A function, or a table of cases.
struct Item<'a> {
    name: &'a str,
    indent: usize,
    citable: bool,
}

fn give(found: &mut Found, item: &Item<'_>, file: &str, line: usize, cited: &str) {
    if item.citable {
        take(found, &Place { test: item.name, file, line }, cited);
    } else {
        found.1.push(format!("{file}:{line}: cites at `{}`, which is no test", item.name));
    }
}

/// What a comment cites.
fn comment(line: &str) -> Option<&str> {
    let (before, cited) = line.split_once("covers:")?;
    before.trim_end().ends_with("//").then_some(cited)
}

/// The name of the function, constant or static that the line begins.
fn item_name(line: &str) -> Option<&str> {
    let mut rest = line;
    loop {
        let (word, after) = rest.split_once(' ')?;
        match word {
            "pub" | "async" | "unsafe" => rest = after,
            "const" if after.starts_with("fn ") => rest = after,
            "fn" | "const" | "static" => {
                let end = after.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(after.len());
                return (end > 0).then(|| &after[..end]);
            }
            _ if word.starts_with("pub(") => rest = after,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cited(text: &str) -> Vec<(String, String)> {
        let (citations, problems) = rust("a.rs", text);
        assert_eq!(problems, Vec::<String>::new());
        citations.into_iter().map(|citation| (citation.test, citation.target)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(test, target)| ((*test).to_owned(), (*target).to_owned())).collect()
    }

    #[test]
    fn a_citation_belongs_to_the_test_around_it_or_after_it() {
        let text = "mod tests {\n    // covers: RFC 9260 §5.1-3, §8.4\n    #[test]\n    fn one() {\n        \
                    // covers: RFC 9260 §6.1-A1\n    }\n\n    #[tokio::test]\n    async fn two() {\n        go();\n        \
                    // covers: RFC 9260 §1.3-1\n    }\n}\n";
        assert_eq!(cited(text), pairs(&[("one", "5.1-3"), ("one", "8.4"), ("one", "6.1-A1"), ("two", "1.3-1")]));
    }

    #[test]
    fn a_case_of_a_table_is_known_by_the_tables_name() {
        let text = "const CASES: &[Case] = &[\n    // covers: RFC 9260 §8.4-2\n    case(),\n];\n";
        assert_eq!(cited(text), pairs(&[("CASES", "8.4-2")]));
    }

    #[test]
    fn other_rfcs_are_left_alone() {
        let text = "// covers: RFC 6951 §5.4, RFC 9260 §5-1\n#[test]\nfn one() {}\n";
        assert_eq!(cited(text), pairs(&[("one", "5-1")]));
    }

    #[test]
    fn a_citation_at_no_test_is_a_mistake() {
        for text in [
            "// covers: RFC 9260 §5-1\nfn helper() {}\n",
            "fn helper() {\n    // covers: RFC 9260 §5-1\n}\n",
            "#[test]\nfn one() {}\n// covers: RFC 9260 §5-1\n",
            "// covers: section 5\n#[test]\nfn one() {}\n",
            "// covers: §5-1\n#[test]\nfn one() {}\n",
        ] {
            assert_eq!(rust("a.rs", text).1.len(), 1, "{text}");
        }
    }

    #[test]
    fn a_script_is_one_test() {
        let (citations, problems) = script("scripts/setup.sctp", "# A title.\n# covers: RFC 9260 §5.1-3, §5.1-4\n");
        assert!(problems.is_empty());
        assert_eq!(citations.len(), 2);
        assert_eq!(citations[1].test, "setup");
    }
}
