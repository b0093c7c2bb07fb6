//! Runs the built `esock` command with deadlines for everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A command that runs, ended when dropped.
pub struct Esock {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
    _unread: Option<ChildStdout>,
}

/// Who reads standard output.
#[derive(Clone, Copy)]
enum Ear {
    /// The test.
    Open,
    /// Nobody: writing fails.
    Closed,
    /// Nobody: writing blocks when the pipe is full.
    Asleep,
}

/// What ran to its end.
pub struct Finished {
    /// Exit code, -1 for a signal.
    pub code: i32,
    /// All of standard output that was not read.
    pub stdout: String,
    /// All of standard error that was not read.
    pub stderr: String,
}

impl Esock {
    /// Starts `esock` with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_heard(arguments, Ear::Open)
    }

    fn start_heard(arguments: &[&str], ear: Ear) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_esock"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let pipe = child.stdout.take().unwrap();
        let mut unread = None;
        let stdout = match ear {
            Ear::Open => Lines::read("stdout", pipe),
            Ear::Closed => Lines::read("stdout", std::io::empty()),
            Ear::Asleep => {
                unread = Some(pipe);
                Lines::read("stdout", std::io::empty())
            }
        };
        let stderr = Lines::read("stderr", child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr, _unread: unread }
    }

    /// Starts to listen over UDP on loopback, on a UDP port of the system's choice.
    pub fn listen(port: u16, more: &[&str]) -> (Self, u16) {
        Self::listen_on(port, 0, more)
    }

    /// Starts to listen over UDP on loopback; the UDP port is given back.
    pub fn listen_on(port: u16, udp_port: u16, more: &[&str]) -> (Self, u16) {
        let (port, udp_port) = (port.to_string(), udp_port.to_string());
        let mut arguments = vec!["listen", "--backend", "udp", "--udp-port", &udp_port];
        arguments.extend(more);
        arguments.extend(["127.0.0.1", &port]);
        let mut listener = Self::start(&arguments);
        let line = listener.told("listening");
        let (_, number) = line.rsplit_once("UDP port ").unwrap();
        let udp_port = number.trim().parse().unwrap();
        (listener, udp_port)
    }

    /// Connects over UDP on loopback.
    pub fn connect(port: u16, udp_port: u16, more: &[&str]) -> Self {
        Self::connect_heard(port, udp_port, more, Ear::Open)
    }

    /// Connects over UDP on loopback; writing to its standard output fails.
    pub fn connect_unheard(port: u16, udp_port: u16) -> Self {
        Self::connect_heard(port, udp_port, &[], Ear::Closed)
    }

    /// Connects over UDP on loopback; writing to its standard output blocks.
    pub fn connect_stuck(port: u16, udp_port: u16) -> Self {
        Self::connect_heard(port, udp_port, &[], Ear::Asleep)
    }

    fn connect_heard(port: u16, udp_port: u16, more: &[&str], ear: Ear) -> Self {
        let peer = format!("127.0.0.1:{port}");
        let encap = udp_port.to_string();
        let mut arguments = vec!["connect", "--backend", "udp", "--udp-port", "0"];
        arguments.extend(["--encap-port", &encap, &peer]);
        arguments.extend(more);
        Self::start_heard(&arguments, ear)
    }

    /// Types something.
    pub fn types(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Ends the input.
    pub fn ends_input(&mut self) {
        self.stdin = None;
    }

    /// The next line of standard output.
    pub fn prints(&mut self) -> String {
        self.stdout.next()
    }

    /// The next line of standard error that contains `what`.
    pub fn told(&mut self, what: &str) -> String {
        loop {
            let line = self.stderr.next();
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Finished {
        let status = self.wait();
        Finished { code: status.code().unwrap_or(-1), stdout: self.stdout.rest(), stderr: self.stderr.rest() }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "esock did not end; it said: {}", self.stderr.so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Esock {
    fn drop(&mut self) {
        // Gone already if it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a pipe, read by a thread.
struct Lines {
    name: &'static str,
    lines: mpsc::Receiver<String>,
    seen: String,
}

impl Lines {
    fn read(name: &'static str, pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { name, lines, seen: String::new() }
    }

    fn next(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                self.seen.push_str(&line);
                self.seen.push('\n');
                line
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line on {} in time; before: {}", self.name, self.seen)
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{} has ended; before: {}", self.name, self.seen)
            }
        }
    }

    fn so_far(&mut self) -> String {
        let waiting: Vec<String> = self.lines.try_iter().collect();
        format!("{}{}", self.seen, waiting.join("\n"))
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            rest.push_str(&line);
            rest.push('\n');
        }
        rest
    }
}
