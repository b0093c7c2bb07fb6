//! What happens on associations, and what their sockets are told.

use super::{Engine, Item, Socket, SocketId, SocketState, Style};
use crate::address::{self, Named};
use crate::errno::Errno;
use crate::notify::{self, Failed, bit};
use esock_io::kernel::constants as c;
use esock_proto::{Address, AssocId, CloseReason, Encapsulation, Event, Negotiated, PathState, Time, Undelivered};

/// SCTP_EXPOSE_POTENTIALLY_FAILED_STATE: that state is told of.
const SHOWN: u32 = 2;
/// Notifications of an association for which there is room at least, in bytes, however small the receive buffer is.
const LEAST_TOLD: usize = 64 << 10;
/// The cause code of a User-Initiated Abort (RFC 9260 §3.3.10.12).
const USER_ABORT: u16 = 12;

impl Engine {
    /// Takes what the stack has to tell.
    pub(super) fn tell(&mut self, now: Time) {
        self.decide(now);
        while let Some((id, event)) = self.driver.stack_mut().poll_event() {
            self.on_event(now, id, event);
        }
        for id in std::mem::take(&mut self.failing) {
            let flooded = self.socket_of(id).and_then(|id| self.sockets.get(&id)).is_some_and(Socket::is_flooded);
            match self.associations.get_mut(&id).filter(|_| flooded) {
                Some(held) => held.failed.clear(),
                None => self.tell_failed(id, 0),
            }
        }
    }

    pub(super) fn on_event(&mut self, now: Time, id: AssocId, event: Event) {
        // What came before is read before; but nothing comes before an association is up, only along with what sets it up.
        if !matches!(event, Event::Up(_) | Event::Restarted(_)) {
            self.announce(now, id);
        }
        match event {
            Event::Up(negotiated) => {
                self.follow_routes(now, id);
                self.on_up(id, negotiated);
                self.watch_idle(now, id);
            }
            Event::Writable => {
                if let Some(socket) = self.socket_of(id)
                    && let Ok(socket) = self.socket_mut(socket)
                {
                    socket.blocked = false;
                }
            }
            Event::Path { remote, state, .. } => self.on_path(id, remote, state),
            Event::Restarted(negotiated) => {
                if let Some(held) = self.associations.get_mut(&id) {
                    held.routed.clear();
                }
                self.follow_routes(now, id);
                self.tell_restart(id, negotiated);
            }
            Event::ShutdownReceived => self.on_shutdown_received(id),
            Event::PeerError { cause, info } => {
                self.tell_news(id, c::SCTP_REMOTE_ERROR, |number| notify::remote_error(number, cause, &info));
            }
            Event::Undelivered(message) => self.on_undelivered(id, message, false),
            Event::Expired(message) => self.on_undelivered(id, message, true),
            Event::Drained => self.tell_news(id, c::SCTP_SENDER_DRY_EVENT, notify::sender_dry),
            Event::Closed(reason) => self.on_closed(now, id, &reason),
            _ => {}
        }
    }

    pub(super) fn socket_of(&self, id: AssocId) -> Option<SocketId> {
        self.associations.get(&id)?.socket
    }

    /// Puts messages that have become ready into the socket's queue.
    pub(super) fn announce(&mut self, now: Time, id: AssocId) {
        let ready = self.driver.stack().ready_messages(id);
        let Some(held) = self.associations.get_mut(&id) else { return };
        let count = ready.saturating_sub(held.announced);
        if count == 0 {
            return;
        }
        let hears = |socket: &SocketId| self.sockets.get(socket).is_some_and(|socket| !socket.deaf);
        let Some(socket) = held.socket.filter(hears) else {
            // Nobody reads any more, and the peer is to get all of what it is still being sent. As on Linux, what comes is
            // acknowledged, and nobody gets it; what came before `shutdown` is read first.
            if held.socket.is_none() || held.announced == 0 {
                while self.driver.stack_mut().recv(now, id).is_some() {}
            }
            return;
        };
        held.announced = ready;
        if let Ok(socket) = self.socket_mut(socket) {
            socket.news = true;
            let came = socket.settings.stamps.now();
            // When each came is to be known, too.
            let edges = socket.edges || came.is_some();
            let piece = socket.midway.as_mut().filter(|midway| midway.association == id && !midway.more);
            let count = count - usize::from(piece.map(|midway| midway.more = true).is_some());
            match socket.queue.back_mut() {
                Some(Item::Messages { association, count: known, came: None })
                    if *association == id && came.is_none() =>
                {
                    *known += count;
                }
                _ if count == 0 => {}
                _ => socket.queue.push_back(Item::Messages { association: id, count, came }),
            }
            if edges {
                self.edged.insert(id);
            }
        }
    }

