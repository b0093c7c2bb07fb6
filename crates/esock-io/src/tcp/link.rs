//! A connection: what is on its way out, and what came in so far.

use super::frame::{Frame, HEADER_BYTES};
use bytes::Bytes;
use esock_proto::{Address, SendOptions, Time, Undelivered};
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;

/// What a message in the line costs beside its bytes.
const OVERHEAD: usize = 128;

/// Pieces that are written with one call.
const SLICES: usize = 32;

/// Messages that were written are looked after when so many bytes of them may have been acknowledged.
const LOOK_AFTER_BYTES: usize = 128 << 10;

/// What is being done on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The system connects; addresses that are still to be tried, and how the last attempt failed.
    Connecting { rest: VecDeque<Address>, failed: Option<io::ErrorKind> },
    /// The peer's hello is waited for.
    Greeting,
    /// The user decides.
    Offered,
    /// Messages flow, or it ends.
    Open,
}

/// Something to be written.
#[derive(Debug)]
struct Out {
    header: [u8; HEADER_BYTES],
    /// 0 without frames.
    header_len: usize,
    payload: Bytes,
    /// Of a message.
    options: Option<SendOptions>,
}

impl Out {
    fn len(&self) -> usize {
        self.header_len + self.payload.len()
    }
}

/// A message that was written, and the position in the stream behind it.
#[derive(Debug)]
struct Written {
    end: u64,
    options: SendOptions,
    payload: Bytes,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    pub stream: Option<TcpStream>,
    pub phase: Phase,
    /// The address that it is connected to, or being connected to.
    pub remote: Option<Address>,
    /// What came in and is no whole frame yet.
    pub input: Vec<u8>,
    /// There may be more to read, though no edge will tell.
    pub unread: bool,
    /// The largest message that the peer takes.
    pub peer_takes: usize,
    /// The peer sends no more.
    pub peer_done: bool,
    /// Our shutdown was put into the line.
    pub said_shutdown: bool,
    /// The end of our half is to be answered by then.
    pub guard: Option<Time>,
    /// When to look at it next, and whether a timer runs for that.
    pub deadline: Option<Time>,
    pub armed: Option<Time>,
    framed: bool,
    queue: VecDeque<Out>,
    queued_bytes: usize,
    /// How much of the first in the queue was written.
    offset: usize,
    written: VecDeque<Written>,
    written_bytes: usize,
    position: u64,
}

impl Link {
    pub fn new(stream: Option<TcpStream>, phase: Phase, remote: Option<Address>, framed: bool) -> Self {
        Self {
            stream,
            phase,
            remote,
            input: Vec::new(),
            unread: false,
            peer_takes: usize::MAX,
            peer_done: false,
            said_shutdown: false,
            guard: None,
            deadline: None,
            armed: None,
            framed,
            queue: VecDeque::new(),
            queued_bytes: 0,
            offset: 0,
            written: VecDeque::new(),
            written_bytes: 0,
            position: 0,
        }
    }

    /// Whether a message of this length may be put into the line.
    pub fn has_room(&self, len: usize, limit: usize) -> bool {
        self.queued_bytes == 0 || self.queued_cost() + len + OVERHEAD <= limit
    }

    /// What the line takes of the send buffer.
    pub fn queued_cost(&self) -> usize {
        self.queued_bytes + self.queue.len() * OVERHEAD
    }

