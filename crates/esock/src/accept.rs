//! Waiting for peers.

use crate::association::Association;
use crate::endpoint::Core;
use crate::error::AcceptError;
use crate::line::{For, Place};
use crate::link::Sink;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// The next association of the backlog.
pub(crate) async fn accept(core: &Arc<Core>) -> Result<Association, AcceptError> {
    core.shard.with(|state, _| {
        if let Some(endpoint) = state.endpoints.get_mut(&core.key).filter(|endpoint| !endpoint.accepting) {
            endpoint.accepting = true;
            state.update_accepting(core.key);
        }
    });
    let mut place = Place::new(&core.shard, For::Peer(core.key));
    poll_fn(|cx| {
        let mut state = core.shard.lock();
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
    })
    .await
}
