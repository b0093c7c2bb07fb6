//! Runs a command with its output passing through, line by line, until a deadline.

use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// With exit status 0.
    Well,
    /// With another status, or it could not be started: why.
    Badly(String),
    /// At the deadline, by us.
    OutOfTime,
}

/// Runs `command` until `deadline`. Both of its outputs pass through to ours, and to `on_line`.
pub fn run(command: &mut Command, deadline: Instant, mut on_line: impl FnMut(&str)) -> Ended {
    if io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    watch(command, deadline, |line| {
        println!("{line}");
        on_line(line);
    })
}

/// Runs `command` until `deadline`. Both of its outputs go to `on_line` alone.
pub fn watch(command: &mut Command, deadline: Instant, mut on_line: impl FnMut(&str)) -> Ended {
    match try_run(command, deadline, &mut on_line) {
        Ok(ended) => ended,
        Err(error) => Ended::Badly(format!("{}: {error}", command.get_program().to_string_lossy())),
    }
}

/// From now on what this thread starts gives way to everybody else: it has what they leave of the processors.
pub fn give_way() {
    // "PID/task/TID". Where there is none, or no program for it, all are equal.
    let thread = std::fs::read_link("/proc/thread-self");
    if let Some(id) = thread.as_deref().ok().and_then(Path::file_name) {
        let _ = Command::new("renice").args(["-n", "19", "-p"]).arg(id).stdout(Stdio::null()).status();
    }
}

fn try_run(command: &mut Command, deadline: Instant, on_line: &mut dyn FnMut(&str)) -> io::Result<Ended> {
    // One pipe for both, so that their lines keep their order.
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the writing ends; they must close with the child for the reading to end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });

    // Ends when the pipe closes, or soon after the child did: something it left behind
    // may hold the pipe open.
    let mut ended = None;
    let mut grace = 2;
    loop {
        match lines.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => on_line(line.trim_end()),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if ended.is_none() {
                    ended = child.try_wait()?;
                } else if grace == 0 {
                    break;
                } else {
                    grace -= 1;
                }
            }
        }
        if ended.is_none() && Instant::now() >= deadline {
            end(child.id());
            child.wait()?;
            return Ok(Ended::OutOfTime);
        }
    }
    let status = match ended {
        Some(status) => status,
        None => child.wait()?,
    };
    Ok(if status.success() { Ended::Well } else { Ended::Badly(status.to_string()) })
}

/// Ends a child of ours and everything that it started: cargo leaves its tests running when it is
/// killed alone.
fn end(child: u32) {
    let mut family = vec![child];
    let parents = parents();
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    for signal in ["-TERM", "-KILL"] {
        let pids = family.iter().map(u32::to_string);
        // Those that are gone already make `kill` complain; that is all right.
        let _ = Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status();
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// Every process and its parent; empty where there is no /proc.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // PID (NAME) STATE PPID ...; the name may hold anything, so search from its end.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Ended, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let ended = run(&mut command, Instant::now() + limit, |line| lines.push(line.to_owned()));
        (ended, lines)
    }

    #[test]
    fn output_and_errors_arrive_in_order() {
        let (ended, lines) = shell("echo one; echo two >&2; printf three", Duration::from_secs(30));
        assert_eq!(ended, Ended::Well);
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn a_bad_status_and_a_missing_program_are_told() {
        let (ended, _) = shell("exit 3", Duration::from_secs(30));
        assert_eq!(ended, Ended::Badly("exit status: 3".to_owned()));
        let mut missing = Command::new("esock-no-such-program");
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(matches!(run(&mut missing, deadline, |_| ()), Ended::Badly(why) if why.contains("esock-no-such")));
    }

    #[test]
    fn what_a_thread_starts_that_gives_way_has_the_lowest_priority() {
        let nice = || shell("nice", Duration::from_secs(30)).1.concat();
        let before = nice();
        let nicest = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                give_way();
                nice()
            });
            other.join().unwrap()
        });
        assert_eq!(nicest, "19");
        assert_eq!(nice(), before, "others are as they were");
    }

    #[test]
    fn at_the_deadline_the_whole_family_is_ended() {
        let started = Instant::now();
        let (ended, lines) = shell("sleep 61 & echo $!; wait", Duration::from_millis(200));
        assert_eq!(ended, Ended::OutOfTime);
        assert!(started.elapsed() < Duration::from_secs(30));
        let grandchild: u32 = lines[0].parse().unwrap();
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
        // Gone, or a zombie that its new parent has not collected yet.
        assert!(state.is_err() || state.is_ok_and(|stat| stat.contains(") Z ")));
    }
}
