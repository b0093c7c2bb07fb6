//! Messages that have arrived and that nobody has read yet.

use esock_proto::{Message, Part};
use std::collections::VecDeque;

/// What a message costs beside its bytes.
const OVERHEAD: usize = 128;

/// Messages that wait to be read, charged against a window.
#[derive(Debug)]
pub(crate) struct Mailbox {
    messages: VecDeque<Message>,
    bytes: usize,
    window: usize,
    /// The user was told that there is something, and has not read everything since.
    told: bool,
    /// The last message has not ended: its pieces come one by one.
    midway: bool,
    /// The window is full: the socket is left alone until half of it is free again.
    stopped: bool,
}

impl Mailbox {
    pub(crate) fn new(window: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, window, told: false, midway: false, stopped: false }
    }

    /// Takes a message. Says whether the user has to be told.
    pub(crate) fn push(&mut self, message: Message) -> bool {
        self.bytes += message.payload.len() + OVERHEAD;
        self.midway = message.part == Part::More;
        self.messages.push_back(message);
        !std::mem::replace(&mut self.told, true)
    }

    /// Whether the last message has not ended.
    pub(crate) fn is_midway(&self) -> bool {
        self.midway
    }

    /// The next message, and whether reading the socket goes on with that.
    pub(crate) fn pop(&mut self) -> (Option<Message>, bool) {
        let message = self.messages.pop_front();
        if let Some(message) = &message {
            self.bytes -= message.payload.len() + OVERHEAD;
        }
        if self.messages.is_empty() {
            self.told = false;
            // An idle association keeps no memory for messages.
            self.messages = VecDeque::new();
        }
        let goes_on = self.stopped && self.bytes <= self.window / 2;
        self.stopped &= !goes_on;
        (message, goes_on)
    }

    /// Whether the socket is to be left alone. Whoever asks and hears yes is called again when there is room.
    pub(crate) fn is_full(&mut self) -> bool {
        self.stopped |= self.bytes >= self.window;
        self.stopped
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn free(&self) -> usize {
        self.window.saturating_sub(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esock_proto::{Ppid, StreamId};

    fn message(len: usize) -> Message {
        Message::new(StreamId(0), Ppid(0), vec![0; len].into())
    }

    #[test]
    fn the_user_is_told_once_until_everything_was_read() {
        let mut mailbox = Mailbox::new(1000);
        assert!(mailbox.push(message(1)) && !mailbox.push(message(1)));
        mailbox.pop();
        assert!(!mailbox.push(message(1)));
        mailbox.pop();
        mailbox.pop();
        assert!(mailbox.push(message(1)));
    }

    #[test]
    fn a_full_window_opens_when_half_of_it_was_read() {
        let mut mailbox = Mailbox::new(4 * (100 + OVERHEAD));
        for _ in 0..4 {
            assert!(!mailbox.is_full());
            mailbox.push(message(100));
        }
        assert!(mailbox.is_full());
        assert!(!mailbox.pop().1, "three quarters");
        assert!(mailbox.is_full(), "still, though there is some room");
        assert!(mailbox.pop().1, "half");
        assert!(!mailbox.is_full() && !mailbox.pop().1, "told once");
    }
}
