//! Putting fragments together (RFC 9260 §6.9). Fragments of a message have consecutive TSNs, so what
//! has arrived is a set of runs; a run that begins with B and ends with E is a message.

use super::OVERHEAD;
use crate::api::{Message, Part};
use crate::serial::{Ssn, Tsn};
use crate::types::{PathId, Ppid, StreamId};
use crate::wire::Data;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// A message that is complete.
#[derive(Debug)]
pub struct Complete {
    pub message: Message,
    pub fragments: u32,
    /// It is being handed over in pieces: this is its rest.
    pub partial: bool,
}

impl Complete {
    /// What it is charged while it waits: it is one message, however many fragments it took.
    pub fn cost(&self) -> usize {
        self.message.payload.len() + OVERHEAD
    }
}

/// What has arrived of the message that is being handed over in pieces.
#[derive(Debug)]
pub struct Piece {
    pub tsn: Tsn,
    pub payload: Bytes,
}

/// Why a fragment is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It contradicts its neighbours.
    Violation(&'static str),
    /// Its message would be too large.
    TooLarge,
}

/// Fragments with consecutive TSNs, all of one message.
#[derive(Debug)]
pub struct Run {
    first: Tsn,
    pub stream: StreamId,
    pub ssn: Ssn,
    ppid: Ppid,
    pub unordered: bool,
    has_begin: bool,
    has_end: bool,
    /// It is being handed over in pieces.
    partial: bool,
    count: u32,
    /// How many of them were handed over: none, or the first.
    taken: u32,
    /// Bytes held.
    pub len: usize,
    /// The bytes; what arrives in order goes on in the last part.
    parts: VecDeque<BytesMut>,
}

/// All runs, by the extended TSN of their first fragment.
#[derive(Debug, Default)]
pub struct Reassembly {
    runs: BTreeMap<u64, Run>,
    /// What all of them are charged.
    cost: usize,
    /// The last message's length: a good guess for the next one's.
    last_len: usize,
}

impl Run {
    fn end(&self, start: u64) -> u64 {
        start + u64::from(self.count)
    }

    fn is_complete(&self) -> bool {
        self.has_begin && self.has_end
    }

    /// What it takes: a fragment that went on in a part that there was takes no more than its bytes. So a message of half
    /// the window always fits, however small its fragments are.
    fn cost(&self) -> usize {
        self.len + self.parts.len() * OVERHEAD
    }

    /// From now on it is handed over in pieces: what is known of its message, which came over `path` last.
    pub fn begin_pieces(&mut self, path: PathId) -> Message {
        self.partial = true;
        self.message(path, Bytes::new())
    }

    fn message(&self, path: PathId, payload: Bytes) -> Message {
        Message {
            stream: self.stream,
            ppid: self.ppid,
            ssn: self.ssn,
            tsn: self.first.plus(self.taken),
            unordered: self.unordered,
            path,
            part: Part::Whole,
            payload,
        }
    }

    /// Whether `next` continues this run's message.
    fn agrees(&self, next: &Self) -> Result<(), Refused> {
        if self.stream != next.stream || self.unordered != next.unordered || (!self.unordered && self.ssn != next.ssn) {
            return Err(Refused::Violation("fragments of one message on different streams"));
        }
        Ok(())
    }

    fn append(&mut self, mut next: Self) {
        self.count += next.count;
        self.len += next.len;
        self.has_end = next.has_end;
        let ours = self.parts.len();
        match (self.parts.back_mut(), next.parts.len()) {
            // In order: one copy, into the open part.
            (Some(open), 1) if open.capacity() - open.len() >= next.parts[0].len() => {
                open.extend_from_slice(&next.parts[0])
            }
            // The fewer go to the more: who sends a message from its end on must not have all of it moved each time.
            (_, theirs) if theirs > ours => {
                while let Some(part) = self.parts.pop_back() {
                    next.parts.push_front(part);
                }
                self.parts = next.parts;
            }
            _ => self.parts.append(&mut next.parts),
        }
    }

