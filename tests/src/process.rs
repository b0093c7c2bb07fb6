//! Processes that end with the test, however it ends.

use crate::line::{Line, Lines};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

type Request = (Command, Sender<std::io::Result<Child>>);

/// Starts `command` from a thread that lives as long as this process: the kernel kills a child with a
/// parent death signal when the *thread* that started it ends, and a test is a thread.
fn spawn(command: Command) -> std::io::Result<Child> {
    static KEEPER: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // An error: the test that asked has failed meanwhile.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = channel();
    keeper
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .send((command, answer))
        .map_err(std::io::Error::other)?;
    child.recv().map_err(std::io::Error::other)?
}

/// A process: killed when this is dropped, and by the kernel when the test's process ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    what: String,
}

impl Process {
    /// Starts `words`, with `configure` setting up its streams.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(words: &[&str], configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(words).stdin(Stdio::null());
        configure(&mut command);
        let what = words.join(" ");
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start `{what}`: {error}"));
        Self { child, what }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once, if it was piped.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard error as lines, once, if it was piped.
    pub fn take_stderr(&mut self) -> Option<impl BufRead + Send + 'static> {
        self.child.stderr.take().map(BufReader::new)
    }

    /// Hands each line of its standard output, which was piped, to `take`, from a thread of its own.
    pub fn read_lines(&mut self, mut take: impl FnMut(&str) + Send + 'static) {
        let Some(stdout) = self.child.stdout.take() else { return };
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                take(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
    }

    /// Asks it to end (SIGTERM) and waits, at most 5 s, then kills it.
    pub fn terminate(mut self) {
        if !self.is_running() {
            return;
        }
        run(&["kill", "-TERM", &self.id().to_string()]);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end, until `deadline`.
    pub fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What was started.
    pub fn what(&self) -> &str {
        &self.what
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a peer that writes [`Line`]s to its standard output.
pub fn start_peer(name: &str, words: &[&str]) -> (Process, Lines) {
    let mut process = Process::start(words, |command| {
        command.stdout(Stdio::piped());
    });
    let (sender, lines) = channel();
    process.read_lines(move |text| {
        if let Some((_, line)) = Line::parse(text) {
            // An error: nobody listens any more.
            let _ = sender.send(line);
        }
    });
    (process, Lines::new(name, lines))
}

/// Runs a command to its end and returns its standard output.
///
/// # Panics
/// If it cannot be started or fails.
pub fn run(words: &[&str]) -> String {
    run_with_input(words, "")
}

/// Runs a command to its end, with `input` on its standard input, and returns its standard output.
///
/// # Panics
/// If it cannot be started or fails.
pub fn run_with_input(words: &[&str], input: &str) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start `{}`: {error}", words.join(" ")));
    if let Some(mut stdin) = child.stdin.take() {
        // A broken pipe: the command has failed, which is told below.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("`{}`: {error}", words.join(" ")));
    assert!(
        output.status.success(),
        "`{}` failed ({}): {}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
