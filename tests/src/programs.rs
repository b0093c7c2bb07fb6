//! Programs that know nothing of esock, run with `esock run`, and what the broker says of their sockets.

use crate::command::esock;
use crate::network::Namespace;
use crate::process::{Process, run};
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a program may take to say or to do what is expected of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What carries the packets of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// UDP encapsulation.
    Udp,
    /// Raw IP.
    Raw,
}

impl Carrier {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Raw => "raw",
        }
    }
}

/// Where programs run: in a network namespace, served by a broker of their own.
#[derive(Debug)]
pub struct Stage {
    namespace: String,
    /// What carries the packets.
    pub carrier: Carrier,
    broker: String,
    settings: Vec<String>,
}

/// What a broker says of itself.
#[derive(Debug, Clone)]
pub struct Report {
    /// All of it.
    pub text: String,
}

impl Stage {
    /// One in a namespace; its broker is known by `name`.
    pub fn new(namespace: &Namespace, carrier: Carrier, name: &str) -> Self {
        // It may have to be built, which takes its time: not when a peer waits already.
        esock();
        let broker = format!("esock/test/{name}/{}/{}", carrier.name(), std::process::id());
        Self { namespace: namespace.flag().to_owned(), carrier, broker, settings: Vec::new() }
    }

    /// The same with more words for `esock run`.
    #[must_use]
    pub fn with(mut self, settings: &[&str]) -> Self {
        self.settings.extend(settings.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Starts a program over esock.
    pub fn start(&self, words: &[&str]) -> Program {
        let esock = esock().display().to_string();
        let mut all = vec![esock.as_str(), "run", "--backend", self.carrier.name(), "--broker", &self.broker];
        all.extend(self.settings.iter().map(String::as_str));
        all.push("--");
        // Line by line, although it is no terminal that it writes to.
        all.extend(["env", "PYTHONUNBUFFERED=1", "stdbuf", "-oL", "-eL"]);
        all.extend(words);
        Program::start(&self.enter(&all), words.join(" "))
    }

    /// Runs a program over esock to its end, which must be a good one; returns what it said.
    ///
    /// # Panics
    /// If it ends badly, or not at all.
    pub fn run(&self, words: &[&str]) -> String {
        let mut program = self.start(words);
        program.ends_well();
        program.transcript()
    }

    /// What the broker says.
    ///
    /// # Panics
    /// If there is none.
    pub fn report(&self) -> Report {
        self.try_report().unwrap_or_else(|| panic!("no broker {}", self.broker))
    }

    fn try_report(&self) -> Option<Report> {
        let esock = esock().to_str().unwrap_or_default();
        let words = self.enter(&[esock, "broker", "--report", "--broker", &self.broker]);
        let output = Command::new(words[0]).args(&words[1..]).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(Report { text })
    }

    /// Waits until somebody listens at a port.
    ///
    /// # Panics
    /// If nobody does.
    pub fn listens(&self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = format!("listening: {port}");
        // There may be no broker yet.
        let listens = |report: &Report| report.text.lines().any(|line| line == wanted);
        while !self.try_report().as_ref().is_some_and(listens) {
            assert!(Instant::now() < deadline, "nobody listens at {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn enter<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["nsenter", &self.namespace, "--"], words].concat()
    }

    /// That the sockets of the programs were the broker's: it had at least this many sockets, associations and messages
    /// sent; and that nothing of them is left. The broker is ended.
    ///
    /// # Panics
    /// If it is not so.
    pub fn was_ours(self, sockets: u64, associations: u64, messages: u64) {
        let report = self.emptied();
        let least = [sockets, associations, messages];
        let ever = [report.number("sockets ever"), report.number("associations ever"), report.number("messages sent")];
        assert!(ever.iter().zip(least).all(|(ever, least)| *ever >= least), "at least {least:?}?\n{}", report.text);
    }

    /// Waits until the broker has no socket, endpoint or association any more.
    ///
    /// # Panics
    /// If it does not come to that.
    pub fn emptied(&self) -> Report {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            let left = ["sockets now", "associations now", "endpoints now"].map(|what| report.number(what));
            if left == [0, 0, 0] {
                return report;
            }
            assert!(Instant::now() < deadline, "something is left:\n{}", report.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It would end by itself, some seconds later; errors mean that it has.
        if let Some(process) = self.try_report().and_then(|report| report.find("process")) {
            let _ = Command::new("kill").arg(process.to_string()).stderr(Stdio::null()).status();
            // Its ports are free for the next one.
            let deadline = Instant::now() + Duration::from_secs(2);
            while Path::new("/proc").join(process.to_string()).join("exe").exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Report {
    /// The number of a line `WHAT: NUMBER`.
    ///
    /// # Panics
    /// If there is none.
    pub fn number(&self, what: &str) -> u64 {
        self.find(what).unwrap_or_else(|| panic!("no `{what}` in:\n{}", self.text))
    }

    fn find(&self, what: &str) -> Option<u64> {
        let line = |line: &str| line.strip_prefix(what)?.strip_prefix(": ")?.parse().ok();
        self.text.lines().find_map(line)
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Vec<String>,
    seen: usize,
    name: String,
}

impl Program {
    /// Starts one, with pipes, in a session of its own; what it says on both of its outputs is kept.
    pub fn start(words: &[&str], name: String) -> Self {
        let text = [&["setsid", "sh", "-c", "exec \"$@\" 2>&1", "sh"], words].concat();
        let mut process = Process::start(&text, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        let stdin = process.take_stdin();
        let (sender, lines) = channel();
        process.read_lines(move |line| {
            // An error: nobody listens any more.
            let _ = sender.send(line.trim_end().to_owned());
        });
        Self { process, stdin, lines, said: Vec::new(), seen: 0, name }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// If it does not take it.
    pub fn tell(&mut self, line: &str) {
        let written = self.stdin.as_mut().map(|stdin| stdin.write_all(format!("{line}\n").as_bytes()));
        assert!(matches!(written, Some(Ok(()))), "{written:?}: {}", self.transcript());
    }

    /// Ends its standard input.
    pub fn hush(&mut self) {
        self.stdin = None;
    }

    /// Waits for a line that contains `text`, among those not yet looked at.
    ///
    /// # Panics
    /// If none comes.
    pub fn says(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(line) = self.said.get(self.seen) {
                self.seen += 1;
                if line.contains(text) {
                    return line.clone();
                }
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("waited in vain for `{text}`: {}", self.transcript()),
                Err(RecvTimeoutError::Disconnected) => panic!("ended before `{text}`: {}", self.transcript()),
            }
        }
    }

    /// Waits for its end, and returns what it exited with; `None` is a signal.
    ///
    /// # Panics
    /// If it does not end.
    pub fn ends(&mut self) -> Option<i32> {
        let status = self.process.wait(Instant::now() + PATIENCE);
        let Some(status) = status else { panic!("does not end: {}", self.transcript()) };
        status.code()
    }

    /// That it ends, and well.
    ///
    /// # Panics
    /// If not.
    pub fn ends_well(&mut self) {
        let code = self.ends();
        assert_eq!(code, Some(0), "{}", self.transcript());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        run(&["kill", &format!("-{signal}"), &self.id().to_string()]);
    }

    /// Kills it, with all that it has started.
    pub fn kill_all(&mut self) {
        // An error: there is nobody left.
        let group = format!("-{}", self.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }

    /// What it said.
    pub fn transcript(&mut self) -> String {
        // After its end the rest comes at once.
        let patience = if self.process.is_running() { Duration::from_millis(20) } else { Duration::from_secs(1) };
        while let Ok(line) = self.lines.recv_timeout(patience) {
            self.said.push(line);
        }
        let skipped = self.said.len().saturating_sub(200);
        format!("`{}` said:\n{}", self.name, self.said[skipped..].join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_all();
    }
}