    /// Bytes that were not written yet.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn push_message(&mut self, options: SendOptions, payload: Bytes) {
        let header = Frame::Data { options }.write(payload.len());
        let header_len = if self.framed { HEADER_BYTES } else { 0 };
        self.queued_bytes += payload.len();
        self.queue.push_back(Out { header, header_len, payload, options: Some(options) });
    }

    pub fn push_frame(&mut self, frame: Frame, payload: Bytes) {
        let header = frame.write(payload.len());
        self.queued_bytes += payload.len();
        self.queue.push_back(Out { header, header_len: HEADER_BYTES, payload, options: None });
    }

    /// Bytes as they are, for a hello.
    pub fn push_bytes(&mut self, payload: Bytes) {
        self.queued_bytes += payload.len();
        self.queue.push_back(Out { header: [0; HEADER_BYTES], header_len: 0, payload, options: None });
    }

    /// Drops what was not begun, except for what is half written: for an abort, whose frame comes next.
    pub fn skip_queue(&mut self) -> VecDeque<(SendOptions, Bytes)> {
        let keep = usize::from(self.offset > 0);
        let skipped = self.queue.split_off(keep.min(self.queue.len()));
        skipped.into_iter().filter_map(|out| Some((out.options?, out.payload))).collect()
    }

    /// Writes what the system takes. Says whether everything was written.
    pub fn write(&mut self) -> io::Result<bool> {
        while !self.queue.is_empty() {
            let Some(stream) = &mut self.stream else { return Ok(false) };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let mut skip = self.offset;
            for out in &self.queue {
                for part in [&out.header[..out.header_len], &out.payload[..]] {
                    let begin = skip.min(part.len());
                    skip -= begin;
                    if begin < part.len() && count < SLICES {
                        slices[count] = IoSlice::new(&part[begin..]);
                        count += 1;
                    }
                }
                if count == SLICES {
                    break;
                }
            }
            match stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.on_written(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn on_written(&mut self, len: usize) {
        self.position += len as u64;
        self.offset += len;
        while let Some(out) = self.queue.front()
            && self.offset >= out.len()
        {
            self.offset -= out.len();
            let Some(out) = self.queue.pop_front() else { break };
            self.queued_bytes -= out.payload.len();
            if let Some(options) = out.options {
                self.written_bytes += out.payload.len();
                let end = self.position - self.offset as u64;
                self.written.push_back(Written { end, options, payload: out.payload });
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        if self.written_bytes > LOOK_AFTER_BYTES {
            self.look_after();
        }
    }

    /// Forgets the messages that the peer's system has acknowledged. Says whether any is left.
    pub fn look_after(&mut self) -> bool {
        let Some(unacknowledged) = self.stream.as_ref().and_then(unacknowledged) else {
            return !self.written.is_empty();
        };
        let acknowledged = self.position.saturating_sub(unacknowledged);
        while let Some(first) = self.written.front()
            && first.end <= acknowledged
        {
            self.written_bytes -= first.payload.len();
            self.written.pop_front();
        }
        if self.written.is_empty() {
            self.written = VecDeque::new();
        }
        !self.written.is_empty()
    }

    /// Everything was received, as the peer says.
    pub fn on_confirmed(&mut self) {
        self.written = VecDeque::new();
        self.written_bytes = 0;
    }

    /// What was not acknowledged, oldest first.
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.look_after();
        let written = std::mem::take(&mut self.written);
        let mut back: Vec<_> =
            written.into_iter().map(|message| Undelivered::new(true, message.options, message.payload)).collect();
        let mut begun = std::mem::take(&mut self.offset) > 0;
        for out in std::mem::take(&mut self.queue) {
            let begun = std::mem::take(&mut begun);
            if let Some(options) = out.options {
                back.push(Undelivered::new(begun, options, out.payload));
            }
        }
        self.written_bytes = 0;
        self.queued_bytes = 0;
        back
    }
}

/// Bytes that the peer's system has not acknowledged; `None` where this cannot be asked.
#[cfg(target_os = "linux")]
fn unacknowledged(stream: &TcpStream) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the same number as TIOCOUTQ) writes an int to the place given.
    let code = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if code == 0 { u64::try_from(bytes).ok() } else { None }
}

#[cfg(not(target_os = "linux"))]
fn unacknowledged(_: &TcpStream) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_sorted_into_maybe_and_never_received() {
        let mut link = Link::new(None, Phase::Open, None, true);
        for number in 0..4u8 {
            link.push_message(SendOptions::default(), vec![number; 100].into());
        }
        assert_eq!(link.queued_bytes(), 400);
        // The first was written whole, the second in part.
        link.on_written(HEADER_BYTES + 100 + 5);
        let back = link.take_undelivered();
        let said: Vec<_> = back.iter().map(|back| (back.payload[0], back.maybe_received)).collect();
        assert_eq!(said, [(0, true), (1, true), (2, false), (3, false)]);
        assert_eq!(link.queued_bytes(), 0);
    }

    #[test]
    fn one_message_always_has_room_and_more_only_up_to_the_limit() {
        let mut link = Link::new(None, Phase::Open, None, false);
        assert!(link.has_room(1000, 10));
        link.push_message(SendOptions::default(), vec![0; 6].into());
        let limit = 10 + 2 * OVERHEAD;
        assert!(link.has_room(4, limit) && !link.has_room(5, limit));
        link.on_written(6);
        assert!(link.has_room(1000, 10));
    }
}