    /// Puts a notification into the queue of an association's socket, if it wants it.
    pub(super) fn notify(&mut self, id: AssocId, kind: u16, make: impl FnOnce(i32) -> Vec<u8>) {
        let Some(held) = self.associations.get(&id) else { return };
        let (number, told, waits) = (held.number, held.told(), held.midway);
        let (from, wanted) = (held.peer, held.settings.events & bit(kind) != 0);
        let Some(socket) = held.socket.filter(|_| wanted) else { return };
        if let Ok(socket) = self.socket_mut(socket)
            && !(socket.deaf && socket.sent_all)
        {
            let bytes = make(told).into();
            let item = Item::Notification { association: number, told, from, bytes, read: 0 };
            let memory = item.told_bytes();
            if waits {
                socket.told_bytes += memory;
                socket.lobby.push_back(item);
            } else {
                socket.tell(item, false);
            }
            self.is_to_be_told(id, memory);
        }
    }

    /// Notifies of what a peer can bring about, or a program, as often as it likes: only as long as there is room.
    fn tell_news(&mut self, id: AssocId, kind: u16, make: impl FnOnce(i32) -> Vec<u8>) {
        if self.has_room(id) {
            self.notify(id, kind, make);
        }
    }

    /// Whether there is room for what an association tells and nobody needs to know: RFC 6458 §6.1.10 has notifications reliable
    /// as long as there is space in the receive buffer. Here each association has that for itself, as it has its window.
    fn has_room(&self, id: AssocId) -> bool {
        let Some(held) = self.associations.get(&id) else { return false };
        let socket = held.socket.and_then(|socket| self.sockets.get(&socket));
        socket.is_some_and(|socket| {
            held.told_bytes < socket.settings.receive_buffer.max(LEAST_TOLD) && !socket.is_flooded()
        })
    }

    /// A notification waits to be read.
    pub(super) fn is_to_be_told(&mut self, id: AssocId, memory: usize) {
        if let Some(held) = self.associations.get_mut(&id) {
            held.told_bytes += memory;
        }
    }

    /// It was read.
    pub(super) fn is_told(&mut self, number: i32, memory: usize) {
        let held = self.numbers.get(&number).and_then(|id| self.associations.get_mut(id));
        if let Some(held) = held {
            held.told_bytes = held.told_bytes.saturating_sub(memory);
        }
    }

    /// Of a peer that restarts again and again, who does not read needs to know once.
    fn tell_restart(&mut self, id: AssocId, negotiated: Negotiated) {
        let has_room = self.has_room(id);
        let Some(held) = self.associations.get_mut(&id) else { return };
        if std::mem::replace(&mut held.told_beyond, !has_room) && !has_room {
            return;
        }
        let streams = (negotiated.outbound_streams, negotiated.inbound_streams);
        self.notify(id, c::SCTP_ASSOC_CHANGE, |number| notify::assoc_change(number, c::SCTP_RESTART, 0, streams, &[]));
        self.tell_of_peer(id, negotiated);
    }

