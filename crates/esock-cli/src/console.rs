//! Standard input and output, each with a thread of its own: neither blocks the associations, and
//! a thread that waits for a line does not keep the command from ending.

use bytes::Bytes;
use std::io::{self, BufRead, Write};
use tokio::sync::{mpsc, oneshot};

/// Longest line that is sent as one message, in bytes, its newline included: what a peer receives
/// whole by default. Longer lines are sent in parts of this size.
pub const LONGEST_LINE: usize = 256 << 10;

/// Lines that wait for the network, or messages that wait for standard output.
const WAITING: usize = 64;

/// Where typed lines come from.
#[derive(Debug)]
pub struct Typed {
    /// Lines with their newlines; closed at the end of input.
    pub lines: mpsc::Receiver<Bytes>,
    /// Keeps `lines` open where nothing is read.
    _keep: Option<mpsc::Sender<Bytes>>,
}

impl Typed {
    /// The lines of standard input.
    pub fn read() -> Self {
        let (sender, lines) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            if let Err(error) = read_lines(io::stdin().lock(), &sender) {
                say(&format!("cannot read standard input: {error}"));
            }
        });
        Self { lines, _keep: None }
    }

    /// No lines, and no end either.
    pub fn nothing() -> Self {
        let (sender, lines) = mpsc::channel(1);
        Self { lines, _keep: Some(sender) }
    }
}

fn read_lines(mut input: impl BufRead, lines: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut told = false;
    loop {
        let mut line = Vec::new();
        let mut bounded = io::Read::take(&mut input, LONGEST_LINE as u64);
        if bounded.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.len() == LONGEST_LINE && !line.ends_with(b"\n") && !told {
            say(&format!("a line longer than {LONGEST_LINE} bytes is sent in parts of that size"));
            told = true;
        }
        if lines.blocking_send(line.into()).is_err() {
            return Ok(());
        }
    }
}

/// Where received messages go: standard output, in order.
#[derive(Debug, Clone)]
pub struct Output {
    messages: mpsc::Sender<Bytes>,
}

/// Standard output was closed.
#[derive(Debug)]
pub struct OutputClosed;

impl Output {
    /// Starts the thread that writes. What it gives back tells when all is written, after the last
    /// `Output` is gone.
    pub fn start() -> (Self, oneshot::Receiver<io::Result<()>>) {
        let (messages, receiver) = mpsc::channel(WAITING);
        let (done, written) = oneshot::channel();
        std::thread::spawn(move || {
            // Nobody waits for it any more: we are ending in a hurry.
            let _ = done.send(write_messages(io::stdout().lock(), receiver));
        });
        (Self { messages }, written)
    }

    /// Waits until nothing more can be written.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Hands a message over; waits while the reader of our output is slow.
    pub async fn write(&self, message: Bytes) -> Result<(), OutputClosed> {
        self.messages.send(message).await.map_err(|_| OutputClosed)
    }
}

/// Writes messages as they are, each with a newline if it has none at its end.
fn write_messages(mut output: impl Write, mut messages: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(message) = messages.blocking_recv() {
        output.write_all(&message)?;
        if !message.ends_with(b"\n") {
            output.write_all(b"\n")?;
        }
        if messages.is_empty() {
            output.flush()?;
        }
    }
    output.flush()
}

/// A line on standard output, for commands that print nothing else.
pub fn print(line: &str) {
    // Nobody may be reading any more: that is no reason to end.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A line for people, on standard error.
pub fn say(line: &str) {
    // Nobody may be reading: that is no reason to end.
    let _ = writeln!(io::stderr().lock(), "esock: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_message_and_long_ones_are_cut() {
        let mut input = b"one\n\nlast".to_vec();
        input.splice(4..4, std::iter::repeat_n(b'x', LONGEST_LINE + 1));
        let (sender, mut receiver) = mpsc::channel(WAITING);
        read_lines(&input[..], &sender).unwrap();
        drop(sender);
        let mut lines = Vec::new();
        while let Ok(line) = receiver.try_recv() {
            lines.push(line);
        }
        assert_eq!(lines[0], "one\n");
        assert_eq!(lines[1].len(), LONGEST_LINE);
        assert_eq!(lines[2], "x\n");
        assert_eq!(lines[3], "last");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn messages_end_with_one_newline_each() {
        let (sender, receiver) = mpsc::channel(WAITING);
        for message in [&b"a"[..], b"b\n", b"\xff\x00"] {
            sender.try_send(message.into()).unwrap();
        }
        drop(sender);
        let mut output = Vec::new();
        write_messages(&mut output, receiver).unwrap();
        assert_eq!(output, b"a\nb\n\xff\x00\n");
    }
}
