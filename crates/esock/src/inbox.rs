//! What the API keeps of an association: events that wait, and who waits for what.

use crate::CloseReason;
use crate::line::Line;
use esock_proto::{AssocId, Event, Negotiated, Stack};
use std::collections::VecDeque;
use std::task::Waker;

/// Events that wait at most, those not counted that give messages back or end something.
const MAX_EVENTS: usize = 256;

/// Who receives what happens on an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// A [`Receiver`](crate::Receiver).
    Receiver,
    /// The owner with this number; whether the association stands in its line.
    Owner { owner: u64, queued: bool },
}

/// See the module.
#[derive(Debug)]
pub struct Inbox {
    pub id: AssocId,
    pub sink: Sink,
    /// Events with the number of messages that come before them.
    events: VecDeque<(u64, Event)>,
    /// Messages handed out so far.
    delivered: u64,
    /// Restarts of the peer so far.
    pub generation: u64,
    pub up: Option<Negotiated>,
    pub closed: Option<CloseReason>,
    /// `Closed` was handed out: nothing more comes.
    pub finished: bool,
    /// The task that reads: there is one at most.
    pub reader: Option<Waker>,
    /// Tasks that wait for room to send.
    pub writers: Line,
    /// Tasks that wait until it is up, or has ended.
    pub closers: Line,
    /// The last handle was dropped.
    pub orphan: bool,
}

/// What [`Inbox::next`] finds.
#[derive(Debug)]
pub enum Next {
    Event(Event),
    Message(esock_proto::Message),
}

impl Inbox {
    pub fn new(id: AssocId, sink: Sink) -> Self {
        Self {
            id,
            sink,
            events: VecDeque::new(),
            delivered: 0,
            generation: 0,
            up: None,
            closed: None,
            finished: false,
            reader: None,
            writers: Line::default(),
            closers: Line::default(),
            orphan: false,
        }
    }

    /// Keeps an event until somebody reads it. `ready` messages have arrived before it.
    pub fn push(&mut self, event: Event, ready: usize) {
        let news = matches!(event, Event::Path { .. } | Event::PathInUse { .. } | Event::PeerError { .. });
        if news && self.events.len() >= MAX_EVENTS {
            // Who does not read learns the state from `paths`; what was lost or has ended is never dropped.
            return;
        }
        // What ends something comes behind the messages that came before it.
        let ends = matches!(event, Event::Closed(_) | Event::Restarted(_) | Event::ShutdownReceived);
        let before = self.delivered + if ends { ready as u64 } else { 0 };
        self.events.push_back((before, event));
    }

    /// The next event or message.
    pub fn next(&mut self, stack: &mut Stack) -> Option<Next> {
        let due = self.events.front().is_some_and(|(before, _)| *before <= self.delivered);
        if !due && let Some(message) = stack.recv(esock_proto::Time::ZERO, self.id) {
            self.delivered += 1;
            return Some(Next::Message(message));
        }
        let (_, event) = self.events.pop_front()?;
        self.finished |= matches!(event, Event::Closed(_));
        Some(Next::Event(event))
    }

    /// Whether [`Inbox::next`] has something.
    pub fn has_next(&self, stack: &Stack) -> bool {
        !self.events.is_empty() || stack.ready_messages(self.id) > 0
    }
}
