//! How associations and endpoints end.

use super::{EndpointState, State, Watcher};
use crate::endpoint::Core;
use crate::events::EndpointEvent;
use crate::line::Line;
use crate::link::{EndpointKey, LinkId, Sink};
use crate::{Chosen, CloseReason, Event};
use esock_io::EndpointError;
use esock_proto::{EndpointConfig, Rejected, SendError, SendOptions, State as AssocState, Time};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

impl State {
    /// Opens an endpoint on the backend. Its core is told later, once there is one.
    pub fn open_endpoint(&mut self, key: EndpointKey, mut config: EndpointConfig) -> Result<(), EndpointError> {
        let id = self.transport.open_endpoint(config.clone())?;
        // Should its sockets have to be opened anew, it keeps its port.
        config.port = self.transport.endpoint_port(id).unwrap_or(config.port);
        self.by_id.insert(id, key);
        let endpoint = EndpointState {
            id,
            config,
            core: Weak::new(),
            accepting: false,
            backlog: VecDeque::new(),
            acceptors: Line::default(),
            owners: Vec::new(),
            members: HashSet::new(),
            supervised: HashMap::new(),
            watchers: Vec::new(),
            shut: false,
            closing: false,
            closed: false,
            closers: Line::default(),
        };
        self.endpoints.insert(key, endpoint);
        Ok(())
    }

    /// Says who holds an endpoint.
    pub fn set_core(&mut self, core: &Arc<Core>) {
        if let Some(endpoint) = self.endpoints.get_mut(&core.key) {
            endpoint.core = Arc::downgrade(core);
        }
    }

