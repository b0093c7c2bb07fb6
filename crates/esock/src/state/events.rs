//! What the backend tells, and who hears it.

use super::State;
use crate::events::EndpointEvent;
use crate::link::{EndpointKey, LinkId, Sink};
use crate::{CloseReason, Event};
use esock_proto::{AssocId, Time};

/// What happened to an endpoint and nobody has read: older news go.
const MAX_ENDPOINT_EVENTS: usize = 64;

impl State {
    pub(super) fn on_event(&mut self, now: Time, assoc: AssocId, event: Event) {
        let Some(id) = self.links.of(assoc) else { return };
        let broken = self.broken;
        let Some(link) = self.links.get_mut(id) else { return };
        let event = match event {
            Event::Writable => {
                link.writers.wake_first(&mut self.wakes);
                return self.flush_kept(now, id);
            }
            Event::Readable => {
                self.crowd.on_readable();
                return self.wake_reader(id);
            }
            Event::Undelivered(undelivered) => match &mut link.supervisor {
                Some(supervisor) if supervisor.policy.keep_unsent && !undelivered.maybe_received => {
                    supervisor.take_back(now, undelivered);
                    if self.transport.state(assoc) == Some(crate::State::Established) {
                        // The peer has restarted: they go to its new self.
                        self.flush_kept(now, id);
                    }
                    return;
                }
                _ => Event::Undelivered(undelivered),
            },
            Event::Closed(CloseReason::EndpointClosed) if broken => Event::Closed(CloseReason::DriverFailed),
            event => event,
        };
        match event {
            Event::Up(negotiated) | Event::Restarted(negotiated) => {
                link.up = Some(negotiated);
                link.ups += 1;
                if let Some(supervisor) = &mut link.supervisor {
                    supervisor.on_up(now);
                }
                // Who waits in `connect` waits for this or for the end.
                link.closers.wake_all(&mut self.wakes);
                link.writers.wake_all(&mut self.wakes);
            }
            Event::ShutdownReceived => link.writers.wake_all(&mut self.wakes),
            Event::Closed(reason) => return self.on_closed(now, id, reason),
            _ => {}
        }
        let up = matches!(event, Event::Up(_) | Event::Restarted(_));
        link.push(event, self.transport.ready_messages(assoc));
        self.wake_reader(id);
        if up {
            self.flush_kept(now, id);
        }
    }

    /// The backend's association has ended.
    fn on_closed(&mut self, now: Time, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.supervisor.is_some() {
            return self.on_supervised_down(now, id, reason);
        }
        let ready = link.assoc.map_or(0, |assoc| self.transport.ready_messages(assoc));
        link.push(Event::Closed(reason.clone()), ready);
        if self.broken {
            link.park(&mut *self.transport);
        }
        self.finish(now, id, reason);
    }

    /// A link has ended for good; its last event is on its way.
    pub(super) fn finish(&mut self, now: Time, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.closed = Some(reason);
        link.writers.wake_all(&mut self.wakes);
        link.closers.wake_all(&mut self.wakes);
        let (endpoint, orphaned) = (link.endpoint, link.orphaned.is_some());
        // An owner has its end to read yet, or whoever accepts it.
        let unread = matches!(link.sink, Sink::Owner { .. } | Sink::Backlog);
        let unheld = link.handle.strong_count() == 0 && !unread;
        self.wake_reader(id);
        if let Some(endpoint) = self.endpoints.get_mut(&endpoint) {
            endpoint.closers.wake_all(&mut self.wakes);
        }
        if orphaned || unheld {
            self.release(now, id);
        }
    }

    /// Something is there to be read: wakes the receiver, or puts the association into its owner's line.
    pub fn wake_reader(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        match &mut link.sink {
            Sink::Receiver { .. } => self.wakes.extend(link.reader.take()),
            Sink::Owner { owner, queued } => {
                if let Some(owner) = self.owners.get_mut(owner) {
                    if !*queued {
                        *queued = true;
                        owner.ready.push_back(id);
                    }
                    self.wakes.extend(owner.reader.take());
                }
            }
            Sink::Backlog | Sink::Undecided => {}
        }
    }

    /// Something happened to an endpoint: its owners and those who watch it are told.
    pub(super) fn tell(&mut self, key: EndpointKey, event: &EndpointEvent) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        for (_, watcher) in &mut endpoint.watchers {
            if watcher.events.len() >= MAX_ENDPOINT_EVENTS {
                watcher.events.pop_front();
            }
            watcher.events.push_back(event.clone());
            self.wakes.extend(watcher.reader.take());
        }
        for owner in self.owners.values_mut().filter(|owner| owner.endpoint == key) {
            if owner.events.len() >= MAX_ENDPOINT_EVENTS {
                owner.events.pop_front();
            }
            owner.events.push_back(event.clone());
            self.wakes.extend(owner.reader.take());
        }
    }
}