    /// Takes the bytes out.
    fn take_bytes(&mut self) -> Bytes {
        let guessed_well = |part: &BytesMut| part.capacity() <= 2 * part.len() + 1024;
        let payload = if self.parts.len() == 1 && guessed_well(&self.parts[0]) {
            self.parts.pop_front().unwrap_or_default()
        } else {
            let mut whole = BytesMut::with_capacity(self.len);
            self.parts.drain(..).for_each(|part| whole.extend_from_slice(&part));
            whole
        };
        payload.freeze()
    }

    fn into_complete(mut self, path: PathId) -> Complete {
        let payload = self.take_bytes();
        Complete { fragments: self.count, partial: self.partial, message: self.message(path, payload) }
    }
}

/// A message in one chunk, of which `payload` is the copy.
pub fn message(data: &Data<'_>, path: PathId, payload: Bytes) -> Message {
    Message {
        stream: data.stream,
        ppid: data.ppid,
        ssn: data.ssn,
        tsn: data.tsn,
        unordered: data.flags.is_unordered(),
        path,
        part: Part::Whole,
        payload,
    }
}

impl Reassembly {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What is held is charged so much.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Whether everything below the cumulative TSN makes sense: only the one message that is still
    /// arriving may lie there, it has its beginning, and nothing else came where it goes on.
    pub fn is_consistent(&self, cumulative: u64) -> bool {
        self.runs
            .first_key_value()
            .is_none_or(|(start, run)| *start > cumulative || (run.has_begin && run.end(*start) > cumulative))
    }

    /// Takes a fragment whose extended TSN is `at`, which is the very next one if `in_order`. Returns the
    /// message if it completes one.
    pub fn insert(
        &mut self,
        data: &Data<'_>,
        at: u64,
        in_order: bool,
        path: PathId,
        max: usize,
    ) -> Result<Option<Complete>, Refused> {
        // The hot case: it continues the run before it, in order.
        let before = self.runs.range_mut(..at).next_back();
        if let Some((start, run)) = before
            && run.end(*start) == at
        {
            if data.flags.is_begin() != run.has_end {
                return Err(Refused::Violation("a message begins before the one before it has ended"));
            }
            if !data.flags.is_begin() {
                let start = *start;
                self.cost += Self::extend(run, data, max)?;
                let complete = run.is_complete();
                if self.runs.len() > 1 {
                    return self.join_next(start, path, max);
                }
                // The only one: nothing lies behind it.
                return Ok(if complete { self.take(start, path) } else { None });
            }
        }
        let mut run = Run {
            first: data.tsn,
            stream: data.stream,
            ssn: data.ssn,
            ppid: data.ppid,
            unordered: data.flags.is_unordered(),
            has_begin: data.flags.is_begin(),
            has_end: data.flags.is_end(),
            partial: false,
            count: 1,
            taken: 0,
            len: data.payload.len(),
            parts: VecDeque::with_capacity(1),
        };
        if run.len > max {
            return Err(Refused::TooLarge);
        }
        // A fragment that ends a message is followed by one that begins the next.
        let next = self.runs.get(&(at + 1));
        if next.is_some_and(|next| next.has_begin != run.has_end) {
            return Err(Refused::Violation("a message begins before the one before it has ended"));
        }
        if let Some(next) = next.filter(|_| !run.has_end) {
            run.agrees(next)?;
        }
        // Room for a message like the last one; only in order, where there is one such run at a time: a
        // peer must not make us set aside more than it sends.
        let room = if run.has_begin && in_order { self.last_len.min(max) } else { 0 };
        let mut part = BytesMut::with_capacity(room.max(data.payload.len()));
        part.extend_from_slice(data.payload);
        run.parts.push_back(part);
        self.cost += run.cost();
        self.runs.insert(at, run);
        self.join_next(at, path, max)
    }

    /// Takes the next fragment of a run; returns what it takes.
    fn extend(run: &mut Run, data: &Data<'_>, max: usize) -> Result<usize, Refused> {
        if run.stream != data.stream
            || run.unordered != data.flags.is_unordered()
            || (!run.unordered && run.ssn != data.ssn)
        {
            return Err(Refused::Violation("fragments of one message on different streams"));
        }
        if run.len + data.payload.len() > max {
            return Err(Refused::TooLarge);
        }
        run.count += 1;
        run.len += data.payload.len();
        run.has_end = data.flags.is_end();
        match run.parts.back_mut() {
            // Growing by doubling keeps it at one copy and a bit.
            Some(open) => {
                if open.capacity() - open.len() < data.payload.len() {
                    open.reserve(data.payload.len().max(open.len()).min(max - open.len()));
                }
                open.extend_from_slice(data.payload);
                Ok(data.payload.len())
            }
            None => {
                run.parts.push_back(BytesMut::from(data.payload));
                Ok(data.payload.len() + OVERHEAD)
            }
        }
    }