    fn on_up(&mut self, id: AssocId, negotiated: Negotiated) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        held.up = Some(negotiated);
        let socket = held.socket;
        let source = self.source_of(id);
        if let Some(socket) = socket
            && let Ok(socket) = self.socket_mut(socket)
        {
            socket.source = source.or(socket.source);
            if socket.style == Style::OneToOne && socket.state == SocketState::Closed {
                socket.state = SocketState::Established;
            }
            socket.connecting = false;
            socket.forget_begun(id);
            socket.news = true;
        }
        let streams = (negotiated.outbound_streams, negotiated.inbound_streams);
        self.notify(id, c::SCTP_ASSOC_CHANGE, |number| notify::assoc_change(number, c::SCTP_COMM_UP, 0, streams, &[]));
        self.tell_of_peer(id, negotiated);
    }

    /// What a new association, or one whose peer has begun anew, tells of its peer.
    fn tell_of_peer(&mut self, id: AssocId, negotiated: Negotiated) {
        // Linux keeps quiet about an indication of 0.
        if let Some(indication) = negotiated.adaptation.filter(|indication| *indication != 0) {
            self.tell_news(id, c::SCTP_ADAPTATION_INDICATION, |number| notify::adaptation(number, indication));
        }
        // RFC 6458 §6.1.8: the peer has no RFC 4895, or was not asked.
        self.tell_news(id, c::SCTP_AUTHENTICATION_EVENT, notify::no_authentication);
    }

    fn on_path(&mut self, id: AssocId, remote: Address, state: PathState) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        let port = held.peer.1;
        let before = held.paths_told.insert(remote, state);
        let shows_failing = held.settings.parameters.expose_failing == SHOWN;
        let told = match state {
            PathState::Active if before.is_none() => c::SCTP_ADDR_CONFIRMED,
            PathState::Active if before == Some(PathState::PotentiallyFailed) && !shows_failing => return,
            PathState::Active => c::SCTP_ADDR_AVAILABLE,
            PathState::Inactive => c::SCTP_ADDR_UNREACHABLE,
            PathState::PotentiallyFailed if shows_failing => c::SCTP_ADDR_POTENTIALLY_FAILED,
            _ => return,
        };
        self.tell_of_path(id, (remote, port), told);
    }

    /// SCTP_PEER_ADDR_CHANGE, from when the association is up.
    pub(crate) fn tell_of_path(&mut self, id: AssocId, path: Named, told: i32) {
        if self.associations.get(&id).is_none_or(|held| held.up.is_none()) {
            return;
        }
        let Some(socket) = self.socket_of(id).and_then(|id| self.sockets.get(&id)) else { return };
        let storage = address::write_storage(socket.family, socket.is_mapped(), path);
        self.tell_news(id, c::SCTP_PEER_ADDR_CHANGE, |number| notify::peer_addr_change(number, &storage, told, 0));
    }

    /// SCTP_SENDER_DRY_EVENT, if nothing waits to be acknowledged: to whom has just asked for it.
    pub(crate) fn tell_if_dry(&mut self, id: AssocId) {
        let now = self.driver.now();
        if self.driver.stack().association(now, id).is_some_and(|stats| stats.send_buffered == 0) {
            self.tell_news(id, c::SCTP_SENDER_DRY_EVENT, notify::sender_dry);
        } else {
            self.watch_dry(now, id);
        }
    }

    /// Something was sent on an association: who wants SCTP_SENDER_DRY_EVENT is told when all is acknowledged.
    pub(super) fn watch_dry(&mut self, now: Time, id: AssocId) {
        let wanted = bit(c::SCTP_SENDER_DRY_EVENT);
        if self.associations.get(&id).is_some_and(|held| held.settings.events & wanted != 0) {
            let _ = self.driver.stack_mut().tell_when_drained(now, id);
        }
    }

    fn on_shutdown_received(&mut self, id: AssocId) {
        self.notify(id, c::SCTP_SHUTDOWN_EVENT, notify::shutdown);
        let socket = self.socket_of(id);
        if let Some(socket) = socket
            && let Ok(socket) = self.socket_mut(socket)
            && socket.style == Style::OneToOne
            && socket.state == SocketState::Established
        {
            socket.state = SocketState::Closing;
            socket.no_more = true;
            socket.news = true;
        }
        if let Some(held) = self.associations.get_mut(&id)
            && held.up.is_some()
        {
            held.ended_early = Some(Errno(0));
        }
    }

    /// A message has come back: because of its association's end, or because it has waited for too long.
    fn on_undelivered(&mut self, id: AssocId, message: Undelivered, expired: bool) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        if expired {
            *held.given_up.entry(message.options.stream.0).or_default() += 1;
        }
        // Why it ended is told first, and what it has to do with the message.
        held.failed.push((message, expired));
        self.failing.insert(id);
    }

    /// SCTP_SEND_FAILED and SCTP_SEND_FAILED_EVENT, of all that has come back.
    fn tell_failed(&mut self, id: AssocId, error: u16) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        let (told, messages) = (held.told(), std::mem::take(&mut held.failed));
        // Linux tells of each chunk that a message was cut into (RFC 6458 §6.1.4: the message, or a part of it).
        let most = self.fragment_size(self.driver.now(), id).max(1);
        for (message, expired) in messages {
            let options = &message.options;
            let mut flags = notify::FIRST;
            let mut rest = message.payload.chunks(most).peekable();
            while let Some(data) = rest.next() {
                flags |= if rest.peek().is_none() { notify::LAST } else { 0 };
                let failed = Failed {
                    number: told,
                    sent: message.maybe_received,
                    error: if expired { 0 } else { u32::from(error) },
                    stream: options.stream.0,
                    flags: u16::from(flags | notify::data_flags(options)),
                    ppid: options.ppid.0.to_be(),
                    context: options.context as u32,
                    lifetime_ms: options.lifetime.map_or(0, |lifetime| lifetime.as_millis() as u32),
                    data,
                };
                self.notify(id, c::SCTP_SEND_FAILED, |_| notify::send_failed(&failed));
                self.notify(id, c::SCTP_SEND_FAILED_EVENT, |_| notify::send_failed_event(&failed));
                flags = 0;
            }
        }
    }

    fn on_closed(&mut self, now: Time, id: AssocId, reason: &CloseReason) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        held.closed = true;
        let (was_up, socket, given_back) = (held.up.is_some(), held.socket, held.given_back);
        let errno = errno_of(reason, was_up);
        let Some(socket) = socket else {
            self.forget(now, id);
            return;
        };
        match reason {
            _ if given_back => self.tell_failed(id, 0),
            CloseReason::Shutdown => self.notify(id, c::SCTP_ASSOC_CHANGE, |number| {
                notify::assoc_change(number, c::SCTP_SHUTDOWN_COMP, 0, (0, 0), &[])
            }),
            reason => {
                let (error, info) = told_of(reason);
                // What an ABORT carried is told only of an association that was up.
                let (state, info) =
                    if was_up { (c::SCTP_COMM_LOST, info) } else { (c::SCTP_CANT_STR_ASSOC, Vec::new()) };
                self.notify(id, c::SCTP_ASSOC_CHANGE, |number| {
                    notify::assoc_change(number, state, error, (0, 0), &info)
                });
                self.tell_failed(id, error);
            }
        }
        let pending = self.pending_of(reason, socket).or(errno).filter(|_| !given_back);
        self.end_on_socket(now, id, socket, (errno, pending));
    }

    /// What SO_ERROR says, where that is not what `connect` does: as Linux has it, a host that has no SCTP is one whose
    /// connections are refused, but also one without the protocol.
    fn pending_of(&self, reason: &CloseReason, socket: SocketId) -> Option<Errno> {
        let told = self.sockets.get(&socket)?.settings.encapsulation.unwrap_or(self.encapsulation);
        (*reason == CloseReason::Unreachable && told == Encapsulation::Native).then_some(Errno::ENOPROTOOPT)
    }

    /// An association of a socket has ended: with the error that `connect` says, and the one that is pending.
    fn end_on_socket(
        &mut self,
        now: Time,
        id: AssocId,
        socket: SocketId,
        (errno, pending): (Option<Errno>, Option<Errno>),
    ) {
        let number = self.associations.get(&id).map_or(0, |held| held.number);
        let Ok(socket) = self.socket_mut(socket) else { return };
        socket.news = true;
        let waits = socket.waiting.contains(&id);
        if waits {
            // `accept` still gives it, and the new socket says what became of it.
            if let Some(held) = self.associations.get_mut(&id) {
                held.ended_early = Some(errno.unwrap_or(Errno(0)));
            }
            return;
        }
        if socket.has_one() {
            socket.ended = socket.connecting.then_some(errno).flatten();
            socket.connecting = false;
            socket.error = pending.or(socket.error);
            // That nothing more comes is known when the peer has shut down (`on_shutdown_received`); whoever has done so
            // itself is not told, as on Linux. What was connected does not connect again.
        }
        socket.blocked = false;
        if socket.forget_begun(id) {
            socket.ended = errno;
        }
        socket.associations.remove(&number);
        let left = |item: &Item| matches!(item, Item::Messages { association, .. } if *association == id);
        if !socket.is_midway(id) && !socket.queue.iter().any(left) {
            self.forget(now, id);
        }
    }
}

