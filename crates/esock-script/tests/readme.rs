//! The example of the README is a script, and passes.

use esock_script::Script;

#[test]
fn the_example_of_the_readme_passes() {
    let readme = include_str!("../README.md");
    let example =
        readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it has an example");
    let script = Script::parse("README.md", example).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(!script.covers.is_empty());
    if let Some(failure) = script.run().failure {
        panic!("{failure}");
    }
}
