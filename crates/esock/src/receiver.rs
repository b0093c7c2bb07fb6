//! Receiving from one association.

use crate::line::replace;
use crate::link::{Link, Sink};
use crate::{Association, Event, Message};
use esock_io::Transport;
use std::future::poll_fn;
use std::task::Poll;
use tokio::task::coop::cooperative;

/// What an association has for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A message from the peer: whole, unless `Config::partial_delivery` is on, see `Message::part`.
    Message(Message),
    /// Something has happened. [`Event::Up`] comes first, but for what became of messages
    /// that were sent before ([`Event::Undelivered`], [`Event::Expired`]); [`Event::Closed`] comes last.
    Event(Event),
}

/// The receiving end of an association: there is one. Keeps the association as an
/// [`Association`] does.
#[derive(Debug)]
pub struct Receiver {
    association: Association,
}

impl Receiver {
    pub(crate) fn new(association: Association) -> Self {
        Self { association }
    }

    /// The association.
    pub fn association(&self) -> &Association {
        &self.association
    }

    fn take<T>(&self, take: impl FnOnce(&mut Link, &mut dyn Transport) -> T) -> Option<T> {
        let shard = self.association.shard();
        let mut state = shard.lock();
        let state_now = &mut *state;
        let link = state_now.links.get_mut(self.association.id())?;
        let out = take(link, &mut *state_now.transport);
        link.make_room(&mut state_now.wakes);
        let has_opened = state.has_opened();
        drop(state);
        if has_opened {
            // Reading has opened the window: the peer is told at once.
            shard.with(|_, _| ());
        }
        Some(out)
    }

    /// The next message or event, in the order in which they came; `None` after [`Event::Closed`].
    ///
    /// Cancel safe: nothing is lost when it is dropped.
    pub async fn recv(&mut self) -> Option<Received> {
        cooperative(poll_fn(|cx| {
            // Goes when nothing is locked.
            let mut replaced = None;
            let polled = self.take(|link, transport| match link.next(transport) {
                Some(next) => Poll::Ready(Some(next)),
                None if link.finished => Poll::Ready(None),
                None => {
                    replaced = replace(&mut link.reader, cx.waker());
                    Poll::Pending
                }
            });
            drop(replaced);
            polled.unwrap_or(Poll::Ready(None))
        }))
        .await
    }

    /// The next message or event, if there is one now.
    pub fn try_recv(&mut self) -> Option<Received> {
        self.take(|link, transport| link.next(transport)).flatten()
    }

    /// Appends up to `max` messages and events to `out` under one lock, waiting for the first; returns
    /// how many. 0 after [`Event::Closed`], or if `max` is 0.
    ///
    /// Cancel safe: nothing is lost when it is dropped.
    pub async fn recv_many(&mut self, out: &mut Vec<Received>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        cooperative(poll_fn(|cx| {
            let before = out.len();
            let mut replaced = None;
            let polled = self.take(|link, transport| {
                link.next_many(transport, out, max);
                if out.len() == before && !link.finished {
                    replaced = replace(&mut link.reader, cx.waker());
                    return Poll::Pending;
                }
                Poll::Ready(out.len() - before)
            });
            drop(replaced);
            polled.unwrap_or(Poll::Ready(0))
        }))
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let shard = self.association.shard();
        let mut state = shard.lock();
        let state_now = &mut *state;
        if let Some(link) = state_now.links.get_mut(self.association.id())
            && let Sink::Receiver { held } = &mut link.sink
        {
            *held = false;
            link.make_room(&mut state_now.wakes);
        }
        let has_opened = !state.wakes.is_empty();
        drop(state);
        if has_opened {
            shard.with(|_, _| ());
        }
    }
}
