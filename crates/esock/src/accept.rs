//! Waiting for peers.

use crate::association::Association;
use crate::endpoint::Core;
use crate::error::AcceptError;
use crate::line::{For, Place};
use crate::link::Sink;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The next association of the backlogs.
pub(crate) async fn accept(core: &Arc<Core>) -> Result<Association, AcceptError> {
    for shard in &core.shards {
        shard.with(|state, _| {
            if let Some(endpoint) = state.endpoints.get_mut(&core.key).filter(|endpoint| !endpoint.accepting) {
                endpoint.accepting = true;
                state.update_accepting(core.key);
            }
        });
    }
    // In line at each shard; whichever has somebody first.
    let mut places: Vec<_> = core.shards.iter().map(|shard| Place::new(shard, For::Peer(core.key))).collect();
    let (first, count) = (core.next_turn(), core.shards.len());
    poll_fn(|cx| {
        let mut over = true;
        for at in (0..count).map(|step| (first + step) % count) {
            match poll_shard(core, at, &mut places[at], cx) {
                Poll::Ready(Ok(association)) => return Poll::Ready(Ok(association)),
                Poll::Ready(Err(AcceptError)) => {}
                Poll::Pending => over = false,
            }
        }
        if over { Poll::Ready(Err(AcceptError)) } else { Poll::Pending }
    })
    .await
}

/// The next one of a shard.
fn poll_shard(
    core: &Arc<Core>,
    at: usize,
    place: &mut Place<'_>,
    cx: &Context<'_>,
) -> Poll<Result<Association, AcceptError>> {
    let mut state = core.shards[at].lock();
    if state.failed {
        return Poll::Ready(Err(AcceptError));
    }
    loop {
        let open = state.endpoints.get_mut(&core.key).filter(|endpoint| !endpoint.shut);
        let Some(endpoint) = open else { return Poll::Ready(Err(AcceptError)) };
        let Some(id) = endpoint.backlog.pop_front() else {
            place.wait(&mut state, cx);
            return Poll::Pending;
        };
        // None: it was forgotten while it waited.
        if let Some(handle) = state.handle(core, id) {
            if let Some(link) = state.links.get_mut(id) {
                link.sink = Sink::Receiver { held: true };
            }
            place.leave(&mut state);
            return Poll::Ready(Ok(Association::new(handle)));
        }
    }
}
