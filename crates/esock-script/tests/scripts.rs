//! Every script of `scripts/` as a test of its own.

use esock_script::{Script, scripts_under};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let files = scripts_under(&root).expect("the folder of scripts can be read");
    assert!(!files.is_empty(), "there are no scripts in {}", root.display());
    let trials = files.into_iter().map(|file| trial(&root, &file)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test named after its file and title.
fn trial(root: &Path, file: &Path) -> Trial {
    let text = fs::read_to_string(file).unwrap_or_default();
    let short = file.strip_prefix(root).unwrap_or(file).with_extension("");
    let script = Script::parse(&format!("scripts/{}.sctp", short.display()), &text);
    let title = script.as_ref().map_or("it can be read", |script| &script.title);
    let name = format!("{}: {title}", short.display());
    Trial::test(name, move || check(script.map_err(|failure| failure.to_string())?))
}

fn check(script: Script) -> Result<(), Failed> {
    if !script.title.ends_with('.') {
        return Err("its first comment has to be its title: a sentence".into());
    }
    // The list of requirements reads this.
    if script.covers.is_empty() || !script.covers.iter().all(|section| section.contains('§')) {
        return Err("it has to say what it covers: `# covers: RFC 9260 §5.1-3, §8.4`".into());
    }
    script.run().failure.map_or(Ok(()), |failure| Err(failure.to_string().into()))
}
