//! Associations that peers begin, and sockets of their own for them.

use super::{Engine, Item, Outcome, Reply, Socket, SocketId, SocketState, Style};
use crate::address;
use crate::errno::Errno;
use esock_proto::{AssocId, Time};

impl Engine {
    /// Decides on peers that want to connect: who listens takes them, as many as its backlog allows.
    pub(super) fn decide(&mut self, now: Time) {
        while let Some(incoming) = self.driver.stack_mut().poll_incoming() {
            let endpoint = incoming.endpoint();
            let peer = (incoming.remote(), incoming.port());
            let listener = self.listener_for(endpoint, peer).filter(|socket| {
                // As on Linux, one more than the backlog waits.
                match socket.style {
                    Style::OneToOne => socket.waiting.len() <= socket.backlog,
                    Style::OneToMany | Style::PeeledOff => !socket.is_flooded(),
                }
            });
            let Some(listener) = listener else {
                self.driver.stack_mut().refuse(now, incoming, &[]);
                continue;
            };
            let (id, config) = (listener.id, self.config_of(listener));
            // Before any event of it is looked at.
            let Some(assoc) = self.driver.stack_mut().accept(now, incoming) else { continue };
            if self.hold(now, assoc, id, endpoint, peer, config).is_err() {
                self.driver.stack_mut().release(now, assoc);
                continue;
            }
            if let Ok(socket) = self.socket_mut(id)
                && socket.style == Style::OneToOne
            {
                socket.waiting.push_back(assoc);
                socket.news = true;
            }
        }
    }

    /// Whether `accept` would give a socket.
    pub(super) fn acceptable(&self, id: SocketId) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style != Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        if socket.state != SocketState::Listening {
            return Err(Errno::EINVAL);
        }
        let timeout = socket.settings.receive_timeout;
        Ok(if socket.waiting.is_empty() { Reply::wait(Errno::EAGAIN, timeout) } else { Reply::done() })
    }

    /// `accept`.
    pub(super) fn accept(&mut self, now: Time, id: SocketId, new: SocketId) -> Outcome {
        let socket = self.socket_mut(id)?;
        if socket.style != Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        if socket.state != SocketState::Listening {
            return Err(Errno::EINVAL);
        }
        if self.sockets.contains_key(&new) {
            return Err(Errno::EINVAL);
        }
        let socket = self.socket_mut(id)?;
        let timeout = socket.settings.receive_timeout;
        let Some(assoc) = socket.waiting.pop_front() else { return Ok(Reply::wait(Errno::EAGAIN, timeout)) };
        let (family, mapped) = (socket.family, socket.is_mapped());
        self.move_to(assoc, id, new, Style::OneToOne)?;
        let held = self.held(assoc).ok_or(Errno::ECONNABORTED)?;
        let stats = self.driver.stack().association(now, assoc);
        let primary = stats.as_ref().and_then(|stats| {
            let path = stats.paths.iter().find(|path| path.primary)?;
            Some((path.remote, stats.peer_port))
        });
        let named = primary.unwrap_or(held.peer);
        Ok(Reply { name: address::write(family, mapped, named), ..Reply::done() })
    }

    /// `sctp_peeloff`.
    pub(super) fn peel_off(&mut self, id: SocketId, number: i32, new: SocketId) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style != Style::OneToMany {
            return Err(Errno::EINVAL);
        }
        let assoc = socket.associations.get(&number).copied().ok_or(Errno::EINVAL)?;
        self.move_to(assoc, id, new, Style::PeeledOff)?;
        Ok(Reply::done())
    }

    /// Gives an association a socket of its own, with all that waits to be read of it.
    fn move_to(&mut self, assoc: AssocId, old: SocketId, new: SocketId, style: Style) -> Result<(), Errno> {
        if self.sockets.contains_key(&new) {
            return Err(Errno::EINVAL);
        }
        let held = self.associations.get_mut(&assoc).ok_or(Errno::ECONNABORTED)?;
        held.socket = Some(new);
        let (number, peer, closed) = (held.number, held.peer, held.closed);
        let from = self.sockets.get_mut(&old).ok_or(Errno::EBADF)?;
        from.associations.remove(&number);
        let mut to = Socket::new(new, from.family, style, from.settings.clone());
        (to.port, to.addresses, to.endpoint) = (from.port, from.addresses.clone(), None);
        (to.peer, to.source) = (Some(peer), from.source);
        to.state = if closed { SocketState::Closed } else { SocketState::Established };
        to.associations.insert(number, assoc);
        let (mine, rest) = std::mem::take(&mut from.queue).into_iter().partition(|item| match item {
            Item::Notification { association, .. } => *association == number,
            Item::Messages { association, .. } => *association == assoc,
        });
        (to.queue, from.queue) = (mine, rest);
        if from.partial.as_ref().is_some_and(|partial| partial.association == assoc) {
            to.partial = from.partial.take();
        }
        to.lobby = Socket::notifications_of(&mut from.lobby, number);
        to.told_bytes = to.queue.iter().chain(&to.lobby).map(Item::told_bytes).sum();
        from.told_bytes -= to.told_bytes;
        to.midway = from.midway.take_if(|midway| midway.association == assoc);
        to.news = true;
        if let Some(error) = self.associations.get(&assoc).and_then(|held| held.ended_early) {
            to.no_more = error == Errno(0);
            to.error = Some(error).filter(|_| !to.no_more);
        }
        self.sockets.insert(new, to);
        self.totals.sockets += 1;
        self.touched.insert(old);
        self.touched.insert(new);
        Ok(())
    }
}