    /// Joins the run at `start` with the one behind it, if that continues it; takes it out if it is complete.
    fn join_next(&mut self, start: u64, path: PathId, max: usize) -> Result<Option<Complete>, Refused> {
        let Some(run) = self.runs.get(&start) else { return Ok(None) };
        let end = run.end(start);
        if !run.has_end
            && let Some(next) = self.runs.get(&end)
        {
            if next.has_begin {
                return Err(Refused::Violation("a message begins before the one before it has ended"));
            }
            run.agrees(next)?;
            if run.len + next.len > max {
                return Err(Refused::TooLarge);
            }
            if let Some(next) = self.runs.remove(&end)
                && let Some(run) = self.runs.get_mut(&start)
            {
                self.cost -= run.cost() + next.cost();
                run.append(next);
                self.cost += run.cost();
            }
        }
        let complete = self.runs.get(&start).is_some_and(Run::is_complete);
        Ok(if complete { self.take(start, path) } else { None })
    }

    /// Takes out a run that is a message.
    fn take(&mut self, start: u64, path: PathId) -> Option<Complete> {
        let run = self.runs.remove(&start)?;
        self.cost -= run.cost();
        let complete = run.into_complete(path);
        self.last_len = complete.message.payload.len();
        Some(complete)
    }

    /// The message that is arriving, if the cumulative TSN has come to the middle of one.
    pub fn arriving(&mut self, cumulative: u64) -> Option<&mut Run> {
        let first = self.runs.first_entry()?;
        (*first.key() <= cumulative).then(|| first.into_mut())
    }

    /// How many bytes there are of the message that is being handed over in pieces: it is the first.
    pub fn piece_len(&self) -> usize {
        self.runs.first_key_value().map_or(0, |(_, run)| run.len)
    }

    /// Takes these bytes out. The last fragment stays, without its bytes, for others to follow.
    pub fn take_piece(&mut self) -> Option<Piece> {
        if self.piece_len() == 0 {
            return None;
        }
        let (start, mut run) = self.runs.pop_first()?;
        self.cost -= run.cost();
        let piece = Piece { tsn: run.first.plus(run.taken), payload: run.take_bytes() };
        let before = run.count - 1;
        (run.first, run.count, run.taken, run.len) = (run.first.plus(before), 1, 1, 0);
        self.runs.insert(start + u64::from(before), run);
        Some(piece)
    }

    /// Whether the first run is handed over in pieces, and no other.
    #[cfg(feature = "fuzzing")]
    pub fn has_pieces(&self) -> bool {
        self.runs.values().enumerate().all(|(at, run)| run.partial == (at == 0))
    }

    /// What is held, recounted: runs do not overlap, and none is whole.
    #[cfg(feature = "fuzzing")]
    pub fn recount(&self, cumulative: u64) -> usize {
        let mut end = 0;
        let mut held = 0;
        for (start, run) in &self.runs {
            assert!(*start >= end, "runs overlap");
            end = run.end(*start);
            assert!(!run.is_complete(), "a message is complete and was not handed on");
            assert!(*start > cumulative || run.has_begin, "a message without a beginning was acknowledged");
            assert_eq!(run.parts.iter().map(BytesMut::len).sum::<usize>(), run.len, "bytes of a run");
            held += run.cost();
        }
        assert_eq!(held, self.cost, "bytes of fragments");
        held
    }

    /// Gives up runs that lie wholly beyond the cumulative TSN.
    pub fn give_up(&mut self, take_back: &mut impl FnMut(Tsn) -> bool) {
        self.runs.retain(|_, run| {
            let keep = !take_back(run.first);
            if !keep {
                (1..run.count).for_each(|more| {
                    take_back(run.first.plus(more));
                });
                self.cost -= run.cost();
            }
            keep
        });
    }
}
