//! One end of a link: what it sends and reads, and what it has seen of its association.

use super::book::{Book, LARGEST, STAMP_BYTES, Stamp};
use super::tally::Tally;
use crate::network::Network;
use esock_proto::{AssocId, CloseReason, Message, PathId, Ppid, SendError, SendOptions, StreamId, Time, Tsn};
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

/// Messages taken at one look at most, so that none starves the rest.
const AT_ONCE: usize = 256;

/// How an end sends for a while.
#[derive(Debug, Clone, Copy)]
pub enum Sending {
    /// Nothing.
    Quiet,
    /// Bunches of messages up to this length.
    Bunches { every: Duration, count: u32, largest: usize, streams: u16, unordered: f64 },
}

/// How an end reads for a while.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// When it is told that there is something.
    Told,
    /// A few messages, now and then.
    Slow { every: Duration, count: usize },
}

/// See the module.
#[derive(Debug)]
pub struct End {
    pub uid: u32,
    pub host: usize,
    pub assoc: Option<AssocId>,
    pub up: bool,
    /// The peer wants to end, or we do.
    pub ending: bool,
    pub streams: u16,
    /// The largest message that the peer receives.
    pub largest: usize,
    pub sending: Sending,
    pub reading: Reading,
    pub next_send: Time,
    pub next_read: Option<Time>,
    pub next_habit: Time,
    /// Waits for `Writable`.
    pub full: bool,
    /// What it sends in this life.
    pub book: Book,
    /// Former lives.
    pub retired: Vec<Book>,
    /// The life of the peer that this life of ours hears.
    pub bound: Option<u32>,
    pub last_tsn: Option<Tsn>,
}

impl End {
    pub fn new(uid: u32, host: usize, largest: usize, now: Time) -> Self {
        Self {
            uid,
            host,
            assoc: None,
            up: false,
            ending: false,
            streams: 0,
            largest: largest.min(LARGEST),
            sending: Sending::Quiet,
            reading: Reading::Told,
            next_send: now,
            next_read: None,
            next_habit: now,
            full: false,
            book: Book::new(uid, 0),
            retired: Vec::new(),
            bound: None,
            last_tsn: None,
        }
    }

    /// A new life begins: what was sent in the old one is in its own book, and nothing more is heard from
    /// the life of the peer that the old one heard.
    pub fn begin_life(&mut self, peer: &mut Self) -> Result<(), String> {
        if let Some(at) = peer.retired.iter().position(|book| Some(book.life()) == self.bound) {
            peer.retired.swap_remove(at).close()?;
        }
        let next = Book::new(self.uid, self.book.life() + 1);
        self.retired.push(std::mem::replace(&mut self.book, next));
        (self.bound, self.last_tsn, self.full, self.ending) = (None, None, false, false);
        Ok(())
    }

    /// Its association is gone.
    pub fn lose(&mut self, peer: &mut Self) -> Result<(), String> {
        (self.assoc, self.up, self.next_read) = (None, false, None);
        self.begin_life(peer)
    }

    /// The end of its association: nothing came back if it was graceful.
    pub fn check_closed(&self, reason: &CloseReason) -> Result<(), String> {
        match reason {
            CloseReason::Shutdown if self.book.returned > 0 => {
                Err(format!("end {} was shut down gracefully, and {} messages came back", self.uid, self.book.returned))
            }
            CloseReason::ProtocolViolation { .. } | CloseReason::MessageTooLarge | CloseReason::EndpointClosed => {
                Err(format!("end {} ended by {reason:?}", self.uid))
            }
            _ => Ok(()),
        }
    }

    /// Other habits for a while.
    pub fn change_habits(&mut self, rng: &mut StdRng, now: Time) {
        let ms = Duration::from_millis;
        self.sending = match rng.random_range(0..10) {
            0..5 => Sending::Quiet,
            // A question now and then.
            5 | 6 => Sending::Bunches {
                every: ms(rng.random_range(500..3000)),
                count: 1,
                largest: 400,
                streams: 17,
                unordered: 0.1,
            },
            // Many small messages, most on one stream: sequence numbers wrap within minutes.
            7 => Sending::Bunches {
                every: ms(rng.random_range(50..150)),
                count: 20,
                largest: 40,
                streams: 2,
                unordered: 0.05,
            },
            // As fast as it goes.
            8 => Sending::Bunches { every: ms(1), count: 50, largest: 3000, streams: 5, unordered: 0.3 },
            // Large ones.
            _ => Sending::Bunches {
                every: ms(rng.random_range(200..2000)),
                count: 2,
                largest: self.largest,
                streams: 3,
                unordered: 0.2,
            },
        };
        self.reading = match rng.random_range(0..6) {
            0 => Reading::Slow { every: ms(rng.random_range(50..5000)), count: rng.random_range(1..20) },
            1 => Reading::Slow { every: ms(rng.random_range(20_000..400_000)), count: AT_ONCE },
            _ => Reading::Told,
        };
        let busy = matches!(self.sending, Sending::Bunches { every, .. } if every == ms(1));
        // A flood is over soon; quiet and small talk go on.
        let lasts = if busy { rng.random_range(200..3000) } else { rng.random_range(10_000..600_000) };
        (self.next_habit, self.next_send) = (now + ms(lasts), now);
        self.next_read = self.next_read.map(|_| now);
    }

