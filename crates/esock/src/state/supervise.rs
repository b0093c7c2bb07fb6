//! Supervised associations: attempts, and messages that wait for the next one.

use super::State;
use crate::connect::ConnectTo;
use crate::endpoint::Core;
use crate::link::{LinkId, Sink};
use crate::supervisor::{Fate, Kept, Phase, Supervision, Supervisor};
use crate::{CloseReason, ConnectError, Event, SendError};
use bytes::Bytes;
use esock_proto::{Rejected, SendOptions, Time};
use std::sync::Arc;

impl State {
    /// Starts a supervised association. What cannot ever work is an error now.
    pub fn supervise(
        &mut self,
        now: Time,
        core: &Arc<Core>,
        to: ConnectTo,
        policy: Supervision,
        sink: Sink,
    ) -> Result<LinkId, ConnectError> {
        let Some(endpoint) = self.endpoints.get_mut(&core.key).filter(|endpoint| !endpoint.closed) else {
            return Err(ConnectError::Invalid(esock_proto::ConnectError::NoEndpoint));
        };
        if self.failed {
            return Err(ConnectError::Closed(CloseReason::EndpointClosed));
        }
        let invalid = |error| Err(ConnectError::Invalid(error));
        let peers: Vec<_> = to.peer.addresses.iter().map(|address| (*address, to.peer.port)).collect();
        if peers.iter().any(|peer| endpoint.supervised.contains_key(peer)) {
            return invalid(esock_proto::ConnectError::Exists);
        }
        let mut supervisor = Box::new(Supervisor::new(to, policy, core.clone()));
        let assoc = if self.broken {
            // The next sockets make it, as those that they had before.
            supervisor.phase = Phase::Waiting { until: now };
            None
        } else {
            let peer = supervisor.next_peer();
            match self.transport.connect(now, endpoint.id, &peer, supervisor.to.config.clone()) {
                Ok(assoc) => Some(assoc),
                Err(error) => {
                    self.gone.supervisors.push(*supervisor);
                    return invalid(error);
                }
            }
        };
        let id = self.links.insert(core.key, assoc, sink);
        if assoc.is_none() {
            self.retries.insert((now, id));
        }
        endpoint.members.insert(id);
        endpoint.supervised.extend(peers.into_iter().map(|peer| (peer, id)));
        if let Some(link) = self.links.get_mut(id) {
            link.supervisor = Some(supervisor);
        }
        Ok(id)
    }

    /// The association behind a supervised link ended, or an attempt failed.
    pub(super) fn on_supervised_down(&mut self, now: Time, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(supervisor) = &mut link.supervisor else { return };
        if let Phase::Waiting { until } = supervisor.phase {
            self.retries.remove(&(until, id));
        }
        let fate = supervisor.on_down(now, &mut self.random);
        let phase = supervisor.phase;
        let was_up = link.up.take().is_some();
        link.park(&mut *self.transport);
        let assoc = link.assoc;
        match fate {
            Fate::Retry { failures, wait } => {
                let failures = if was_up { 0 } else { failures };
                link.push_parked(Event::Down { reason, failures, retry_in: wait });
                // Who waits for room learns that it is down, unless messages are kept meanwhile.
                link.writers.wake_all(&mut self.wakes);
                if let Phase::Waiting { until } = phase {
                    self.retries.insert((until, id));
                }
                self.wake_reader(id);
            }
            Fate::GivenUp => self.end_supervised(now, id, reason),
        }
        if let Some(assoc) = assoc {
            self.links.attach(id, None);
            self.transport.release(now, assoc);
        }
    }

    /// A supervised association ends for good. What was kept for it comes back.
    pub(super) fn end_supervised(&mut self, now: Time, id: LinkId, reason: CloseReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(mut supervisor) = link.supervisor.take() else { return };
        link.park(&mut *self.transport);
        if let Phase::Waiting { until } = supervisor.phase {
            self.retries.remove(&(until, id));
        }
        while let Some(kept) = supervisor.next_kept() {
            link.push_parked(Event::Undelivered(kept.into()));
        }
        link.push_parked(Event::Closed(reason.clone()));
        if let Some(endpoint) = self.endpoints.get_mut(&link.endpoint) {
            for address in &supervisor.to.peer.addresses {
                endpoint.supervised.remove(&(*address, supervisor.to.peer.port));
            }
        }
        self.gone.supervisors.push(*supervisor);
        self.finish(now, id, reason);
    }

    /// Makes the attempts that are due.
    pub(super) fn retry_due(&mut self, now: Time) {
        while !self.broken
            && let Some((at, id)) = self.retries.pop_first()
        {
            if at > now {
                self.retries.insert((at, id));
                break;
            }
            self.retry(now, id);
        }
    }

