//! Waiting for peers.

use crate::endpoint::Core;
use crate::error::AcceptError;
use crate::line::{For, Place};
use esock_proto::AssocId;
use std::future::poll_fn;
use std::task::Poll;

/// The next association of the backlog.
pub(crate) async fn accept(core: &Core) -> Result<AssocId, AcceptError> {
    core.shard.with(|state, _| {
        if let Some(endpoint) = state.endpoints.get_mut(&core.id).filter(|endpoint| !endpoint.accepting) {
            endpoint.accepting = true;
            state.update_accepting(core.id);
        }
    });
    let mut place = Place::new(&core.shard, For::Peer(core.id));
    poll_fn(|cx| {
        let mut state = core.shard.lock();
        if state.failed {
            return Poll::Ready(Err(AcceptError));
        }
        let open = state.endpoints.get_mut(&core.id).filter(|endpoint| !endpoint.shut);
        let Some(endpoint) = open else { return Poll::Ready(Err(AcceptError)) };
        match endpoint.backlog.pop_front() {
            Some(id) => {
                place.leave(&mut state);
                Poll::Ready(Ok(id))
            }
            None => {
                place.wait(&mut state, cx);
                Poll::Pending
            }
        }
    })
    .await
}
