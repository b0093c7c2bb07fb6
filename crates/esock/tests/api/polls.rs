//! Futures that are dropped after so many polls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// At once after this many polls that found it pending; 0: it is never polled.
    Pending(usize),
    /// The same, and only when it has been woken once more: whoever is woken has something to pass on.
    Woken(usize),
}

impl Drop {
    /// All moments up to this many polls.
    pub fn up_to(polls: usize) -> impl Iterator<Item = Self> + Clone {
        (0..=polls).flat_map(|polls| [Self::Pending(polls), Self::Woken(polls.max(1))])
    }
}

/// A future that is given up at that moment: `None`. See [`Drop`].
pub struct GivenUp<F> {
    future: Option<Pin<Box<F>>>,
    when: Drop,
    polls: usize,
}

pub fn give_up<F: Future>(when: Drop, future: F) -> GivenUp<F> {
    GivenUp { future: Some(Box::pin(future)), when, polls: 0 }
}

impl<F: Future> Future for GivenUp<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (Drop::Pending(most) | Drop::Woken(most)) = self.when;
        if self.polls == most {
            self.future = None;
            return Poll::Ready(None);
        }
        let future = self.future.as_mut().expect("it was polled after it ended");
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            self.future = None;
            return Poll::Ready(Some(output));
        }
        self.polls += 1;
        if self.when == Drop::Pending(self.polls) {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
