//! The layout test: what a C compiler makes of `<linux/sctp.h>` is what `abi.rs` and `constants.rs` say.

use crate::kernel::abi::layouts;
use crate::kernel::constants::CONSTANTS;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What is told to whoever runs the tests without a C compiler.
const NEEDED: &str = "this test needs a C compiler and the kernel's header (Debian: gcc libc6-dev linux-libc-dev)";

/// A C program that prints a line for each size, offset and constant.
fn program() -> String {
    let mut lines = String::from(
        "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <sys/socket.h>\n\
         #include <linux/sctp.h>\nint main(void) {\n",
    );
    let mut print = |label: &str, value: &str| {
        writeln!(lines, "printf(\"%s %lld\\n\", \"{label}\", (long long)({value}));").expect("text takes text");
    };
    for layout in layouts() {
        let name = layout.name;
        print(&format!("sizeof {name}"), &format!("sizeof({name})"));
        for (field, _) in layout.fields {
            print(&format!("offsetof {name} {field}"), &format!("offsetof({name}, {field})"));
        }
    }
    for (name, _) in CONSTANTS {
        print(name, name);
    }
    lines + "return 0; }\n"
}

/// The lines that the program has to print.
fn ours() -> Vec<String> {
    let mut lines = Vec::new();
    for layout in layouts() {
        let name = layout.name;
        lines.push(format!("sizeof {name} {}", layout.size));
        lines.extend(layout.fields.iter().map(|(field, offset)| format!("offsetof {name} {field} {offset}")));
    }
    lines.extend(CONSTANTS.iter().map(|(name, value)| format!("{name} {value}")));
    lines
}

/// Compiles and runs a C program and returns what it prints.
fn compile_and_run(source: &str) -> String {
    let binary = std::env::temp_dir().join(format!("esock-layout-{}", std::process::id()));
    let mut compiler = Command::new("cc")
        .args(["-std=gnu11", "-x", "c", "-", "-o"])
        .arg(&binary)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run `cc` ({error}): {NEEDED}"));
    // An error: the compiler has failed, which is told below.
    let _ = compiler.stdin.take().expect("it is piped").write_all(source.as_bytes());
    let output = compiler.wait_with_output().expect("it can be waited for");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "`cc` failed: {NEEDED}\n{complaints}");
    let output = Command::new(&binary).output();
    std::fs::remove_file(&binary).expect("the compiler made it");
    String::from_utf8(output.expect("it was compiled for this host").stdout).expect("it prints ASCII")
}

#[test]
fn every_structure_and_constant_is_what_the_kernels_header_says() {
    let theirs = compile_and_run(&program());
    let ours = ours();
    let differences: Vec<String> = ours
        .iter()
        .zip(theirs.lines())
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("ours `{ours}`, the header's `{theirs}`"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(ours.len(), theirs.lines().count());
    assert!(ours.len() > 300, "only {} lines were compared", ours.len());
}
