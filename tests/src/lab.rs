//! What the tests of one program share: the network, the peers' programs and the guest.

use crate::compile::compile;
use crate::guest::Guest;
use crate::line::Lines;
use crate::network::{Host, Network};
use crate::process::{Process, run, start_peer};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The laboratory.
#[derive(Debug)]
pub struct Lab {
    /// The network.
    pub network: Network,
    /// Where captures and peers' programs are kept.
    pub directory: PathBuf,
    guest: Option<Guest>,
    /// Our peer's program.
    esock_peer: &'static str,
    next_port: u16,
}

/// A peer that runs; ends when it is dropped (one in the guest: at its time limit).
#[derive(Debug)]
pub struct Peer {
    /// What it says.
    pub lines: Lines,
    _process: Option<Process>,
}

impl Lab {
    /// Takes the laboratory for one test: tests that share it run one after the other. `temporary` is
    /// cargo's directory for tests, `esock_peer` our peer's program.
    ///
    /// `None`, after saying so, if ESOCK_NO_PEERS=1 leaves out all tests with peers.
    ///
    /// # Panics
    /// If it cannot be set up: no root, packages missing.
    pub fn enter(name: &str, temporary: &str, esock_peer: &'static str) -> Option<MutexGuard<'static, Self>> {
        static LAB: OnceLock<Mutex<Lab>> = OnceLock::new();
        if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") {
            println!("skipped: {name}: ESOCK_NO_PEERS=1");
            return None;
        }
        let lab = LAB.get_or_init(|| Mutex::new(Self::new(Path::new(temporary), esock_peer)));
        // Poisoned: another test failed, which says nothing about this one.
        Some(lab.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn new(temporary: &Path, esock_peer: &'static str) -> Self {
        let directory = temporary.join("interop");
        std::fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        remove_remains(&directory);
        Self { network: Network::new(), directory, guest: None, esock_peer, next_port: 5000 }
    }

    /// A pair of SCTP ports that no test of this program had before.
    pub fn ports(&mut self) -> (u16, u16) {
        self.next_port += 2;
        (self.next_port - 2, self.next_port - 1)
    }

    /// A file in the laboratory's directory, named after this process.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}-{}", std::process::id()))
    }

    /// The guest's kernel version; boots the guest if it does not run.
    pub fn kernel(&mut self) -> String {
        self.guest().kernel.clone()
    }

    /// What a host runs, as in the matrix: its name, and as much of its version as tells it from others.
    pub fn peer_name(&mut self, host: Host) -> String {
        let two = |version: &str| version.split(['.', '-']).take(2).collect::<Vec<_>>().join(".");
        match host {
            Host::Kernel => format!("Linux {}", two(&self.kernel())),
            Host::Usrsctp => {
                let version = run(&["dpkg-query", "--show", "--showformat=${Version}", "libusrsctp-dev"]);
                format!("usrsctp {}", version.split(['-', '+']).next().unwrap_or_default().trim_end_matches(".0"))
            }
            Host::Us | Host::EsockOnKernel => "esock".to_owned(),
        }
    }

    /// Starts a program in the guest, called `tag`.
    pub fn execute_in_guest(&mut self, tag: &str, program: &str) -> Lines {
        self.guest().execute(tag, &format!("{program} --tag {tag}"))
    }

    /// Runs a command in the guest that knows nothing of tags: of what it says only its end is heard.
    pub fn command_in_guest(&mut self, tag: &str, command: &str) -> Lines {
        self.guest().execute(tag, command)
    }

    /// Sets one of the settings of the guest's kernel.
    pub fn set_in_guest(&mut self, name: &str, value: &str) {
        self.guest().set(name, value);
    }

    fn guest(&mut self) -> &mut Guest {
        if self.guest.is_none() {
            let program = self.compiled("kernel_peer", &["-lsctp"]);
            let registers = self.file("registers");
            compile(
                &registers,
                Command::new("cc")
                    .args(["-O2", "-std=gnu11", "-Wall", "-Wextra", "-shared", "-fPIC"])
                    .arg(sources().join("registers.c")),
            );
            let init = sources().join("init.sh");
            self.guest = Some(Guest::boot(&self.network, (&init, &program), &registers, &self.directory));
        }
        self.guest.as_mut().unwrap_or_else(|| unreachable!("it was booted just now"))
    }

    /// The program `name`, compiled from C once per process.
    pub fn compiled(&self, name: &str, flags: &[&str]) -> PathBuf {
        let program = self.file(name);
        if !program.exists() {
            let (peer, workload) = (sources().join("peer.c"), sources().join("workload.c"));
            let (program, peer, workload) =
                (program.display().to_string(), peer.display().to_string(), workload.display().to_string());
            let command = ["cc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-o", &program, &peer, &workload];
            run(&[&command[..], flags, &["-lpthread"]].concat());
        }
        program
    }

    /// The program of the peer on usrsctp.
    pub fn usrsctp_peer(&self) -> PathBuf {
        self.compiled("usrsctp_peer", &["-DPEER_USRSCTP", "-lusrsctp"])
    }

    /// Starts a peer on a host, called `tag`.
    pub fn start(&mut self, host: Host, tag: &str, arguments: &[String]) -> Peer {
        if host == Host::Kernel {
            return Peer { lines: self.guest().start_peer(tag, arguments), _process: None };
        }
        if host == Host::EsockOnKernel {
            let program = format!("{} --backend kernel {}", self.esock_peer, arguments.join(" "));
            return Peer { lines: self.execute_in_guest(tag, &program), _process: None };
        }
        let (namespace, program) = match host {
            Host::Us => (&self.network.us, self.esock_peer.to_owned()),
            _ => (&self.network.them, self.usrsctp_peer().display().to_string()),
        };
        let mut words = namespace.enter(&[&program, "--tag", tag]);
        words.extend(arguments.iter().map(String::as_str));
        let (process, lines) = start_peer(tag, &words);
        Peer { lines, _process: Some(process) }
    }
}

/// A small program of its own, compiled from C once per process.
///
/// # Panics
/// If it cannot be compiled.
pub fn compiled_from(directory: &Path, name: &str) -> PathBuf {
    static COMPILED: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let program = directory.join(format!("{name}-{}", std::process::id()));
    if !program.exists() {
        let source = sources().join(format!("{name}.c")).display().to_string();
        run(&[
            "cc",
            "-O2",
            "-std=gnu11",
            "-Wall",
            "-Wextra",
            "-o",
            &program.display().to_string(),
            &source,
            "-lpthread",
        ]);
    }
    program
}

/// The peers' sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Removes what processes that have ended left in the directory: programs, and captures older than the last run's.
fn remove_remains(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit('-').next().and_then(|tail| tail.split('.').next());
        let alive = owner.is_some_and(|pid| pid.parse::<u32>().is_ok() && Path::new("/proc").join(pid).exists());
        if !alive {
            // Errors: somebody else was faster.
            let _ = std::fs::remove_file(entry.path());
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
