//! `recvmsg` (RFC 6458 §5).

use super::socket::Partial;
use super::{Engine, Item, Outcome, Reply, Socket, SocketId, SocketState, Style};
use crate::address;
use crate::control;
use crate::errno::Errno;
use crate::notify::bit;
use bytes::Bytes;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, Message, Time};

impl Engine {
    /// `recvmsg`: flags, room for data and for control messages.
    pub(super) fn receive_message(&mut self, now: Time, id: SocketId, args: [i32; 4]) -> Outcome {
        let (flags, room, control_room) = (args[0], room(args[1]), room(args[2]));
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne && socket.state == SocketState::Listening {
            return Err(Errno::ENOTCONN);
        }
        if flags & libc::MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        self.advance(now, id)?;
        let peek = flags & libc::MSG_PEEK != 0;
        let socket = self.socket_mut(id)?;
        if socket.partial.is_some() {
            return self.read_message(now, id, room, control_room, peek);
        }
        if let Some(Item::Notification { .. }) = socket.queue.front() {
            return self.read_notification(now, id, room, control_room, peek);
        }
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        if socket.no_more {
            return Ok(Reply::done());
        }
        let in_vain = socket.associations.is_empty() && socket.state != SocketState::Listening;
        let mut reply = Reply::wait(Errno::EAGAIN, socket.settings.receive_timeout);
        reply.flags = if in_vain { Errno::ENOTCONN.0 } else { 0 };
        Ok(reply)
    }

    /// Takes the next message out of its association, if it is next.
    fn advance(&mut self, now: Time, id: SocketId) -> Result<(), Errno> {
        loop {
            let socket = self.sockets.get_mut(&id).ok_or(Errno::EBADF)?;
            if socket.partial.is_some() {
                return Ok(());
            }
            let Some(Item::Messages { association, count }) = socket.queue.front_mut() else { return Ok(()) };
            let assoc = *association;
            if *count == 0 {
                socket.queue.pop_front();
                self.after_last(now, id, assoc);
                continue;
            }
            *count -= 1;
            if let Some(partial) = self.take_message(now, assoc) {
                self.socket_mut(id)?.partial = Some(partial);
            }
        }
    }

    /// All messages of an association that the queue knew of are read.
    fn after_last(&mut self, now: Time, id: SocketId, assoc: AssocId) {
        self.announce(now, assoc);
        let Some(number) = self.held(assoc).filter(|held| held.closed).map(|held| held.number) else { return };
        let Ok(socket) = self.socket_mut(id) else { return };
        // Seldom, so the queue may be walked: a closed association is forgotten with its last message.
        let is_of = |item: &Item| matches!(item, Item::Messages { association, .. } if *association == assoc);
        if !socket.queue.iter().any(is_of) {
            socket.associations.remove(&number);
            self.forget(now, assoc);
        }
    }

    fn take_message(&mut self, now: Time, assoc: AssocId) -> Option<Partial> {
        let message = self.driver.stack_mut().recv(now, assoc)?;
        self.totals.received += 1;
        let held = self.associations.get_mut(&assoc)?;
        held.announced = held.announced.saturating_sub(1);
        let (number, peer) = (held.number, held.peer);
        let from = self.driver.stack().path_remote(assoc, message.path).map_or(peer, |remote| (remote, peer.1));
        Some(Partial { association: assoc, number, from, message, read: 0 })
    }

    fn read_message(&mut self, now: Time, id: SocketId, room: usize, control_room: usize, peek: bool) -> Outcome {
        // The next message is looked for where SCTP_RECVNXTINFO asks for it; the queue may not know of it yet.
        let reads = self.socket(id)?.partial.as_ref().map(|partial| partial.association);
        if let Some(assoc) = reads.filter(|_| self.sockets.get(&id).is_some_and(|socket| socket.settings.tell_next)) {
            self.announce(now, assoc);
        }
        let next = self.next_info(id, peek);
        let context = |engine: &Self, assoc| engine.held(assoc).map_or(0, |held| held.settings.context);
        let socket = self.socket(id)?;
        let partial = socket.partial.as_ref().ok_or(Errno::EAGAIN)?;
        let told = context(self, partial.association);
        // Linux asks the socket here, not the association.
        let events = socket.settings.association.events;
        let (control, truncated) = control_of(socket, partial, events, told, next, control_room);
        let name = address::write(socket.family, socket.is_mapped(), partial.from);
        let payload = &partial.message.payload;
        let end = payload.len().min(partial.read + room);
        let data = payload.slice(partial.read..end);
        let whole = end == payload.len();
        let assoc = partial.association;
        if !peek {
            let socket = self.socket_mut(id)?;
            if whole {
                socket.partial = None;
            } else if let Some(partial) = &mut socket.partial {
                partial.read = end;
            }
            if whole {
                self.drained(now, id, assoc);
            }
        }
        let mut flags = if whole { libc::MSG_EOR } else { 0 };
        flags |= if truncated { libc::MSG_CTRUNC } else { 0 };
        Ok(Reply { result: data.len() as i32, flags, name, control, data, ..Reply::default() })
    }