/// The `errno` that whoever uses the socket next is told; none after a shutdown.
fn errno_of(reason: &CloseReason, was_up: bool) -> Option<Errno> {
    match reason {
        CloseReason::Shutdown => None,
        CloseReason::TimedOut => Some(Errno::ETIMEDOUT),
        CloseReason::Refused { .. } | CloseReason::Unreachable => Some(Errno::ECONNREFUSED),
        CloseReason::PeerAbort { .. } if was_up => Some(Errno::ECONNRESET),
        CloseReason::PeerAbort { .. } => Some(Errno::ECONNREFUSED),
        _ if was_up => Some(Errno::ECONNABORTED),
        _ => Some(Errno::ECONNREFUSED),
    }
}

/// What SCTP_ASSOC_CHANGE tells of an end: the cause, and the bytes that came with it.
fn told_of(reason: &CloseReason) -> (u16, Vec<u8>) {
    let with_cause = |cause: u16, info: &[u8]| {
        let mut bytes = cause.to_be_bytes().to_vec();
        bytes.extend(((info.len() + 4) as u16).to_be_bytes());
        bytes.extend(info);
        (cause.to_be(), bytes)
    };
    match reason {
        CloseReason::PeerAbort { cause: Some(cause), info } | CloseReason::Refused { cause: Some(cause), info } => {
            with_cause(*cause, info)
        }
        CloseReason::LocalAbort => (USER_ABORT.to_be(), Vec::new()),
        CloseReason::ProtocolViolation { cause, .. } => (cause.to_be(), Vec::new()),
        _ => (0, Vec::new()),
    }
}