    fn retry(&mut self, now: Time, id: LinkId) {
        self.expire_kept(now, id);
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(endpoint) = self.endpoints.get(&link.endpoint) else { return };
        let own = link.supervisor.as_ref().and_then(|supervisor| supervisor.to.config.as_ref());
        let window = own.unwrap_or(&endpoint.config.config).receive_window as usize;
        if link.parked_bytes() > window {
            link.forget_returned();
        }
        let is_unread = link.parked_bytes() > window;
        let Some(supervisor) = &mut link.supervisor else { return };
        if is_unread {
            // What has arrived is no longer held back by a receive window: who does not read gets no more.
            self.retries.insert((supervisor.postpone(now), id));
            return;
        }
        let peer = supervisor.next_peer();
        match self.transport.connect(now, endpoint.id, &peer, supervisor.to.config.clone()) {
            Ok(assoc) => self.links.attach(id, Some(assoc)),
            Err(error) => {
                self.on_supervised_down(now, id, CloseReason::NotAttempted { problem: error.to_string() });
            }
        }
    }

    /// Takes a message for a supervised association: sends it, keeps it, or refuses it.
    pub(super) fn send_supervised(
        &mut self,
        now: Time,
        id: LinkId,
        options: SendOptions,
        payload: Bytes,
    ) -> Result<(), Rejected> {
        let refuse = |error, payload| Err(Rejected { error, payload });
        let Some(link) = self.links.get_mut(id) else { return refuse(SendError::Closed, payload) };
        let config = self.endpoints.get(&link.endpoint).map(|endpoint| &endpoint.config.config);
        let (Some(supervisor), Some(config)) = (&mut link.supervisor, config) else {
            return refuse(SendError::Closed, payload);
        };
        if supervisor.cancelled {
            return refuse(SendError::ShuttingDown, payload);
        }
        let mut payload = payload;
        if let (Some(_), Some(assoc), false) = (link.up, link.assoc, supervisor.has_kept()) {
            match self.transport.send(now, assoc, options, payload) {
                // It ends, which is not the end for its user: this one is for the next time.
                Err(Rejected { error: SendError::Closed | SendError::ShuttingDown, payload: back })
                    if supervisor.policy.keep_unsent =>
                {
                    payload = back;
                }
                done => return done,
            }
        }
        if !supervisor.policy.keep_unsent {
            return refuse(SendError::NotConnected, payload);
        }
        let limit = supervisor.to.config.as_ref().unwrap_or(config).send_buffer;
        if payload.is_empty() {
            return refuse(SendError::Empty, payload);
        }
        if payload.len() > limit {
            return refuse(SendError::TooLarge { len: payload.len(), limit }, payload);
        }
        if !supervisor.has_room(payload.len(), limit) {
            self.expire_kept(now, id);
        }
        match self.links.get_mut(id).and_then(|link| link.supervisor.as_mut()) {
            Some(supervisor) if supervisor.has_room(payload.len(), limit) => {
                supervisor.keep(Kept::new(now, options, payload));
                Ok(())
            }
            _ => refuse(SendError::Full, payload),
        }
    }

    /// Tells of messages whose lifetime has passed while they were kept.
    fn expire_kept(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let expired = link.supervisor.as_mut().map(|supervisor| supervisor.take_expired(now)).unwrap_or_default();
        if expired.is_empty() {
            return;
        }
        expired.into_iter().for_each(|message| link.push(Event::Expired(message), 0));
        link.writers.wake_first(&mut self.wakes);
        self.wake_reader(id);
    }

    /// Sends what was kept, as far as there is room.
    pub(super) fn flush_kept(&mut self, now: Time, id: LinkId) {
        self.expire_kept(now, id);
        let Some(link) = self.links.get_mut(id) else { return };
        let (Some(_), Some(assoc)) = (link.up, link.assoc) else { return };
        let Some(supervisor) = &mut link.supervisor else { return };
        let mut sent = false;
        let mut came_back = Vec::new();
        while let Some(kept) = supervisor.next_kept() {
            let offered = kept.offer(now, |options, payload| {
                let sent = self.transport.send(now, assoc, options, payload);
                sent.map_err(|rejected| (rejected.error, rejected.payload))
            });
            match offered {
                Ok(()) => sent = true,
                // Or it ends: what is kept stays for the next time.
                Err((SendError::Full | SendError::Closed | SendError::ShuttingDown, kept)) => {
                    supervisor.put_back(kept);
                    break;
                }
                // The peer allows fewer streams than before, or the like.
                Err((_, kept)) => came_back.push(kept.into()),
            }
        }
        let over = supervisor.cancelled && !supervisor.has_kept();
        let any = !came_back.is_empty();
        came_back.into_iter().for_each(|undelivered| link.push(Event::Undelivered(undelivered), 0));
        if sent || any {
            link.writers.wake_all(&mut self.wakes);
        }
        if over {
            // Cancelled while messages were kept: they have been taken now.
            let _ = self.transport.shutdown(now, assoc);
        }
        if any {
            self.wake_reader(id);
        }
    }
}
