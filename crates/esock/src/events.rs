//! What happens to an endpoint as a whole.

use crate::Chosen;
use crate::endpoint::Core;
use crate::line::replace;
use crate::shard::Shard;
use crate::state::new_number;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What happens to an endpoint as a whole, its associations apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointEvent {
    /// It was opened: which backend was chosen, and why.
    Opened(Chosen),
    /// Its sockets failed. Its associations have ended; supervised ones will be made again. Of several shards each tells
    /// this of itself, and what follows: the others go on meanwhile.
    Failed {
        /// What the system said.
        error: String,
        /// The how manieth failure this is within ten seconds; the sixth is the last.
        attempt: u32,
    },
    /// Its sockets were opened anew.
    Reopened(Chosen),
    /// Its sockets failed more than five times within ten seconds: it is of no more use, or one of its shards is.
    GaveUp {
        /// What the system said at last.
        error: String,
    },
}

/// Receives what happens to an endpoint as a whole. Made by [`Endpoint::events`](crate::Endpoint::events).
#[derive(Debug)]
pub struct EndpointEvents {
    core: Arc<Core>,
    number: u64,
}

impl EndpointEvents {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let number = new_number();
        let mut opened = Some(core.backend.clone());
        core.shards.iter().for_each(|shard| shard.with(|state, _| state.watch(core.key, number, opened.take())));
        Self { core, number }
    }

    /// The next event; the first is [`EndpointEvent::Opened`]. Who does not read finds the last 64. `None`
    /// when the endpoint was closed or has failed for good.
    ///
    /// Cancel safe: nothing is lost when it is dropped.
    pub async fn recv(&mut self) -> Option<EndpointEvent> {
        poll_fn(|cx| {
            let mut over = true;
            for shard in &self.core.shards {
                match self.poll_shard(shard, cx) {
                    Poll::Ready(None) => {}
                    Poll::Pending => over = false,
                    found => return found,
                }
            }
            if over { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    fn poll_shard(&self, shard: &Shard, cx: &Context<'_>) -> Poll<Option<EndpointEvent>> {
        let mut state = shard.lock();
        let state = &mut *state;
        let failed = state.failed;
        let endpoint = state.endpoints.get_mut(&self.core.key);
        let watchers = endpoint.map(|endpoint| &mut endpoint.watchers);
        let watcher = watchers.and_then(|all| all.iter_mut().find(|(number, _)| *number == self.number));
        let Some((_, watcher)) = watcher else { return Poll::Ready(None) };
        if let Some(event) = watcher.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if failed {
            return Poll::Ready(None);
        }
        state.replaced.extend(replace(&mut watcher.reader, cx.waker()));
        Poll::Pending
    }
}

impl Drop for EndpointEvents {
    fn drop(&mut self) {
        for shard in &self.core.shards {
            let mut state = shard.lock();
            let endpoint = state.endpoints.get_mut(&self.core.key);
            let gone: Vec<_> = endpoint
                .map(|endpoint| endpoint.watchers.extract_if(.., |(number, _)| *number == self.number).collect())
                .unwrap_or_default();
            // A waker may run the user's code when it is dropped.
            drop(state);
            drop(gone);
        }
    }
}
