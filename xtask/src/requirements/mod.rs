//! `cargo xtask requirements`: what RFC 9260 demands, and the tests that cover it.

mod citations;
mod list;
mod report;

use list::List;
use report::Coverage;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const LIST: &str = "tests/requirements/rfc9260";
const REPORT: &str = "docs/conformance.md";

/// Prints the report, or writes it to its place.
pub fn run(root: &Path, write: bool) -> ExitCode {
    let text = match generate(root) {
        Ok(text) => text,
        Err(problems) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            return ExitCode::FAILURE;
        }
    };
    if !write {
        // Whoever reads may stop: a closed pipe is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let file = root.join(REPORT);
    let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}

/// The report, or all that is wrong with the list and the citations.
fn generate(root: &Path) -> Result<String, Vec<String>> {
    let list = List::load(&root.join(LIST))?;
    let (citations, problems) = citations::all(root);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Coverage::new(&list, &citations)?.markdown())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list parses, ids are unique, every word of the RFC is accounted for, every citation resolves.
    #[test]
    fn the_report_of_this_repository_is_current() {
        let root = crate::root();
        let text = generate(&root).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
        let stored = std::fs::read_to_string(root.join(REPORT)).unwrap();
        assert!(text == stored, "{REPORT} is out of date: run `cargo xtask requirements --write`");
    }
}
