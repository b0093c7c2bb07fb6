//! `sendmsg` and what comes to it (RFC 6458 §5, §9).

use super::setup::NOWHERE;
use super::{Engine, Outcome, Reply, SendDefaults, SocketId, SocketState, Style};
use crate::address::{self, Named};
use crate::control::{self, Given};
use crate::errno::Errno;
use bytes::Bytes;
use esock_io::kernel::abi::sctp_initmsg;
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, Config, PathId, Ppid, SendError, SendOptions, State, StreamId, Time};
use std::time::Duration;

impl Engine {
    /// `sendmsg`: flags, bytes of the name and of control messages; the body is both, then the data.
    pub(super) fn send_message(&mut self, now: Time, id: SocketId, args: [i32; 4], body: Bytes) -> Outcome {
        let lengths = (usize::try_from(args[1]), usize::try_from(args[2]));
        let (Ok(name), Ok(control)) = lengths else { return Err(Errno::EINVAL) };
        if name.saturating_add(control) > body.len() {
            return Err(Errno::EINVAL);
        }
        let data = body.slice(name + control..);
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne && socket.state == SocketState::Listening {
            return Err(self.why_none(id));
        }
        if data.len() > socket.settings.send_buffer {
            return Err(Errno::EMSGSIZE);
        }
        let given = control::parse(&body[name..name + control])?;
        // A socket of one association that was taken out of another has one peer, whatever is named.
        let named = name != 0 && socket.style != Style::PeeledOff;
        let to = if named { Some(address::parse(socket.family, &body[..name])?) } else { None };
        if let Some((address, _)) = to {
            self.check_peer(id, address)?;
        }
        let flags = given.flags();
        self.check_flags(id, flags, name != 0, data.len())?;
        if flags & c::SCTP_SENDALL != 0 && self.socket(id)?.style == Style::OneToMany {
            return self.send_to_all(now, id, &given, &data);
        }
        let assoc = match to {
            Some(named) => match self.association_to(id, named)? {
                Some(assoc) => assoc,
                None => return self.begin_by_sending(now, id, named, &given, &data),
            },
            None => self.by_number(id, given.number()).ok_or_else(|| self.why_none(id))?,
        };
        // A one-to-one socket sends where it is told; others need be told to (`sctp_sendmsg` of Linux).
        let over = to.filter(|_| self.is_one_to_one(id) || flags & c::SCTP_ADDR_OVER != 0);
        let path = over.and_then(|(remote, _)| self.driver.stack().path_to(assoc, remote));
        self.send_to(now, id, assoc, path, &given, &data)
    }