    /// Watches an endpoint; the first event may say how it was opened.
    pub fn watch(&mut self, key: EndpointKey, number: u64, opened: Option<Chosen>) {
        let events = opened.map(EndpointEvent::Opened).into_iter().collect();
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.watchers.push((number, Watcher { events, reader: None }));
        }
    }

    /// Sends a message.
    pub fn send(&mut self, now: Time, id: LinkId, options: SendOptions, payload: bytes::Bytes) -> Result<(), Rejected> {
        if self.waits_for_reader(id) {
            return Err(Rejected { error: SendError::Full, payload });
        }
        let Some(link) = self.links.get(id).filter(|link| link.closed.is_none()) else {
            return Err(Rejected { error: SendError::Closed, payload });
        };
        match (link.assoc, &link.supervisor) {
            (_, Some(_)) => self.send_supervised(now, id, options, payload),
            (Some(assoc), None) => self.transport.send(now, assoc, options, payload),
            (None, None) => Err(Rejected { error: SendError::Closed, payload }),
        }
    }

    /// Sends messages, oldest first, until one is not taken: it stays at the front.
    pub fn send_many(
        &mut self,
        now: Time,
        id: LinkId,
        messages: &mut VecDeque<(SendOptions, bytes::Bytes)>,
    ) -> Result<(), SendError> {
        if !messages.is_empty() && self.waits_for_reader(id) {
            return Err(SendError::Full);
        }
        let link = self.links.get(id).filter(|link| link.closed.is_none());
        if let Some(assoc) = link.filter(|link| link.supervisor.is_none()).and_then(|link| link.assoc) {
            return self.transport.send_many(now, assoc, messages);
        }
        while let Some((options, payload)) = messages.pop_front() {
            if let Err(Rejected { error, payload }) = self.send(now, id, options, payload) {
                messages.push_front((options, payload));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether no message is taken since more came back than fits into a send buffer, and was not read. They are memory of
    /// the process as those are that wait to be sent.
    fn waits_for_reader(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get(id).filter(|link| link.has_returned()) else { return false };
        let Some(endpoint) = self.endpoints.get(&link.endpoint) else { return false };
        let own = link.supervisor.as_ref().and_then(|supervisor| supervisor.to.config.as_ref());
        let limit = own.unwrap_or(&endpoint.config.config).send_buffer;
        self.takes_messages(id) && self.links.get_mut(id).is_some_and(|link| !link.takes_more(limit))
    }

    /// Whether messages are taken, now or when there is room: who comes later then stands behind who waits.
    pub fn takes_messages(&self, id: LinkId) -> bool {
        let Some(link) = self.links.get(id).filter(|link| link.closed.is_none()) else { return false };
        let open = |state| matches!(state, AssocState::CookieWait | AssocState::CookieEchoed | AssocState::Established);
        match &link.supervisor {
            Some(supervisor) => !supervisor.cancelled && (link.up.is_some() || supervisor.policy.keep_unsent),
            None => link.assoc.and_then(|assoc| self.transport.state(assoc)).is_some_and(open),
        }
    }

    /// Begins to end an association gracefully. Who waits to send is told.
    pub fn shutdown(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.closed.is_none()) else { return };
        link.writers.wake_all(&mut self.wakes);
        let assoc = link.assoc;
        if let Some(supervisor) = &mut link.supervisor {
            supervisor.cancelled = true;
            match link.up {
                Some(_) if supervisor.has_kept() => return self.flush_kept(now, id),
                Some(_) => {}
                None => return self.cancel(now, id, CloseReason::Shutdown),
            }
        }
        if let Some(assoc) = assoc {
            // NotFound: it has gone already.
            let _ = self.transport.shutdown(now, assoc);
        }
    }

    /// Ends an association at once.
    pub fn abort(&mut self, now: Time, id: LinkId, reason: &[u8]) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.closed.is_none()) else { return };
        let assoc = link.assoc;
        if let Some(supervisor) = &mut link.supervisor {
            supervisor.cancelled = true;
            if link.up.is_none() {
                return self.cancel(now, id, CloseReason::LocalAbort);
            }
        }
        if let Some(assoc) = assoc {
            // NotFound: it has ended already.
            let _ = self.transport.abort(now, assoc, reason);
        }
    }

    /// Ends a supervised association that is not up.
    fn cancel(&mut self, now: Time, id: LinkId, reason: CloseReason) {
        let assoc = self.assoc(id);
        self.end_supervised(now, id, reason);
        if let Some(assoc) = assoc {
            self.links.attach(id, None);
            self.transport.release(now, assoc);
        }
    }

    /// A handle of an association was dropped. If it was the last and nothing else keeps it, it ends.
    pub fn on_handle_dropped(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        if link.handle.strong_count() > 0 {
            // A look-up has made a new one meanwhile.
            return;
        }
        let owned = matches!(link.sink, Sink::Owner { .. } | Sink::Backlog | Sink::Undecided) && !link.finished;
        if !owned && link.supervisor.is_none() {
            self.orphan(now, id);
        }
    }

    /// Nobody wants an association any more.
    pub fn orphan(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.orphaned.is_none()) else { return };
        if link.closed.is_some() {
            return self.release(now, id);
        }
        let until = now + crate::LINGER;
        link.orphaned = Some(until);
        self.orphans.insert((until, id));
        self.shutdown(now, id);
    }

    /// Forgets an association, and its endpoint if that only waited for it.
    pub fn release(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let assoc = link.assoc;
        if let Some(until) = link.orphaned {
            self.orphans.remove(&(until, id));
        }
        if let Some(Sink::Owner { owner, .. }) = Some(link.sink)
            && !link.finished
            && let Some(owner) = self.owners.get_mut(&owner)
        {
            owner.open -= 1;
            self.wakes.extend(owner.reader.take());
        }
        if let Some(assoc) = assoc {
            self.transport.release(now, assoc);
        }
        let Some(link) = self.links.remove(id) else { return };
        let key = link.endpoint;
        self.gone.links.push(*link);
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.members.remove(&id);
            endpoint.closers.wake_all(&mut self.wakes);
        }
        self.close_if_done(now, key);
    }

    /// Associations of an endpoint that have not ended.
    pub fn association_count(&self, key: EndpointKey) -> usize {
        self.endpoints.get(&key).map_or(0, |endpoint| self.transport.association_count(endpoint.id))
    }

    /// Whether an endpoint has nothing left to end: neither associations nor supervisors that make some.
    pub fn is_calm(&self, key: EndpointKey) -> bool {
        self.failed
            || self.endpoints.get(&key).is_none_or(|endpoint| {
                endpoint.supervised.is_empty() && self.transport.association_count(endpoint.id) == 0
            })
    }

    /// Closes an endpoint that nobody holds once its associations have gone.
    pub fn close_if_done(&mut self, now: Time, key: EndpointKey) {
        let closing = self.endpoints.get(&key).is_some_and(|endpoint| endpoint.closing);
        if closing && self.association_count(key) == 0 {
            self.close_endpoint(now, key);
        }
    }

    /// Nobody is accepted any more, and all associations begin to end gracefully.
    pub fn begin_to_close(&mut self, now: Time, key: EndpointKey) {
        self.shut(key);
        self.clear_backlog(now, key);
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        endpoint.closed = true;
        let members: Vec<_> = endpoint.members.iter().copied().collect();
        members.into_iter().for_each(|id| self.shutdown(now, id));
    }

    /// Closes an endpoint now.
    pub fn close_endpoint(&mut self, now: Time, key: EndpointKey) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        // Its associations go one by one below, and would each close it again.
        endpoint.closing = false;
        let (id, members): (_, Vec<_>) = (endpoint.id, endpoint.members.iter().copied().collect());
        for id in &members {
            let supervised = self.links.get_mut(*id).and_then(|link| link.supervisor.as_mut());
            if let Some(supervisor) = supervised {
                supervisor.cancelled = true;
                if matches!(supervisor.phase, crate::supervisor::Phase::Waiting { .. }) {
                    self.end_supervised(now, *id, CloseReason::EndpointClosed);
                }
            }
        }
        self.transport.close_endpoint(now, id);
        // Its associations have been told; their last events must find it.
        while let Some((assoc, event)) = self.transport.poll_event() {
            self.on_event(now, assoc, event);
        }
        self.by_id.remove(&id);
        if let Some(mut endpoint) = self.endpoints.remove(&key) {
            endpoint.acceptors.wake_all(&mut self.wakes);
            endpoint.closers.wake_all(&mut self.wakes);
            self.wakes.extend(endpoint.watchers.iter_mut().filter_map(|(_, watcher)| watcher.reader.take()));
            self.gone.endpoints.push(endpoint);
        }
        self.wake_owners();
    }

    /// Nobody is accepted at an endpoint any more; its owners and acceptors are told.
    pub fn shut(&mut self, key: EndpointKey) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        endpoint.shut = true;
        endpoint.acceptors.wake_all(&mut self.wakes);
        self.update_accepting(key);
        self.wake_owners();
    }

    /// Tells the backend whether INITs are to be answered.
    pub fn update_accepting(&mut self, key: EndpointKey) {
        let Some(endpoint) = self.endpoints.get(&key) else { return };
        let accepting = !endpoint.shut && (endpoint.accepting || !endpoint.owners.is_empty());
        self.transport.set_accepting(endpoint.id, accepting);
    }

    fn wake_owners(&mut self) {
        self.wakes.extend(self.owners.values_mut().filter_map(|owner| owner.reader.take()));
    }

    /// Nothing goes on here: everybody is told.
    pub fn fail(&mut self, reason: &CloseReason) {
        self.failed = true;
        self.running = false;
        for link in self.links.iter_mut().filter(|link| link.closed.is_none()) {
            link.park(&mut *self.transport);
            if let Some(mut supervisor) = link.supervisor.take() {
                link.up = None;
                while let Some(kept) = supervisor.next_kept() {
                    link.push_parked(Event::Undelivered(kept.into()));
                }
                self.gone.supervisors.push(*supervisor);
            }
            link.closed = Some(reason.clone());
            link.push_parked(Event::Closed(reason.clone()));
            self.wakes.extend(link.reader.take());
            link.writers.wake_all(&mut self.wakes);
            link.closers.wake_all(&mut self.wakes);
        }
        for id in self.links.iter().map(|link| link.id).collect::<Vec<_>>() {
            self.wake_reader(id);
        }
        self.retries.clear();
        self.wake_owners();
        for endpoint in self.endpoints.values_mut() {
            endpoint.supervised.clear();
            endpoint.acceptors.wake_all(&mut self.wakes);
            endpoint.closers.wake_all(&mut self.wakes);
            self.wakes.extend(endpoint.watchers.iter_mut().filter_map(|(_, watcher)| watcher.reader.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Backend, CloseReason, ConnectTo, Context, Endpoint, SendOptions, UdpPort};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    #[tokio::test]
    async fn nothing_stays_of_a_closed_endpoint_whose_peers_nobody_has_accepted() {
        let sockets = Context::new();
        let open = async |sockets: &Context| {
            let builder = Endpoint::builder().addresses([Ipv4Addr::LOCALHOST]).context(sockets.clone());
            builder.backend(Backend::Udp).udp_port(UdpPort::Ephemeral).open().await.unwrap()
        };
        let (stays, client) = (open(&sockets).await, open(&Context::new()).await);
        let mut held = Vec::new();
        for looked_up in [false, true, false] {
            let server = open(&sockets).await;
            // From the first poll on it accepts.
            assert!(tokio::time::timeout(Duration::ZERO, server.accept()).await.is_err());
            let to = ConnectTo::new([Ipv4Addr::LOCALHOST], server.port());
            let to = to.encap_port(server.backend().udp_port.unwrap());
            let (association, _receiver) = client.connect(to).await.unwrap();
            association.send(SendOptions::default(), vec![0; 50_000]).await.unwrap();
            held.extend(server.associations()[0].upgrade().filter(|_| looked_up));
            server.close().await;
            assert_eq!(association.closed().await, CloseReason::Shutdown);
        }
        let count = || stays.core().shards[0].lock().links.iter().count();
        assert_eq!(count(), 1, "whoever holds one keeps it");
        held.clear();
        assert_eq!(count(), 0);
    }
}