    /// Empties what is at the front of the queue, so that a socket without data is not called readable.
    fn drained(&mut self, now: Time, id: SocketId, assoc: AssocId) {
        self.used(now, assoc);
        while let Some(Item::Messages { association, count: 0 }) =
            self.sockets.get(&id).and_then(|socket| socket.queue.front())
        {
            let assoc = *association;
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.queue.pop_front();
            }
            self.after_last(now, id, assoc);
        }
    }

    fn read_notification(&mut self, now: Time, id: SocketId, room: usize, control_room: usize, peek: bool) -> Outcome {
        let mut next = if peek { self.next_info(id, true) } else { None };
        let socket = self.socket_mut(id)?;
        let (family, mapped) = (socket.family, socket.is_mapped());
        let Some(Item::Notification { from, bytes, read, .. }) = socket.queue.front_mut() else {
            return Err(Errno::EAGAIN);
        };
        let name = address::write(family, mapped, *from);
        let end = bytes.len().min(*read + room);
        let data: Bytes = bytes.slice(*read..end);
        let whole = end == bytes.len();
        if !peek {
            if whole {
                socket.queue.pop_front();
            } else {
                *read = end;
            }
        }
        if !peek && whole && self.socket(id)?.settings.tell_next {
            self.advance(now, id)?;
            next = self.next_info(id, true);
        }
        let mut control = Vec::new();
        let all = next.is_none_or(|next| control::push(&mut control, control_room, c::SCTP_NXTINFO, &next.bytes()));
        let mut flags = c::MSG_NOTIFICATION | if whole { libc::MSG_EOR } else { 0 };
        flags |= if all { 0 } else { libc::MSG_CTRUNC };
        Ok(Reply { result: data.len() as i32, flags, name, control, data, ..Reply::default() })
    }

    /// What SCTP_NXTINFO tells, where it is asked for: of the message, or notification, behind the one that is being
    /// read, or, with `this`, of that one: who only looks has not taken it out.
    fn next_info(&self, id: SocketId, this: bool) -> Option<abi::sctp_nxtinfo> {
        let socket = self.sockets.get(&id).filter(|socket| socket.settings.tell_next)?;
        let mut info = abi::sctp_nxtinfo::zeroed();
        let mut message = |message: &Message, read: usize, number: i32| {
            info.nxt_sid = message.stream.0;
            info.nxt_flags = if message.unordered { c::SCTP_UNORDERED } else { 0 };
            info.nxt_ppid = message.ppid.0.to_be();
            info.nxt_length = (message.payload.len() - read) as u32;
            info.nxt_assoc_id = number;
        };
        if this && let Some(partial) = &socket.partial {
            message(&partial.message, partial.read, partial.number);
            return Some(info);
        }
        match socket.queue.iter().find(|item| !matches!(item, Item::Messages { count: 0, .. }))? {
            Item::Notification { association, bytes, read, .. } => {
                info.nxt_flags = c::SCTP_NOTIFICATION;
                info.nxt_length = (bytes.len() - read) as u32;
                info.nxt_assoc_id = *association;
            }
            Item::Messages { association, .. } => {
                let number = self.held(*association).map_or(0, |held| held.number);
                message(self.driver.stack().peek(*association)?, 0, number);
            }
        }
        Some(info)
    }

    /// `FIONREAD`: the bytes of the next message.
    pub(super) fn available(&mut self, id: SocketId) -> Outcome {
        let now = self.driver.now();
        if self.socket(id)?.style == Style::OneToOne && self.socket(id)?.state == SocketState::Listening {
            return Err(Errno::EINVAL);
        }
        self.advance(now, id)?;
        let socket = self.socket(id)?;
        let waiting = match (&socket.partial, socket.queue.front()) {
            (Some(partial), _) => partial.message.payload.len() - partial.read,
            (None, Some(Item::Notification { bytes, read, .. })) => bytes.len() - read,
            _ => 0,
        };
        Ok(Reply::number(i32::try_from(waiting).unwrap_or(i32::MAX)))
    }
}

/// The control messages that go with a message, and whether some had no room.
fn control_of(
    socket: &Socket,
    partial: &Partial,
    events: u32,
    context: u32,
    next: Option<abi::sctp_nxtinfo>,
    room: usize,
) -> (Vec<u8>, bool) {
    let message = &partial.message;
    let flags = if message.unordered { c::SCTP_UNORDERED } else { 0 };
    // Linux tells the cumulative TSN of unordered messages only (RFC 6458 §5.3.2).
    let (ssn, cumulative) = if message.unordered { (0, message.tsn.0) } else { (message.ssn.0, 0) };
    let mut out = Vec::new();
    let mut all = true;
    if let Some(next) = next {
        all &= control::push(&mut out, room, c::SCTP_NXTINFO, &next.bytes());
    }
    if socket.settings.tell_received {
        let info = abi::sctp_rcvinfo {
            rcv_sid: message.stream.0,
            rcv_ssn: ssn,
            rcv_flags: flags,
            rcv_ppid: message.ppid.0.to_be(),
            rcv_tsn: message.tsn.0,
            rcv_cumtsn: cumulative,
            rcv_context: context,
            rcv_assoc_id: partial.number,
        };
        all &= control::push(&mut out, room, c::SCTP_RCVINFO, &info.bytes());
    }
    if events & bit(c::SCTP_DATA_IO_EVENT) != 0 {
        let info = abi::sctp_sndrcvinfo {
            sinfo_stream: message.stream.0,
            sinfo_ssn: ssn,
            sinfo_flags: flags,
            sinfo_ppid: message.ppid.0.to_be(),
            sinfo_context: context,
            sinfo_timetolive: 0,
            sinfo_tsn: message.tsn.0,
            sinfo_cumtsn: cumulative,
            sinfo_assoc_id: partial.number,
        };
        all &= control::push(&mut out, room, c::SCTP_SNDRCV, &info.bytes());
    }
    (out, !all)
}

fn room(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
