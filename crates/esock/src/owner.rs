//! Owners: they receive what happens on the associations of an endpoint that their filter accepts.

use crate::association::{Association, Handle};
use crate::endpoint::Core;
use crate::inbox::{Inbox, Next, Sink};
use crate::receiver::Received;
use crate::{Address, Negotiated};
use esock_proto::{AssocId, Incoming};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

/// A peer that wants an association: its cookie was valid, nothing is kept for it yet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Candidate {
    /// Its addresses; the first is where its INIT came from.
    pub addresses: Vec<Address>,
    /// Its SCTP port.
    pub port: u16,
    /// Associations that the endpoint has now.
    pub associations: usize,
    /// What would be agreed on: streams, adaptation indication.
    pub negotiated: Negotiated,
    /// Its UDP port, `None` for native SCTP.
    pub encap_port: Option<u16>,
}

impl Candidate {
    pub(crate) fn new(incoming: &Incoming, associations: usize) -> Self {
        Self {
            addresses: incoming.addresses().to_vec(),
            port: incoming.port(),
            associations,
            negotiated: incoming.negotiated(),
            encap_port: incoming.encap_port(),
        }
    }
}

/// A filter that can be called outside the lock.
#[derive(Clone)]
pub(crate) struct Filter(Arc<dyn Fn(&Candidate) -> bool + Send + Sync>);

impl Filter {
    pub fn new(filter: impl Fn(&Candidate) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(filter))
    }

    /// A filter that panics says no: whoever runs it here serves others as well.
    pub fn accepts(&self, candidate: &Candidate) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.0)(candidate))).unwrap_or(false)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// What an owner receives.
#[derive(Debug, Clone)]
pub struct OwnerEvent {
    /// Whose it is. New ones begin with [`Event::Up`](crate::Event::Up).
    pub association: Association,
    /// What happened.
    pub received: Received,
}

/// Receives what happens on the associations that its filter accepted. It keeps them: when it is
/// dropped it is unregistered, and those that nobody else holds are shut down.
///
/// Associations take turns, one message each: one that is noisy does not keep the others waiting.
#[derive(Debug)]
pub struct Owner {
    core: Arc<Core>,
    number: u64,
    associations: HashMap<AssocId, Association>,
}

impl Owner {
    pub(crate) fn new(core: Arc<Core>, number: u64) -> Self {
        Self { core, number, associations: HashMap::new() }
    }

    /// The next message or event of any of its associations; `None` when the endpoint was closed, or all
    /// [`Endpoint`](crate::Endpoint)s were dropped so that nobody is accepted any more, and everything has
    /// been read.
    ///
    /// Cancel safe: nothing is lost when it is dropped.
    pub async fn recv(&mut self) -> Option<OwnerEvent> {
        let (id, next) = poll_fn(|cx| self.poll_next(cx)).await?;
        let core = &self.core;
        let known = self.associations.entry(id);
        let association = known.or_insert_with(|| Association::new(Handle::new(core.clone(), id))).clone();
        let received = Received::from(next);
        if matches!(received, Received::Event(crate::Event::Closed(_))) {
            self.associations.remove(&id);
        }
        // Reading may have opened a window: the peer is told at once.
        if self.core.shard.lock().driver.stack().wants_transmit() {
            self.core.shard.with(|_, _| ());
        }
        Some(OwnerEvent { association, received })
    }

    fn poll_next(&self, cx: &std::task::Context<'_>) -> Poll<Option<(AssocId, Next)>> {
        let mut state = self.core.shard.lock();
        let state = &mut *state;
        let Some(owner) = state.owners.get_mut(&self.number) else { return Poll::Ready(None) };
        while let Some(id) = owner.ready.pop_front() {
            let Some(inbox) = state.inboxes.get_mut(&id) else { continue };
            let next = inbox.next(state.driver.stack_mut());
            let more = inbox.has_next(state.driver.stack());
            if let Sink::Owner { queued, .. } = &mut inbox.sink {
                *queued = more;
            }
            if more {
                owner.ready.push_back(id);
            }
            if let Some(next) = next {
                return Poll::Ready(Some((id, next)));
            }
        }
        // Nobody new comes any more, and the others have said all.
        let shut = state.endpoints.get(&self.core.id).is_none_or(|endpoint| endpoint.shut);
        let ours = |inbox: &Inbox| matches!(inbox.sink, Sink::Owner { owner, .. } if owner == self.number);
        if state.failed || (shut && state.inboxes.values().filter(|inbox| ours(inbox)).all(|inbox| inbox.finished)) {
            return Poll::Ready(None);
        }
        owner.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let taken: Vec<AssocId> = self.associations.keys().copied().collect();
        self.core.shard.with(|state, now| {
            state.owners.remove(&self.number);
            if let Some(endpoint) = state.endpoints.get_mut(&self.core.id) {
                state.gone.filters.extend(endpoint.owners.extract_if(.., |(number, _)| *number == self.number));
                state.update_accepting(self.core.id);
            }
            // Those that it had not even seen have no handle that could end them.
            let ours = |sink: &Sink| matches!(sink, Sink::Owner { owner, .. } if *owner == self.number);
            let unseen: Vec<AssocId> = state
                .inboxes
                .values()
                .filter(|inbox| ours(&inbox.sink) && !inbox.orphan && !taken.contains(&inbox.id))
                .map(|inbox| inbox.id)
                .collect();
            unseen.into_iter().for_each(|id| state.orphan(now, id));
        });
    }
}
