//! The Debian packages that the interop tests need.

use crate::exec::{self, Ended};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What the interop tests run, build with, or judge with; the compiler of libFuzzer; what counts instructions.
const NEEDED: [&str; 18] = [
    "user-mode-linux",
    "iproute2",
    "kmod",
    "lksctp-tools",
    "libsctp-dev",
    "libusrsctp-dev",
    "tshark",
    "iperf3",
    "ncat",
    "socat",
    "erlang-nox",
    "python3",
    "python3-dev",
    "python3-venv",
    "gcc",
    "g++",
    "libc6-dev",
    "valgrind",
];

/// From PyPI.
const PYSCTP: &str = "pysctp==0.7.3";

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

/// Python's bindings to SCTP, in an environment of their own below `target`: no package of Debian's has them.
pub fn ensure_pysctp(root: &Path, deadline: Instant) -> Result<(), String> {
    let place = root.join("target/pysctp");
    let python = place.join("bin/python");
    let imports = || {
        let mut command = Command::new(&python);
        command.args(["-c", "import sctp"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if imports() {
        println!("pysctp is installed in {}", place.display());
        return Ok(());
    }
    let mut make = Command::new("/usr/bin/python3");
    make.args(["-m", "venv", "--clear"]).arg(&place);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", PYSCTP]);
    for command in [&mut make, &mut install] {
        if let Ended::Badly(why) = exec::run(command, deadline, |_| ()) {
            return Err(format!("{PYSCTP} cannot be installed ({why})"));
        }
    }
    if imports() { Ok(()) } else { Err(format!("{PYSCTP} was installed and cannot be imported")) }
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
