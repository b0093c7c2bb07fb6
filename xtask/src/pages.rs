//! What the pages in `docs/` say of tests is true: each test that they name is there.

use std::path::Path;

/// Tests that a page names, as `` [`name`](../file) ``, with their files from the root.
fn named(page: &str) -> Vec<(&str, &str)> {
    let links = page.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](../")?;
        let (file, _) = rest.split_once(')')?;
        (!name.contains('`')).then_some((name, file))
    });
    links.collect()
}

/// Whether a file has a test of that name, or is the script of that name.
fn has(root: &Path, file: &str, name: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(root.join(file)) else { return false };
    file.ends_with(".sctp") || text.contains(&format!("fn {name}(")) || text.contains(&format!("{name}:"))
}

#[test]
fn the_tests_that_pages_name_are_there() {
    let root = crate::root();
    for page in ["docs/hostile-input.md", "docs/conformance.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let named = named(&text);
        assert!(named.len() > 50, "{page} names {} tests", named.len());
        for (name, file) in named {
            assert!(has(&root, file, name), "{page}: there is no `{name}` in {file}");
        }
    }
}

#[test]
fn a_name_that_is_not_there_is_noticed() {
    let root = crate::root();
    assert_eq!(named("| a [`one`](../x.rs), [`two`](../y.rs) `three` |"), [("one", "x.rs"), ("two", "y.rs")]);
    assert!(has(&root, "xtask/src/pages.rs", "a_name_that_is_not_there_is_noticed"));
    assert!(!has(&root, "xtask/src/pages.rs", "nobody_has_this"));
}
