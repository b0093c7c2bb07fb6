//! Whether a program's end of a socket is readable and writable.

use super::{Engine, Outcome, Reply, Socket, SocketId, SocketState, Style};
use esock_proto::{AssocId, Time};

/// What `poll` is to say of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Something can be read, taken or learnt.
    pub readable: bool,
    /// Something can be sent.
    pub writable: bool,
    /// Something came since this was last asked: whoever waits for edges is to see one.
    pub news: bool,
    /// Nothing more will ever be read: what is readable is the end. It stays so.
    pub ended: bool,
    /// Nor will anything be sent. It stays so.
    pub hung_up: bool,
    /// Whoever waits to receive waits in vain, and is to ask why. It stays so.
    pub in_vain: bool,
}

impl Engine {
    /// The sockets whose readiness may have changed since this was last asked.
    pub fn take_touched(&mut self) -> impl Iterator<Item = (SocketId, Readiness)> + '_ {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter_map(|id| {
            let socket = self.sockets.get_mut(&id)?;
            let readiness = socket.readiness();
            socket.news = false;
            Some((id, readiness))
        })
    }

    /// Each news of a socket is to be told from now on.
    pub(super) fn want_edges(&mut self, id: SocketId) -> Outcome {
        let socket = self.socket_mut(id)?;
        socket.edges = true;
        let all: Vec<AssocId> = socket.associations.values().copied().collect();
        self.edged.extend(all);
        Ok(Reply::done())
    }

    /// Looks for messages that came while others were unread.
    pub(super) fn tell_edges(&mut self, now: Time) {
        for id in std::mem::take(&mut self.edged) {
            if self.driver.stack().ready_messages(id) > 0 {
                self.announce(now, id);
                self.edged.insert(id);
            }
        }
    }

    /// Whether whoever wants to receive or accept next can wait at once until the socket is readable: no time limit is
    /// set, and the wait is not in vain.
    pub fn is_patient(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| {
            socket.settings.receive_timeout.is_none()
                && match socket.state {
                    SocketState::Listening => true,
                    SocketState::Established => !socket.associations.is_empty(),
                    SocketState::Closed | SocketState::Closing => false,
                }
        })
    }
}

impl Socket {
    fn readiness(&self) -> Readiness {
        let listening = self.style == Style::OneToOne && self.state == SocketState::Listening;
        // As Linux has it: only while it is connected. And whoever waits in `connect` waits for this.
        let unconnected = self.style == Style::OneToOne && self.state == SocketState::Closed && self.error.is_none();
        Readiness {
            readable: if listening {
                !self.waiting.is_empty()
            } else {
                self.has_data() || self.error.is_some() || self.no_more
            },
            writable: !listening && !self.connecting && !self.blocked && !self.awaited && !unconnected,
            news: self.news,
            ended: self.no_more,
            // Others can send all the same, and would wait for that in vain.
            hung_up: self.style == Style::OneToOne && self.no_more && self.sent_all,
            // What was shut down here for sending, and has ended: `recv` is ENOTCONN then, also one that waits.
            in_vain: self.has_one() && self.state == SocketState::Closing && self.associations.is_empty(),
        }
    }
}
