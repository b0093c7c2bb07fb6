//! The Debian packages that the interop tests need.

use crate::exec::{self, Ended};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the interop tests run, build with, or judge with; the compiler of libFuzzer; what counts instructions.
const NEEDED: [&str; 11] = [
    "user-mode-linux",
    "iproute2",
    "kmod",
    "lksctp-tools",
    "libsctp-dev",
    "libusrsctp-dev",
    "tshark",
    "gcc",
    "g++",
    "libc6-dev",
    "valgrind",
];

/// Sees to it that every package is installed, until `deadline`.
///
/// As root the missing ones are installed; otherwise the error names them.
pub fn ensure(deadline: Instant) -> Result<(), String> {
    let missing = missing();
    if missing.is_empty() {
        println!("all {} Debian packages are installed: {}", NEEDED.len(), NEEDED.join(" "));
        return Ok(());
    }
    if !is_root() || !has("apt-get") {
        return Err(format!(
            "the interop tests need Debian packages that are not installed: {0}\n\
             install them (apt-get install {0}), or leave those tests out with --no-peers",
            missing.join(" ")
        ));
    }
    println!("installing {}", missing.join(" "));
    if install(&missing, deadline) != Ended::Well {
        // The lists are absent on a fresh system, and name files that are gone on an old one.
        println!("updating the package lists, then once more");
        if let Ended::Badly(why) = exec::run(apt().arg("update"), deadline, |_| ()) {
            return Err(format!("apt-get update failed ({why})"));
        }
        match install(&missing, deadline) {
            Ended::Well => {}
            ended => {
                return Err(format!("apt-get install {} failed ({ended:?})", missing.join(" ")));
            }
        }
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    NEEDED.into_iter().filter(|package| !is_installed(package)).collect()
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn install(packages: &[&str], deadline: Instant) -> Ended {
    let mut command = apt();
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    exec::run(&mut command, deadline, |_| ())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["--quiet", "--quiet"]);
    command
}

fn has(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_does_not_exist_is_not_installed() {
        assert!(!is_installed("esock-no-such-package"));
    }
}
