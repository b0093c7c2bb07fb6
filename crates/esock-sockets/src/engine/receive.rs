//! `recvmsg` (RFC 6458 §5).

use super::socket::{Midway, Partial};
use super::{Engine, Held, Item, Outcome, Reply, Socket, SocketId, SocketState, Style};
use crate::address;
use crate::control;
use crate::errno::Errno;
use crate::notify::{self, bit};
use crate::protocol::MAX_CONTROL;
use bytes::Bytes;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, Message, Part, Time};
use std::time::SystemTime;

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
        if socket.midway.is_none()
            && let Some(Item::Notification { .. }) = socket.queue.front()
        {
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
        if in_vain && reply.flags == 0 {
            reply.flags = Errno::ENOTCONN.0;
        }
        Ok(reply)
    }

    /// What whoever receives next is told, if it is a whole message, and whatever comes until then; it stays where it is. What
    /// comes behind it is told as news from now on ([`Engine::has_more`]).
    pub(crate) fn next_message(&mut self, id: SocketId) -> Option<Reply> {
        let socket = self.sockets.get(&id)?;
        let begun = socket.partial.is_some() || socket.midway.is_some();
        // What has come for a socket that `accept` is to make yet is that one's.
        let is_listener = socket.style == Style::OneToOne && socket.state == SocketState::Listening;
        if is_listener || begun || socket.error.is_some() || socket.settings.tell_next {
            return None;
        }
        let Item::Messages { association, came, .. } = unread(socket).next()? else { return None };
        let (held, (message, _)) = (self.held(*association)?, self.driver.stack().peek(*association)?);
        if message.part != Part::Whole || message.payload.is_empty() {
            return None;
        }
        let (assoc, data) = (*association, message.payload.clone());
        let partial = self.partial(held, message.clone(), *came);
        let events = socket.settings.association.events;
        let (control, _) = control_of(socket, &partial, events, held.settings.context, None, MAX_CONTROL);
        let name = address::write(socket.family, socket.is_mapped(), partial.from);
        self.edged.insert(assoc);
        Some(Reply { result: data.len() as i32, flags: libc::MSG_EOR, name, control, data, ..Reply::default() })
    }

    /// Whether a socket is readable still when the next message is not there any more.
    pub(crate) fn has_more(&self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get(&id) else { return false };
        let mut items = unread(socket);
        let behind = match items.next() {
            Some(Item::Messages { association, .. }) => self.driver.stack().ready_messages(*association) > 1,
            _ => false,
        };
        behind || items.next().is_some() || socket.no_more || socket.error.is_some()
    }

    /// Takes the next message out of its association, if it is next.
    fn advance(&mut self, now: Time, id: SocketId) -> Result<(), Errno> {
        loop {
            let socket = self.sockets.get_mut(&id).ok_or(Errno::EBADF)?;
            if socket.partial.is_some() {
                return Ok(());
            }
            if let Some(midway) = &mut socket.midway {
                let assoc = midway.association;
                if !std::mem::take(&mut midway.more) {
                    return Ok(());
                }
                self.begin_message(now, id, assoc, None)?;
                continue;
            }
            let Some(Item::Messages { association, count, came }) = socket.queue.front_mut() else { return Ok(()) };
            let (assoc, came) = (*association, *came);
            if *count == 0 {
                socket.queue.pop_front();
                self.after_last(now, id, assoc);
                continue;
            }
            *count -= 1;
            self.begin_message(now, id, assoc, came)?;
        }
    }

    /// Takes the next message, or piece of one, out of an association.
    fn begin_message(
        &mut self,
        now: Time,
        id: SocketId,
        assoc: AssocId,
        came: Option<SystemTime>,
    ) -> Result<(), Errno> {
        let Some(taken) = self.take_message(now, assoc, came) else { return Ok(()) };
        let socket = self.socket_mut(id)?;
        if taken.message.part == Part::More && !socket.settings.fragment_interleave {
            socket.midway.get_or_insert(Midway { association: assoc, more: false });
        } else {
            socket.midway.take_if(|midway| midway.association == assoc && taken.message.part != Part::More);
        }
        self.hold_back(id, &taken);
        if taken.message.part == Part::Cut {
            self.tell_cut(id, &taken);
            if taken.message.payload.is_empty() {
                // There is nothing to be read of it but that it has no end.
                self.after_last(now, id, assoc);
                return Ok(());
            }
        }
        self.socket_mut(id)?.partial = Some(taken);
        Ok(())
    }

    /// With SCTP_FRAGMENT_INTERLEAVE, what is told of an association waits for the end of its message, as on Linux.
    fn hold_back(&mut self, id: SocketId, taken: &Partial) {
        let interleaves = self.sockets.get(&id).is_some_and(|socket| socket.settings.fragment_interleave);
        let waits = taken.message.part == Part::More && interleaves;
        let Some(held) = self.associations.get_mut(&taken.association) else { return };
        let waited = std::mem::replace(&mut held.midway, waits);
        let Ok(socket) = self.socket_mut(id) else { return };
        if waits && !waited {
            let told = Socket::notifications_of(&mut socket.queue, taken.number);
            socket.lobby.extend(told);
        } else if waited && !waits {
            let mut told = Socket::notifications_of(&mut socket.lobby, taken.number);
            told.append(&mut socket.queue);
            socket.queue = told;
        }
    }

    /// SCTP_PARTIAL_DELIVERY_EVENT (RFC 6458 §6.1.7), before anything that came later.
    fn tell_cut(&mut self, id: SocketId, read: &Partial) {
        let wanted = bit(c::SCTP_PARTIAL_DELIVERY_EVENT);
        if self.held(read.association).is_some_and(|held| held.settings.events & wanted != 0)
            && let Ok(socket) = self.socket_mut(id)
        {
            let bytes = notify::partial_delivery_aborted(read.number).into();
            let (number, from) = (read.number, read.from);
            let item = Item::Notification { association: number, told: number, from, bytes, read: 0 };
            let memory = item.told_bytes();
            socket.tell(item, true);
            self.is_to_be_told(read.association, memory);
        }
    }

    /// All messages of an association that the queue knew of are read.
    fn after_last(&mut self, now: Time, id: SocketId, assoc: AssocId) {
        self.announce(now, assoc);
        let Some(number) = self.held(assoc).filter(|held| held.closed).map(|held| held.number) else { return };
        let Ok(socket) = self.socket_mut(id) else { return };
        // Seldom, so the queue may be walked: a closed association is forgotten with its last message.
        let is_of = |item: &Item| matches!(item, Item::Messages { association, .. } if *association == assoc);
        if !socket.is_midway(assoc) && !socket.queue.iter().any(is_of) {
            socket.associations.remove(&number);
            self.forget(now, assoc);
        }
    }

    fn take_message(&mut self, now: Time, assoc: AssocId, came: Option<SystemTime>) -> Option<Partial> {
        let message = self.driver.stack_mut().recv(now, assoc)?;
        self.totals.received += 1;
        let held = self.associations.get_mut(&assoc)?;
        held.announced = held.announced.saturating_sub(1);
        let held = self.held(assoc)?;
        Some(self.partial(held, message, came))
    }

    /// A message of which nothing is read yet.
    fn partial(&self, held: &Held, message: Message, came: Option<SystemTime>) -> Partial {
        let peer = held.peer;
        let from = self.driver.stack().path_remote(held.id, message.path).map_or(peer, |remote| (remote, peer.1));
        Partial { association: held.id, number: held.number, from, message, read: 0, came }
    }

    fn read_message(&mut self, now: Time, id: SocketId, room: usize, control_room: usize, peek: bool) -> Outcome {
        // The next message is looked for where SCTP_RECVNXTINFO asks for it; the queue may not know of it yet.
        let reads = self.socket(id)?.partial.as_ref().map(|partial| partial.association);
        if let Some(assoc) = reads.filter(|_| self.sockets.get(&id).is_some_and(|socket| socket.settings.tell_next)) {
            self.announce(now, assoc);
        }
        let next = self.next_info(id, peek, 0);
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
        let all = end == payload.len();
        let ends = all && partial.message.part.is_end();
        if !peek {
            let socket = self.socket_mut(id)?;
            if all && let Some(read) = socket.partial.take() {
                if matches!(read.message.part, Part::Last | Part::Cut) {
                    self.after_last(now, id, read.association);
                }
                self.drained(now, id);
            } else if let Some(partial) = &mut socket.partial {
                partial.read = end;
            }
        }
        let mut flags = if ends { libc::MSG_EOR } else { 0 };
        flags |= if truncated { libc::MSG_CTRUNC } else { 0 };
        Ok(Reply { result: data.len() as i32, flags, name, control, data, ..Reply::default() })
    }

    /// Empties what is at the front of the queue, so that a socket without data is not called readable.
    fn drained(&mut self, now: Time, id: SocketId) {
        while let Some(Item::Messages { association, count: 0, .. }) =
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
        let socket = self.socket(id)?;
        let Some(Item::Notification { bytes, read, .. }) = socket.queue.front() else { return Err(Errno::EAGAIN) };
        // Who only looks has not taken it out; who reads a piece of it has.
        let piece = bytes.len() - read > room;
        let mut next = if peek || piece { self.next_info(id, true, usize::from(!peek)) } else { None };
        let socket = self.socket_mut(id)?;
        let (family, mapped) = (socket.family, socket.is_mapped());
        let Some(Item::Notification { from, bytes, read, .. }) = socket.queue.front_mut() else {
            return Err(Errno::EAGAIN);
        };
        let name = address::write(family, mapped, *from);
        let end = bytes.len().min(*read + room);
        let data: Bytes = bytes.slice(*read..end);
        let whole = end == bytes.len();
        if !peek && !whole {
            *read = end;
        } else if !peek && let Some((number, bytes)) = socket.told() {
            self.is_told(number, bytes);
        }
        if !peek && whole && self.socket(id)?.settings.tell_next {
            self.advance(now, id)?;
            next = self.next_info(id, true, 0);
        }
        let mut control = Vec::new();
        let stamps = self.socket(id)?.settings.stamps;
        let all = stamps.push(None, &mut control, control_room);
        let all =
            all & next.is_none_or(|next| control::push(&mut control, control_room, c::SCTP_NXTINFO, &next.bytes()));
        let mut flags = c::MSG_NOTIFICATION | if whole { libc::MSG_EOR } else { 0 };
        flags |= if all { 0 } else { libc::MSG_CTRUNC };
        Ok(Reply { result: data.len() as i32, flags, name, control, data, ..Reply::default() })
    }

    /// What SCTP_NXTINFO tells, where it is asked for: of the message, or notification, behind the one that is being
    /// read, or, with `this`, of that one: who only looks has not taken it out. So many items of the queue are passed over.
    fn next_info(&self, id: SocketId, this: bool, over: usize) -> Option<abi::sctp_nxtinfo> {
        let socket = self.sockets.get(&id).filter(|socket| socket.settings.tell_next)?;
        let mut info = abi::sctp_nxtinfo::zeroed();
        let mut message = |message: &Message, length: usize, number: i32| {
            info.nxt_sid = message.stream.0;
            info.nxt_flags = if message.unordered { c::SCTP_UNORDERED } else { 0 };
            info.nxt_ppid = message.ppid.0.to_be();
            info.nxt_length = length as u32;
            info.nxt_assoc_id = number;
        };
        if this && let Some(partial) = &socket.partial {
            message(&partial.message, partial.message.payload.len() - partial.read, partial.number);
            return Some(info);
        }
        if let Some(assoc) = socket.midway.as_ref().map(|midway| midway.association) {
            let (next, length) = self.driver.stack().peek(assoc)?;
            message(next, length, self.held(assoc).map_or(0, |held| held.number));
            return Some(info);
        }
        match unread(socket).nth(over)? {
            Item::Notification { told, bytes, read, .. } => {
                info.nxt_flags = c::SCTP_NOTIFICATION;
                info.nxt_length = (bytes.len() - read) as u32;
                info.nxt_assoc_id = *told;
            }
            Item::Messages { association, .. } => {
                let number = self.held(*association).map_or(0, |held| held.number);
                let (next, length) = self.driver.stack().peek(*association)?;
                message(next, length, number);
            }
        }
        Some(info)
    }

    /// `FIONREAD`: the bytes of the next message. No listener of one-to-one style has any, nor takes another `ioctl`.
    pub(super) fn available(&mut self, id: SocketId) -> Outcome {
        let now = self.driver.now();
        if self.socket(id)?.style == Style::OneToOne && self.socket(id)?.state == SocketState::Listening {
            return Err(Errno::ENOTCONN);
        }
        self.advance(now, id)?;
        let socket = self.socket(id)?;
        let waiting = match (&socket.partial, socket.queue.front()) {
            (Some(partial), _) => partial.message.payload.len() - partial.read,
            (None, Some(Item::Notification { bytes, read, .. })) if socket.midway.is_none() => bytes.len() - read,
            _ => 0,
        };
        Ok(Reply::number(i32::try_from(waiting).unwrap_or(i32::MAX)))
    }
}

/// What is to be read of a socket, but for what is being read.
fn unread(socket: &Socket) -> impl Iterator<Item = &Item> {
    socket.queue.iter().filter(|item| !matches!(item, Item::Messages { count: 0, .. }))
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
    let mut all = socket.settings.stamps.push(partial.came, &mut out, room);
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