    fn is_one_to_one(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.style == Style::OneToOne)
    }

    /// Why a socket has no association to send on.
    fn why_none(&mut self, id: SocketId) -> Errno {
        // What ended it is told once, then that there is none.
        self.socket_mut(id).ok().and_then(|socket| socket.take_error()).unwrap_or(Errno::EPIPE)
    }

    fn check_flags(&self, id: SocketId, flags: u16, named: bool, length: usize) -> Result<(), Errno> {
        if flags == 0 && length > 0 {
            return Ok(());
        }
        let ends = flags & (c::SCTP_EOF | c::SCTP_ABORT) != 0;
        let bad = (self.socket(id)?.style == Style::OneToOne && ends)
            || (flags & c::SCTP_EOF != 0 && length > 0)
            || (!ends && length == 0)
            || (flags & c::SCTP_ADDR_OVER != 0 && !named);
        if bad { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// The association of a socket with the peer at an address.
    fn association_to(&self, id: SocketId, named: Named) -> Result<Option<AssocId>, Errno> {
        let socket = self.socket(id)?;
        // One that was taken out of another socket has that one's endpoint.
        let first = || socket.associations.values().next().and_then(|assoc| self.held(*assoc));
        let Some(endpoint) = socket.endpoint.or_else(|| first().map(|held| held.endpoint)) else { return Ok(None) };
        let found = self.driver.stack().find(endpoint, named.0, named.1);
        let found = found.filter(|assoc| self.held(*assoc).is_some_and(|held| held.socket == Some(id)));
        // One that has ended is found no more, but is what its socket still has.
        let ended = || first().filter(|held| socket.has_one() && held.closed && held.peer == named);
        Ok(found.or_else(|| ended().and(socket.associations.values().next().copied())))
    }

    /// Sets an association up because somebody sends (RFC 6458 §3.1.2 and §4.1.5). The flags of the reply say that who
    /// waits at all waits until it is up.
    fn begin_by_sending(&mut self, now: Time, id: SocketId, to: Named, given: &Given, data: &Bytes) -> Outcome {
        let socket = self.socket(id)?;
        if given.flags() & (c::SCTP_EOF | c::SCTP_ABORT) != 0 {
            return Err(Errno::EINVAL);
        }
        if socket.has_one() && matches!(socket.state, SocketState::Established | SocketState::Closing) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mut peers = vec![to];
        peers.extend(given.destinations.iter().map(|address| (*address, to.1)));
        let init = given.init;
        let apply = move |config: &mut Config| {
            if let Some(init) = init {
                apply_init(&init, config);
            }
        };
        let error = socket.error;
        let assoc = match self.begin(now, id, &peers, Some(&apply)) {
            Err(NOWHERE) => return Ok(Reply { flags: WAIT_UNTIL_UP, ..Reply::number(clamp(data.len())) }),
            begun => begun?,
        };
        match self.send_to(now, id, assoc, None, given, data) {
            Ok(reply) => Ok(Reply { flags: WAIT_UNTIL_UP, ..reply }),
            Err(errno) => {
                // What could not be sent has begun nothing.
                self.undo(now, id, assoc);
                self.socket_mut(id)?.error = error;
                Err(errno)
            }
        }
    }

    /// Forgets an association that has just begun.
    fn undo(&mut self, now: Time, id: SocketId, assoc: AssocId) {
        let number = self.held(assoc).map_or(0, |held| held.number);
        if let Ok(socket) = self.socket_mut(id) {
            socket.associations.remove(&number);
            socket.forget_begun(assoc);
            (socket.connecting, socket.peer) = (false, None);
        }
        self.forget(now, assoc);
    }

    /// SCTP_SENDALL (RFC 6458 §5.3.4).
    fn send_to_all(&mut self, now: Time, id: SocketId, given: &Given, data: &Bytes) -> Outcome {
        let mut all: Vec<AssocId> = self.socket(id)?.associations.values().copied().collect();
        all.retain(|assoc| self.driver.stack().state(*assoc) == Some(State::Established));
        // Who waits for one of them, or tries again, does it for all: nobody is to get it twice.
        for assoc in &all {
            let options = self.options_for(*assoc, given);
            let checked = self.driver.stack_mut().check_send(*assoc, &options, data.len());
            if matches!(checked, Err(SendError::Full)) {
                let socket = self.socket_mut(id)?;
                socket.blocked = true;
                return Ok(Reply::wait(Errno::EAGAIN, socket.settings.send_timeout));
            }
        }
        let mut reply = Reply::done();
        for assoc in all {
            reply = self.send_to(now, id, assoc, None, given, data)?;
        }
        Ok(reply)
    }

    /// How a message is sent on an association.
    fn options_for(&self, assoc: AssocId, given: &Given) -> SendOptions {
        let defaults = self.held(assoc).map(|held| held.settings.send).unwrap_or_default();
        options(&given.send(defaults))
    }

    fn send_to(
        &mut self,
        now: Time,
        id: SocketId,
        assoc: AssocId,
        path: Option<PathId>,
        given: &Given,
        data: &Bytes,
    ) -> Outcome {
        let held = self.held(assoc).ok_or(Errno::EPIPE)?;
        if held.closed {
            return Err(self.why_none(id));
        }
        // What ends an association sends no data, and says so.
        if given.flags() & c::SCTP_EOF != 0 {
            self.end(now, assoc);
            return Ok(Reply::done());
        }
        if given.flags() & c::SCTP_ABORT != 0 {
            self.abort(now, assoc, data);
            return Ok(Reply::done());
        }
        let socket = self.socket(id)?;
        if socket.settings.no_fragments && data.len() > self.fragment_size(now, assoc) {
            return Err(Errno::EMSGSIZE);
        }
        let timeout = socket.settings.send_timeout;
        let full = socket.blocked && socket.has_one() && !self.held(assoc).is_some_and(|held| held.shutting_down);
        if full {
            // Smaller ones do not overtake: who polls and who tries are told the same.
            return Ok(Reply::wait(Errno::EAGAIN, timeout));
        }
        let options = SendOptions { path, ..self.options_for(assoc, given) };
        match self.driver.stack_mut().send(now, assoc, options, data.clone()) {
            Ok(()) => {
                self.totals.sent += 1;
                self.watch_dry(now, assoc);
                Ok(Reply::number(clamp(data.len())))
            }
            Err(rejected) => match rejected.error {
                SendError::Full => {
                    self.socket_mut(id)?.blocked = true;
                    Ok(Reply::wait(Errno::EAGAIN, timeout))
                }
                SendError::TooLarge { .. } => Err(Errno::EMSGSIZE),
                SendError::BadStream { .. } | SendError::Empty => Err(Errno::EINVAL),
                SendError::ShuttingDown => Err(Errno::ESHUTDOWN),
                SendError::Closed | SendError::NotConnected => Err(Errno::EPIPE),
                _ => Err(Errno::EINVAL),
            },
        }
    }
}

/// What SCTP_INITMSG says, where it says anything.
pub(crate) fn apply_init(init: &sctp_initmsg, config: &mut Config) {
    if init.sinit_num_ostreams != 0 {
        config.outbound_streams = init.sinit_num_ostreams;
    }
    if init.sinit_max_instreams != 0 {
        config.inbound_streams = init.sinit_max_instreams;
    }
    if init.sinit_max_attempts != 0 {
        config.max_init_retransmits = u32::from(init.sinit_max_attempts);
    }
    if init.sinit_max_init_timeo != 0 {
        let limit = Duration::from_millis(u64::from(init.sinit_max_init_timeo));
        config.rto_initial = config.rto_initial.min(limit).max(config.rto_min);
    }
}

/// In the flags of a reply to `sendmsg`: see `begin_by_sending`.
const WAIT_UNTIL_UP: i32 = 1;

fn options(send: &SendDefaults) -> SendOptions {
    SendOptions {
        stream: StreamId(send.stream),
        // Opaque: it goes over the wire as the program gave it (RFC 6458 §5.3.2).
        ppid: Ppid(u32::from_be(send.ppid)),
        unordered: send.flags & c::SCTP_UNORDERED != 0,
        sack_immediately: send.flags & c::SCTP_SACK_IMMEDIATELY != 0,
        context: u64::from(send.context),
        // Other policies are about messages that were sent (RFC 7496 §3).
        lifetime: (send.lifetime_ms != 0
            && matches!(send.flags & c::SCTP_PR_SCTP_MASK, c::SCTP_PR_SCTP_NONE | c::SCTP_PR_SCTP_TTL))
        .then(|| Duration::from_millis(u64::from(send.lifetime_ms))),
        path: None,
    }
}

fn clamp(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
