//! Sending and receiving, which both ends of `esock bench` do.

use super::wire::{Content, DATA, Said, TALK, Tally, Task, data_on, talk};
use crate::exit::{Exit, Failure};
use crate::words;
use esock::{Association, Event, Message, Received, Receiver};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Bytes of messages that are handed over at once, and messages at most.
const BATCH_BYTES: usize = 64 << 10;
const BATCH: usize = 256;

/// The peer of `esock bench` did what it should not.
pub fn wrong(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Other, what)
}

/// An association and its receiving end.
pub struct Line {
    pub association: Association,
    receiver: Receiver,
    waiting: VecDeque<Received>,
    batch: Vec<Received>,
}

impl Line {
    pub fn new(association: Association, receiver: Receiver) -> Self {
        Self { association, receiver, waiting: VecDeque::new(), batch: Vec::new() }
    }

    /// Says something that is not data.
    pub async fn say(&self, said: &Said) -> Result<(), Failure> {
        let sent = self.association.send(talk(), said.to_bytes()).await;
        sent.map_err(|rejected| wrong(rejected.error.to_string()))
    }

    /// The next message; `None` when the peer has ended well.
    async fn message(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            match self.waiting.pop_front() {
                Some(Received::Message(message)) => return Ok(Some(message)),
                Some(Received::Event(Event::Closed(reason))) => {
                    return match Exit::of(&reason) {
                        Exit::Well => Ok(None),
                        exit => Err(Failure::new(exit, words::close_reason(&reason))),
                    };
                }
                Some(_) => {}
                None if self.receiver.recv_many(&mut self.batch, BATCH).await == 0 => return Ok(None),
                None => self.waiting.extend(self.batch.drain(..)),
            }
        }
    }

    /// The next message, which is talk; `None` when the peer has ended well.
    pub async fn listen(&mut self) -> Result<Option<Said>, Failure> {
        let Some(message) = self.message().await? else { return Ok(None) };
        if message.ppid != TALK {
            return Err(wrong("the other end is no `esock bench`"));
        }
        Said::from_bytes(&message.payload).map(Some).ok_or_else(|| wrong("the other end is another `esock bench`"))
    }

    /// Sends data until the time has come, and says that it ends.
    pub async fn send(&self, task: &Task, progress: &AtomicU64) -> Result<(), Failure> {
        let content = Content::new(task.length);
        let size = (BATCH_BYTES / task.length).clamp(1, BATCH) as u64;
        let (mut next, mut batch) = (0, VecDeque::new());
        let end = Instant::now() + task.time;
        while Instant::now() < end {
            batch.extend((next..next + size).map(|n| {
                let stream = (n % u64::from(task.streams)) as u16;
                (data_on(stream), content.message(n / u64::from(task.streams)))
            }));
            next += size;
            let sent = self.association.send_many(&mut batch).await;
            sent.map_err(|error| wrong(error.to_string()))?;
            progress.fetch_add(size * task.length as u64, Ordering::Relaxed);
        }
        self.say(&Said::End(next)).await
    }

    /// Receives data until the other end has said that it ends, and all has come.
    pub async fn receive(&mut self, task: &Task, progress: &AtomicU64) -> Result<Tally, Failure> {
        let content = Content::new(task.length);
        let (mut tally, mut end, mut first) = (Tally::default(), None, None::<Instant>);
        while end.is_none_or(|end| tally.total() < end) {
            let Some(message) = self.message().await? else {
                return Err(wrong("the other end has ended before all had come"));
            };
            first.get_or_insert_with(Instant::now);
            if message.ppid == TALK {
                let Some(Said::End(count)) = Said::from_bytes(&message.payload) else {
                    return Err(wrong("the other end is another `esock bench`"));
                };
                end = Some(count);
            } else {
                let seen = tally.messages.entry(message.stream.0).or_default();
                if message.ppid != DATA || !content.matches(*seen, &message.payload) {
                    let stream = message.stream.0;
                    return Err(wrong(format!("message {seen} of stream {stream} is not what was sent")));
                }
                *seen += 1;
                tally.bytes += message.payload.len() as u64;
                progress.fetch_add(message.payload.len() as u64, Ordering::Relaxed);
            }
        }
        tally.time = first.map_or(tally.time, |first| first.elapsed());
        Ok(tally)
    }

    /// Sends a message and waits for it to come back, until the time has come: how long each took.
    pub async fn ping(&mut self, task: &Task, progress: &AtomicU64) -> Result<Vec<std::time::Duration>, Failure> {
        let content = Content::new(task.length);
        let mut times = Vec::new();
        let end = Instant::now() + task.time;
        let mut now = Instant::now();
        while now < end {
            let n = times.len() as u64;
            let stream = (n % u64::from(task.streams)) as u16;
            let sent = self.association.send(data_on(stream), content.message(n)).await;
            sent.map_err(|rejected| wrong(rejected.error.to_string()))?;
            let answer = self.message().await?;
            let after = Instant::now();
            let message = answer.ok_or_else(|| wrong("the other end has ended"))?;
            if !content.matches(n, &message.payload) {
                return Err(wrong(format!("message {n} came back changed")));
            }
            times.push(after - now);
            progress.fetch_add(1, Ordering::Relaxed);
            now = after;
        }
        Ok(times)
    }

    /// Sends back what comes, until the other end ends.
    pub async fn echo(&mut self) -> Result<(), Failure> {
        while let Some(message) = self.message().await? {
            let sent = self.association.send(data_on(message.stream.0), message.payload).await;
            sent.map_err(|rejected| wrong(rejected.error.to_string()))?;
        }
        Ok(())
    }
}
