//! All candidates side by side: `cargo xtask bench`.
#![forbid(unsafe_code)]

mod machine;
mod options;
mod run;

use esock_benches::case::Case;
use esock_benches::results::Results;
use esock_benches::{chart, tables};
use options::{HELP, Options};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == run::ONE) {
        return one(&words[1..]);
    }
    let options = match Options::parse(&words) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("error: {problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match side_by_side(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one case, and says the figures.
fn one(words: &[String]) -> ExitCode {
    let Some((case, plan)) = Case::from_words(words) else {
        eprintln!("error: `{}` is not a case", words.join(" "));
        return ExitCode::from(2);
    };
    match case.measure(&plan) {
        Ok(figures) => {
            figures.iter().for_each(|(name, value)| println!("{name}={value}"));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for, and writes the results. Says whether nothing failed.
fn side_by_side(options: &Options) -> Result<bool, String> {
    let file = options.out.join("results.csv");
    let read = || std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()));
    if options.render {
        write(&options.out, &Results::from_csv(&read()?)?)?;
        return Ok(true);
    }
    let (measured, failures) = run::run(options);
    let mut results = if options.append && file.exists() { Results::from_csv(&read()?)? } else { Results::default() };
    results.replace(measured);
    for (title, table) in tables::all(&results) {
        println!("\n### {title}\n\n{table}");
    }
    write(&options.out, &results)?;
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    Ok(failures.is_empty())
}

/// Raw data, tables and charts.
fn write(folder: &Path, results: &Results) -> Result<(), String> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    put("results.csv", &results.to_csv())?;
    let body = |images: &str| {
        let mut text: String = results.remarks.iter().map(|remark| format!("- {remark}\n")).collect();
        for (title, table) in tables::all(results) {
            text.push_str(&format!("\n### {title}\n\n{table}"));
        }
        chart::all(results).iter().for_each(|(name, _)| text.push_str(&format!("\n![{name}]({images}{name})\n")));
        text
    };
    for (name, svg) in chart::all(results) {
        put(&name, &svg)?;
    }
    put(
        "README.md",
        &format!("# Results of `cargo xtask bench`\n\nMedians, behind them the least and the most.\n\n{}", body("")),
    )?;
    let page = folder.join("../../docs/performance.md");
    if folder.ends_with("benches/results") && page.exists() {
        let old = std::fs::read_to_string(&page).map_err(|error| error.to_string())?;
        let new =
            with_results(&old, &body("../benches/results/")).ok_or("docs/performance.md has no place for results")?;
        std::fs::write(&page, new).map_err(|error| error.to_string())?;
    }
    println!("written to {}", folder.display());
    Ok(())
}

/// The page with these results in place of those it has.
fn with_results(page: &str, body: &str) -> Option<String> {
    let (before, rest) = page.split_once("<!-- begin results")?;
    let (remark, rest) = rest.split_once("-->\n")?;
    let (_, after) = rest.split_once("<!-- end results -->")?;
    Some(format!("{before}<!-- begin results{remark}-->\n\n{body}\n<!-- end results -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_take_the_place_of_older_ones_in_the_page() {
        let page = "a\n<!-- begin results: x -->\nold\n<!-- end results -->\nb\n";
        let once = with_results(page, "new\n").unwrap();
        assert_eq!(once, "a\n<!-- begin results: x -->\n\nnew\n\n<!-- end results -->\nb\n");
        assert_eq!(with_results(&once, "new\n"), Some(once));
        assert_eq!(with_results("a", "b"), None);
    }
}
