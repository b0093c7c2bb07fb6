//! The Linux kernel's SCTP, in a User-Mode Linux guest: booted once per test program, driven through its console.

use crate::line::{Line, Lines};
use crate::network::{Family, Host, Network};
use crate::process::Process;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Listeners = Arc<Mutex<HashMap<String, Sender<Line>>>>;

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    console: ChildStdin,
    listeners: Listeners,
    /// Its kernel's version.
    pub kernel: String,
}

impl Guest {
    /// Boots a guest on the taps of `network`, with `init` as its first process and `peer` as the program that its `run`
    /// starts. `registers` is a library that is loaded into it; `directory` takes the kernel's messages.
    ///
    /// # Panics
    /// If it is not up within 30 s.
    pub fn boot(network: &Network, (init, peer): (&Path, &Path), registers: &Path, directory: &Path) -> Self {
        let addresses = |link| {
            let (v4, v6) = (Host::Kernel.address(link, Family::V4), Host::Kernel.address(link, Family::V6));
            format!("addresses{link}={v4}/24,{v6}/64")
        };
        let tap = |link| format!("vec{link}:transport=tap,ifname={},depth=128,gro=1", Host::Kernel.switch_port(link));
        let arguments = [
            "mem=256M".to_owned(),
            "rootfstype=hostfs".to_owned(),
            "root=/dev/root".to_owned(),
            "rw".to_owned(),
            "quiet".to_owned(),
            "con=null".to_owned(),
            "con0=fd:0,fd:1".to_owned(),
            format!("uml_dir={}", directory.display()),
            format!("umid=guest-{}", std::process::id()),
            format!("init={}", init.display()),
            tap(0),
            tap(1),
            format!("peer={}", peer.display()),
            addresses(0),
            addresses(1),
        ];
        // The process number namespace ends all of the guest's processes with its first.
        let mut words = network.switch.enter(&["unshare", "--pid", "--fork", "--kill-child=KILL", "linux.uml"]);
        words.extend(arguments.iter().map(String::as_str));
        let log = directory.join(format!("guest-{}.log", std::process::id()));
        let log = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut process = Process::start(&words, |command| {
            command.env("LD_PRELOAD", registers).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        });
        let console = process.take_stdin().unwrap_or_else(|| panic!("the guest has no console"));
        let listeners = Listeners::default();
        let (sender, boot) = channel();
        add(&listeners, "guest", sender);
        let readers = listeners.clone();
        process.read_lines(move |text| {
            if let Some((tag, line)) = Line::parse(text)
                && let Some(listener) = readers.lock().unwrap_or_else(PoisonError::into_inner).get(tag)
            {
                // An error: nobody listens any more.
                let _ = listener.send(line);
            }
        });
        let ready = Lines::new("guest", boot).wait("event=ready", Instant::now() + Duration::from_secs(30));
        let kernel = ready.value("kernel").unwrap_or_default().to_owned();
        Self { process, console, listeners, kernel }
    }

    /// Starts a peer in the guest.
    ///
    /// # Panics
    /// If the guest has died.
    pub fn start_peer(&mut self, tag: &str, arguments: &[String]) -> Lines {
        self.command(tag, &format!("run --tag {tag} {}\n", arguments.join(" ")))
    }

    /// Starts another program in the guest. After its own lines comes `event=exit code=N`.
    ///
    /// # Panics
    /// If the guest has died.
    pub fn execute(&mut self, tag: &str, command: &str) -> Lines {
        self.command(tag, &format!("exec {tag} {command}\n"))
    }

    /// Sets one of its kernel's settings.
    ///
    /// # Panics
    /// If the guest has died.
    pub fn set(&mut self, name: &str, value: &str) {
        self.write(&format!("set {name} {value}\n"));
    }

    fn command(&mut self, tag: &str, command: &str) -> Lines {
        let (sender, lines) = channel();
        add(&self.listeners, tag, sender);
        self.write(command);
        Lines::new(tag, lines)
    }

    fn write(&mut self, command: &str) {
        let written = self.console.write_all(command.as_bytes()).and_then(|()| self.console.flush());
        assert!(written.is_ok() && self.process.is_running(), "the guest has died");
    }
}

fn add(listeners: &Listeners, tag: &str, sender: Sender<Line>) {
    listeners.lock().unwrap_or_else(PoisonError::into_inner).insert(tag.to_owned(), sender);
}
