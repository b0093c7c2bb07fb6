//! Opening a backend anew whose sockets have failed.

use super::State;
use crate::events::EndpointEvent;
use crate::link::EndpointKey;
use crate::lint;
use esock_io::{EndpointError, Transport};
use esock_proto::Time;

impl State {
    /// The sockets have failed: all associations end, and supervised ones are made again on the next ones.
    pub fn on_sockets_failed(&mut self, now: Time, error: &str, attempt: u32) {
        self.broken = true;
        self.transport.close_sockets();
        for key in self.keys() {
            self.tell(key, &EndpointEvent::Failed { error: error.to_owned(), attempt });
            if let Some(endpoint) = self.endpoints.get_mut(&key) {
                let id = endpoint.id;
                self.by_id.remove(&id);
                self.transport.close_endpoint(now, id);
            }
        }
        while let Some(incoming) = self.transport.poll_incoming() {
            self.transport.ignore(incoming);
        }
        while let Some((id, event)) = self.transport.poll_event() {
            self.on_event(now, id, event);
        }
        // Whatever is still behind a link is of the old sockets.
        let ids: Vec<_> = self.links.iter().map(|link| link.id).collect();
        for id in ids {
            if let Some(link) = self.links.get_mut(id) {
                link.park(&mut *self.transport);
            }
            self.links.attach(id, None);
        }
        self.orphans.clear();
        self.deadline = None;
    }

    /// Goes on with new sockets. All endpoints are opened on them, or none.
    pub fn on_sockets_opened(&mut self, mut transport: Box<dyn Transport>) -> Result<(), EndpointError> {
        let mut opened = Vec::new();
        for key in self.keys() {
            let Some(endpoint) = self.endpoints.get(&key) else { continue };
            opened.push((key, transport.open_endpoint(endpoint.config.clone())?));
        }
        self.transport = transport;
        self.broken = false;
        for (key, id) in opened {
            self.by_id.insert(id, key);
            let Some(endpoint) = self.endpoints.get_mut(&key) else { continue };
            endpoint.id = id;
            let chosen = lint::chosen(self.transport.backend(), &endpoint.config.config, &endpoint.config.addresses);
            self.update_accepting(key);
            self.tell(key, &EndpointEvent::Reopened(chosen));
        }
        Ok(())
    }

    /// They could not be opened often enough: who waits is told why.
    pub fn on_given_up(&mut self, error: &str) {
        for key in self.keys() {
            self.tell(key, &EndpointEvent::GaveUp { error: error.to_owned() });
        }
        self.fail(&crate::CloseReason::DriverFailed);
    }

    fn keys(&self) -> Vec<EndpointKey> {
        self.endpoints.keys().copied().collect()
    }
}
