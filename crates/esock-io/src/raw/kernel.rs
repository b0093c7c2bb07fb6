//! Whether the kernel speaks SCTP itself: then it would ABORT what our raw sockets set up.
//!
//! Seen in /proc only: opening an SCTP socket would load the module.

use std::fs;
use std::path::Path;

/// Where the kernel's SCTP was seen under `proc` (`/proc`, or a stand-in for tests).
pub(crate) fn kernel_sctp(proc: &Path) -> Option<String> {
    let seen = |path: &Path| Some(path.display().to_string());
    let first_words_of = |path: &Path, word: &str| {
        fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.split_whitespace().next() == Some(word)))
    };
    let directory = proc.join("net/sctp");
    if directory.exists() {
        return seen(&directory);
    }
    let protocols = proc.join("net/protocols");
    if first_words_of(&protocols, "SCTP") {
        return seen(&protocols);
    }
    let modules = proc.join("modules");
    if first_words_of(&modules, "sctp") {
        return seen(&modules);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("esock-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("net")).unwrap();
            fs::write(path.join("net/protocols"), "protocol  size sockets\nUDP 1472 5\nTCP 2\n").unwrap();
            fs::write(path.join("modules"), "sctp_diag 1 0\nudp_tunnel 28672 1 sctp\n").unwrap();
            Self(path)
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_kernel_without_sctp_is_not_taken_for_one_with_it() {
        assert_eq!(kernel_sctp(&Proc::new("none").0), None);
    }

    #[test]
    fn the_kernels_sctp_is_seen_in_each_of_its_places() {
        let proc = Proc::new("directory");
        fs::create_dir(proc.0.join("net/sctp")).unwrap();
        assert!(kernel_sctp(&proc.0).unwrap().ends_with("net/sctp"));

        let proc = Proc::new("protocols");
        fs::write(proc.0.join("net/protocols"), "protocol size\nSCTPv6 1 2\nSCTP 1 2\n").unwrap();
        assert!(kernel_sctp(&proc.0).unwrap().ends_with("net/protocols"));

        let proc = Proc::new("modules");
        fs::write(proc.0.join("modules"), "sctp 499712 4 - Live 0x0\n").unwrap();
        assert!(kernel_sctp(&proc.0).unwrap().ends_with("modules"));
    }
}
