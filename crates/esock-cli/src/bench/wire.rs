//! What the two ends of `esock bench` say to each other: messages of text, told from data by their PPID. The client
//! begins with a [`Task`]; who sends ends with [`Said::End`]; who has received all of it answers with a report.

use bytes::Bytes;
use esock::{Ppid, SendOptions, StreamId};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Nobody registered these.
pub const TALK: Ppid = Ppid(0x4553_4201);
pub const DATA: Ppid = Ppid(0x4553_4202);

/// The longest a client may ask a server to send.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The first word of every talk: another version is not understood.
const GREETING: &str = "esock-bench-1";

/// Who sends what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The client sends.
    Forward,
    /// The server sends.
    Reverse,
    /// The server sends back what comes.
    Ping,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    pub mode: Mode,
    /// Bytes of a message.
    pub length: usize,
    /// Streams, used in turn.
    pub streams: u16,
    pub time: Duration,
}

/// What was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub bytes: u64,
    /// Messages by stream.
    pub messages: BTreeMap<u16, u64>,
    /// From the first to the last.
    pub time: Duration,
}

impl Tally {
    /// Messages of all streams.
    pub fn total(&self) -> u64 {
        self.messages.values().sum()
    }

    /// Another association's, at the same time.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.time = self.time.max(other.time);
        for (stream, count) in &other.messages {
            *self.messages.entry(*stream).or_default() += count;
        }
    }
}

/// A message that is not data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Task(Task),
    /// So many messages were sent, and no more come.
    End(u64),
    Report(Tally),
}

impl Said {
    /// As a message.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = GREETING.to_owned();
        let written = match self {
            Self::Task(Task { mode, length, streams, time }) => {
                let mode = match mode {
                    Mode::Forward => "forward",
                    Mode::Reverse => "reverse",
                    Mode::Ping => "ping",
                };
                write!(out, " {mode} {length} {streams} {}", time.as_millis())
            }
            Self::End(messages) => write!(out, " end {messages}"),
            Self::Report(Tally { bytes, messages, time }) => {
                let begun = write!(out, " report {bytes} {}", time.as_nanos());
                messages.iter().fold(begun, |done, (stream, count)| done.and(write!(out, " {stream}:{count}")))
            }
        };
        written.expect("a string takes all");
        out.into()
    }

    /// From a message of the peer's, which may be anything.
    pub fn from_bytes(message: &[u8]) -> Option<Self> {
        let words: Vec<&str> = std::str::from_utf8(message).ok()?.split(' ').collect();
        let (GREETING, rest) = (*words.first()?, words.get(1..)?) else { return None };
        match rest {
            ["end", messages] => Some(Self::End(messages.parse().ok()?)),
            ["report", bytes, nanoseconds, streams @ ..] => {
                let of = |word: &&str| word.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let time = Duration::from_nanos(nanoseconds.parse().ok()?);
                let messages: Option<_> = streams.iter().map(of).collect();
                Some(Self::Report(Tally { bytes: bytes.parse().ok()?, messages: messages?, time }))
            }
            [mode, length, streams, milliseconds] => {
                let mode = match *mode {
                    "forward" => Mode::Forward,
                    "reverse" => Mode::Reverse,
                    "ping" => Mode::Ping,
                    _ => return None,
                };
                let length = length.parse().ok().filter(|length| (8..=super::args::LARGEST).contains(length))?;
                let streams = streams.parse().ok().filter(|streams| *streams > 0)?;
                let time = Duration::from_millis(milliseconds.parse().ok()?).min(LONGEST);
                Some(Self::Task(Task { mode, length, streams, time }))
            }
            _ => None,
        }
    }
}

/// How data is sent on a stream.
pub fn data_on(stream: u16) -> SendOptions {
    SendOptions { stream: StreamId(stream), ppid: DATA, ..SendOptions::default() }
}

/// How talk is sent.
pub fn talk() -> SendOptions {
    SendOptions { ppid: TALK, ..SendOptions::default() }
}

/// The content of messages: each is a piece of one block, from another place than its neighbours, so that nothing is
/// copied to make it, and a message that is lost, repeated or torn is noticed.
#[derive(Debug, Clone)]
pub struct Content {
    block: Bytes,
    length: usize,
}

/// Places to begin at; prime, so that streams used in turn do not hide them.
const PLACES: u64 = 251;

impl Content {
    pub fn new(length: usize) -> Self {
        // Multiplied by an odd number, the low bits go round through all values; the high bits do not repeat soon.
        let byte = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8;
        Self { block: (0..length as u64 + PLACES).map(byte).collect(), length }
    }

    /// The `n`th message of a stream.
    pub fn message(&self, n: u64) -> Bytes {
        let from = (n % PLACES) as usize;
        self.block.slice(from..from + self.length)
    }

    /// Whether this may be the `n`th message of a stream: its length, its beginning and its end.
    pub fn matches(&self, n: u64, payload: &[u8]) -> bool {
        let from = (n % PLACES) as usize;
        let wanted = &self.block[from..from + self.length];
        payload.len() == wanted.len()
            && payload[..8] == wanted[..8]
            && payload[self.length - 8..] == wanted[self.length - 8..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let task = Task { mode: Mode::Reverse, length: 64, streams: 3, time: Duration::from_secs(2) };
        let messages = BTreeMap::from([(0, 5), (2, 7)]);
        let report = Tally { bytes: 12, messages, time: Duration::from_nanos(99) };
        for said in [Said::Task(task), Said::End(42), Said::Report(report), Said::Report(Tally::default())] {
            assert_eq!(Said::from_bytes(&said.to_bytes()), Some(said));
        }
    }

    #[test]
    fn what_is_not_meant_is_not_understood() {
        let bad = [
            "",
            "end 1",
            "esock-bench-1",
            "esock-bench-1 end x",
            "esock-bench-1 forward 0 1 1",
            "esock-bench-1 forward 64 0 1",
            "esock-bench-1 fly 64 1 1",
            "esock-bench-2 end 1",
            "esock-bench-1 report 1 2 3",
        ];
        for bad in bad {
            assert_eq!(Said::from_bytes(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Said::from_bytes(b"\xff"), None);
    }

    #[test]
    fn a_message_out_of_its_place_does_not_match() {
        let content = Content::new(64);
        for n in 0..600 {
            assert!(content.matches(n, &content.message(n)));
            assert!(!content.matches(n, &content.message(n + 1)), "{n}");
        }
        assert!(!content.matches(0, &content.message(0)[1..]));
    }
}
