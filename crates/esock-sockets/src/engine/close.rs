//! How sockets and associations end.

use super::{Engine, Item, Lingering, Outcome, Reply, SocketId, SocketState, Style};
use crate::errno::Errno;
use esock_proto::{AssocId, EndpointId, State, Time};

impl Engine {
    /// The last descriptor of a socket is gone: its associations are shut down, or aborted if something was left
    /// unread or SO_LINGER says so (RFC 6458 §3.1.4, §4.1.5).
    pub fn close(&mut self, now: Time, id: SocketId) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        self.touched.remove(&id);
        let unread = socket.has_unread_messages();
        let abort = unread || socket.settings.linger.is_some_and(|time| time.is_zero());
        // Whoever closed it waits (as `sctp_close` of Linux, where one-to-many sockets do not linger either).
        let lingers = socket.settings.linger.filter(|_| !abort && socket.style == Style::OneToOne);
        if let Some(time) = lingers {
            self.lingering.insert(id, Lingering { associations: 0, until: now + time });
        }
        for assoc in socket.associations.values().copied() {
            let waits = socket.waiting.contains(&assoc);
            if let Some(held) = self.associations.get_mut(&assoc) {
                held.socket = None;
                if held.closed {
                    self.forget(now, assoc);
                    continue;
                }
                if let Some(lingering) = self.lingering.get_mut(&id) {
                    held.lingers = Some(id);
                    lingering.associations += 1;
                }
            }
            // What has come in part is unread as well (`sctp_close` of Linux).
            let stack = self.driver.stack();
            let lost = stack.holds_undelivered(assoc) || (waits && stack.ready_messages(assoc) > 0);
            let _ = if abort || lost {
                self.driver.stack_mut().abort(now, assoc, &[])
            } else {
                self.driver.stack_mut().shutdown(now, assoc)
            };
        }
        if self.lingering.get(&id).is_some_and(|lingering| lingering.associations == 0) {
            self.lingering.remove(&id);
        }
        // Associations that had ended, and were kept for what nobody has read.
        let read = socket.partial.iter().map(|partial| partial.association);
        let read = read.chain(socket.midway.iter().map(|midway| midway.association));
        let unread = socket.queue.iter().filter_map(|item| match item {
            Item::Messages { association, .. } => Some(*association),
            Item::Notification { .. } => None,
        });
        let kept: Vec<AssocId> = read.chain(unread).collect();
        for assoc in kept {
            if self.held(assoc).is_some_and(|held| held.closed) {
                self.forget(now, assoc);
            }
        }
        if let Some(endpoint) = socket.endpoint {
            if let Some(used) = self.endpoints.get_mut(&endpoint) {
                used.owners.retain(|owner| *owner != id);
            }
            self.follow_listeners(endpoint);
            self.close_unused(now, endpoint);
        }
        self.tell(now);
        if self.driver.stack().wants_transmit() {
            self.driver.flush(now);
            self.tell(now);
        }
    }

    /// Whether a closed socket lingers: 1, and for how long.
    pub(super) fn lingers(&self, now: Time, id: SocketId) -> Reply {
        let until = self.lingering.get(&id).map(|lingering| lingering.until).filter(|until| *until > now);
        until.map_or_else(Reply::done, |until| Reply { timeout: Some(until.since(now)), ..Reply::number(1) })
    }

    /// Releases an association that has ended and that nobody will ask for.
    pub(super) fn forget(&mut self, now: Time, id: AssocId) {
        let Some(held) = self.associations.remove(&id) else { return };
        self.driver.stack_mut().release(now, id);
        self.numbers.remove(&held.number);
        if let Some(socket) = held.lingers
            && let Some(lingering) = self.lingering.get_mut(&socket)
        {
            lingering.associations -= 1;
            if lingering.associations == 0 {
                self.lingering.remove(&socket);
            }
        }
        if let Some(at) = held.autoclose_at {
            self.autoclose.remove(&(at, id));
        }
        if let Some(used) = self.endpoints.get_mut(&held.endpoint) {
            used.associations -= 1;
        }
        self.close_unused(now, held.endpoint);
    }

    /// Closes an endpoint that neither a socket nor an association needs.
    fn close_unused(&mut self, now: Time, endpoint: EndpointId) {
        if self.endpoints.get(&endpoint).is_some_and(|used| used.owners.is_empty() && used.associations == 0) {
            self.endpoints.remove(&endpoint);
            self.driver.close_endpoint(now, endpoint);
        }
    }

    /// `shutdown`: ends associations of one-to-one sockets only (RFC 6458 §4.1.7). As on Linux, any socket is told of
    /// an end that does not listen, and one that is not connected is an error all the same.
    pub(super) fn shut_down(&mut self, now: Time, id: SocketId, how: i32) -> Outcome {
        let socket = self.socket_mut(id)?;
        if !(libc::SHUT_RD..=libc::SHUT_RDWR).contains(&how) {
            return Err(Errno::EINVAL);
        }
        let (reading, sending) = (how != libc::SHUT_WR, how != libc::SHUT_RD);
        if socket.state == SocketState::Listening {
            return if reading { Err(Errno::EOPNOTSUPP) } else { Ok(Reply::done()) };
        }
        let connected = socket.state != SocketState::Closed;
        if reading {
            // What has come before can be read still.
            let all: Vec<AssocId> = socket.associations.values().copied().collect();
            all.into_iter().for_each(|assoc| self.announce(now, assoc));
        }
        let socket = self.socket_mut(id)?;
        socket.deaf |= reading;
        socket.no_more |= reading;
        socket.sent_all |= sending;
        let ends = sending && socket.style == Style::OneToOne;
        if let Some(assoc) = socket.associations.values().next().copied().filter(|_| ends) {
            socket.state = SocketState::Closing;
            self.end(now, assoc);
        }
        if connected { Ok(Reply::done()) } else { Err(Errno::ENOTCONN) }
    }

    /// Shuts associations down that nobody has used for long (SCTP_AUTOCLOSE, RFC 6458 §8.1.8).
    pub(super) fn close_idle(&mut self, now: Time) {
        while let Some((at, id)) = self.autoclose.first().copied().filter(|(at, _)| *at <= now) {
            self.autoclose.remove(&(at, id));
            let Some(held) = self.associations.get_mut(&id) else { continue };
            held.autoclose_at = None;
            let Some(life) = held.settings.autoclose else { continue };
            let due = self.driver.stack().last_data(id).map_or(now, |last| last + life);
            if due <= now {
                let _ = self.driver.stack_mut().shutdown(now, id);
                self.driver.flush(now);
            } else {
                held.autoclose_at = Some(due);
                self.autoclose.insert((due, id));
            }
        }
    }

    /// An association is up, or up again: from now on it is one that nobody uses.
    pub(super) fn watch_idle(&mut self, now: Time, id: AssocId) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        // One entry each: it is moved when it has come due, to when data went or came since.
        if let Some(life) = held.settings.autoclose
            && held.autoclose_at.is_none()
        {
            held.autoclose_at = Some(now + life);
            self.autoclose.insert((now + life, id));
        }
    }

    /// Shuts an association down. As on Linux, one that is not up yet has never been (`sctp_sf_cookie_wait_prm_shutdown`);
    /// but a peer that may think it is up is told.
    pub(super) fn end(&mut self, now: Time, id: AssocId) {
        let early = matches!(self.driver.stack().state(id), Some(State::CookieWait | State::CookieEchoed));
        if let Some(held) = self.associations.get_mut(&id) {
            (held.shutting_down, held.given_back) = (true, early);
        }
        let _ = self.driver.stack_mut().shutdown(now, id);
    }

    /// Aborts an association with a reason.
    pub(super) fn abort(&mut self, now: Time, id: AssocId, reason: &[u8]) {
        if let Some(held) = self.associations.get_mut(&id) {
            held.shutting_down = true;
        }
        let _ = self.driver.stack_mut().abort(now, id, reason);
    }
}