    /// Nothing but reading.
    pub fn be_quiet(&mut self, now: Time) {
        (self.sending, self.reading) = (Sending::Quiet, Reading::Told);
        self.next_read = self.next_read.map(|_| now);
    }

    /// When it wants to do something.
    pub fn next(&self, calm: bool) -> Option<Time> {
        let sends = matches!(self.sending, Sending::Bunches { .. }) && self.up && !self.ending && !self.full;
        let send = sends.then_some(self.next_send);
        [send, self.next_read, (!calm).then_some(self.next_habit)].into_iter().flatten().min()
    }

    /// There is something to read.
    pub fn on_readable(&mut self, now: Time) {
        if self.next_read.is_none() {
            self.next_read = Some(match self.reading {
                Reading::Told => now,
                Reading::Slow { every, .. } => now + every,
            });
        }
    }

    /// Sends what is due.
    pub fn send(&mut self, network: &mut Network, rng: &mut StdRng, tally: &mut Tally) {
        let Sending::Bunches { every, count, largest, streams, unordered } = self.sending else { return };
        let Some(assoc) = self.assoc.filter(|_| self.up && !self.ending && !self.full) else { return };
        let now = network.now;
        if self.next_send > now {
            return;
        }
        self.next_send = now + every;
        let largest = largest.min(self.largest).max(STAMP_BYTES);
        for _ in 0..count {
            let len = if rng.random_bool(0.5) { STAMP_BYTES } else { rng.random_range(STAMP_BYTES..=largest) };
            let stream = if rng.random_bool(0.7) { 0 } else { rng.random_range(0..streams.min(self.streams).max(1)) };
            let options = SendOptions {
                stream: StreamId(stream),
                ppid: Ppid(46),
                unordered: rng.random_bool(unordered),
                sack_immediately: rng.random_bool(0.01),
                context: u64::from(self.book.next().number),
                path: self.book.next().number.is_multiple_of(32).then_some(PathId(1)),
                ..SendOptions::default()
            };
            let message = self.book.next().message(len);
            match network.hosts[self.host].stack.send(now, assoc, options, message) {
                Ok(()) => {
                    self.book.sent(&options, len);
                    tally.sent += 1;
                }
                Err(rejected) => {
                    self.full = rejected.error == SendError::Full;
                    self.ending |= !self.full;
                    break;
                }
            }
        }
        network.touch(self.host);
    }

    /// The messages that it takes now.
    pub fn read(&mut self, network: &mut Network) -> Vec<Message> {
        let now = network.now;
        let Some(assoc) = self.assoc.filter(|_| self.next_read.is_some_and(|at| at <= now)) else { return Vec::new() };
        let count = match self.reading {
            Reading::Told => AT_ONCE,
            Reading::Slow { count, .. } => count,
        };
        let stack = &mut network.hosts[self.host].stack;
        let messages: Vec<_> = std::iter::from_fn(|| stack.recv(now, assoc)).take(count).collect();
        // The user of `Readable` comes back while there is something, and then waits to be told.
        let every = match self.reading {
            Reading::Told => Duration::ZERO,
            Reading::Slow { every, .. } => every,
        };
        self.next_read = (stack.ready_messages(assoc) > 0).then(|| now + every);
        network.touch(self.host);
        messages
    }

    /// Everything that is there.
    pub fn drain(&mut self, network: &mut Network) -> Vec<Message> {
        let Some(assoc) = self.assoc else { return Vec::new() };
        self.next_read = None;
        let (now, stack) = (network.now, &mut network.hosts[self.host].stack);
        std::iter::from_fn(|| stack.recv(now, assoc)).collect()
    }

    /// A message has arrived from `peer`.
    pub fn hear(&mut self, peer: &mut Self, message: &Message, tally: &mut Tally) -> Result<(), String> {
        let stamp = Stamp::of(&message.payload).ok_or("a message without a stamp")?;
        if stamp.end != peer.uid {
            return Err(format!("end {} hears {stamp:?}, its peer is {}", self.uid, peer.uid));
        }
        // Within one life, all comes from one life of the peer.
        if *self.bound.get_or_insert(stamp.life) != stamp.life {
            return Err(format!("end {} hears life {} after {:?}", self.uid, stamp.life, self.bound));
        }
        let book = match &mut peer.book {
            book if book.life() == stamp.life => book,
            _ => peer.retired.iter_mut().find(|book| book.life() == stamp.life).ok_or("a life that never was")?,
        };
        let entered = book.arrived(stamp, message)?;
        tally.received += 1;
        tally.bytes += message.payload.len() as u64;
        tally.ssn_wraps += u64::from(entered.ssn_wrapped);
        let last = *self.last_tsn.get_or_insert(message.tsn);
        if message.tsn.follows(last) {
            tally.tsn_wraps += u64::from(message.tsn.0 < last.0);
            self.last_tsn = Some(message.tsn);
        }
        Ok(())
    }

    /// Forgets what it has sent in this life, which is over.
    pub fn forget(&mut self) {
        self.book = Book::new(self.uid, self.book.life());
    }

    /// Forgets former lives whose messages are accounted for; nothing more can arrive.
    pub fn close_books(&mut self) -> Result<(), String> {
        self.retired.iter().try_for_each(Book::close)?;
        self.retired = Vec::new();
        self.book.compact();
        Ok(())
    }
}
