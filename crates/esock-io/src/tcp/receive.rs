//! What comes in on a connection.

use super::frame::{Frame, HEADER_BYTES, HELLO_BYTES, Hello, TooLong, Violation};
use super::link::Phase;
use super::{Tcp, socket};
use crate::session::Sessions;
use bytes::Bytes;
use esock_proto::{AssocId, CloseReason, Message, Ppid, State, StreamId, Time};
use std::io::{self, Read};

/// Reads of one connection in a row, so that others have their turn.
const READS: usize = 16;

/// User-Initiated Abort (RFC 9260 §3.3.10.12): what an abort frame says.
const USER_INITIATED_ABORT: u16 = 12;

/// Protocol Violation (RFC 9260 §3.3.10.13).
const PROTOCOL_VIOLATION: u16 = 13;

/// What goes on after a piece of input.
pub(super) enum Then {
    Goes,
    /// It has ended, or waits for its user.
    Stops,
}

impl Tcp {
    /// Reads until nothing is there, the mailbox is full, or others have to have their turn.
    pub(super) fn read(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        for _ in 0..READS {
            let Some(session) = sessions.get_mut(id).filter(|session| session.state != State::Closed) else { return };
            if session.link.phase == Phase::Offered || session.mailbox.is_full() {
                // Goes on when the user has decided, or read.
                session.link.unread = true;
                return;
            }
            let Some(stream) = &mut session.link.stream else { return };
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = stream.read(&mut buffer);
            let then = match read {
                Ok(0) => {
                    self.on_end_of_stream(sessions, now, id);
                    Then::Stops
                }
                Ok(len) => self.on_input(sessions, now, id, &buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Then::Goes,
                Err(error) => {
                    session.link.unread = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.on_lost(sessions, id, &error);
                    }
                    Then::Stops
                }
            };
            self.buffer = buffer;
            if matches!(then, Then::Stops) {
                return;
            }
        }
        if let Some(session) = sessions.get_mut(id) {
            session.link.unread = true;
            sessions.hurry(id);
        }
    }

    /// The connection broke.
    fn on_lost(&mut self, sessions: &mut Sessions<Self>, id: AssocId, error: &io::Error) {
        let Some(session) = sessions.get(id) else { return };
        let (cause, info) = (None, Bytes::new());
        let reason = match (error.kind(), session.state) {
            (io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable, _) => CloseReason::TimedOut,
            (_, State::CookieWait) => CloseReason::Refused { cause, info },
            _ => CloseReason::PeerAbort { cause, info },
        };
        self.close(sessions, id, reason);
    }

    /// The peer has closed its half.
    fn on_end_of_stream(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        session.link.unread = false;
        let refused = session.state == State::CookieWait;
        if self.framed {
            let in_order = session.link.peer_done && session.link.said_shutdown;
            let (cause, info) = (None, Bytes::new());
            let reason = match (in_order, refused) {
                (true, _) => CloseReason::Shutdown,
                (false, true) => CloseReason::Refused { cause, info },
                (false, false) => CloseReason::PeerAbort { cause, info },
            };
            return self.close(sessions, id, reason);
        }
        if session.link.said_shutdown {
            return self.close(sessions, id, CloseReason::Shutdown);
        }
        self.on_peer_done(sessions, now, id);
    }

    pub(super) fn on_input(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, bytes: &[u8]) -> Then {
        if !self.framed {
            let message = Message::new(StreamId(0), Ppid(0), Bytes::copy_from_slice(bytes));
            sessions.on_message(id, message);
            return Then::Goes;
        }
        let Some(session) = sessions.get_mut(id) else { return Then::Stops };
        // Whole frames are taken out of the buffer; only what is left of the last is kept.
        let mut kept = std::mem::take(&mut session.link.input);
        let continued = !kept.is_empty();
        if continued {
            kept.extend_from_slice(bytes);
        }
        let input = if continued { &kept[..] } else { bytes };
        let mut used = 0;
        let then = loop {
            match self.on_frame(sessions, now, id, &input[used..]) {
                Ok(Some((len, Then::Goes))) => used += len,
                Ok(Some((len, Then::Stops))) => {
                    // Of one that waits for its user nothing is lost.
                    used += len;
                    break Then::Stops;
                }
                Ok(None) => break Then::Goes,
                Err(detail) => {
                    self.on_violation(sessions, id, detail);
                    return Then::Stops;
                }
            }
        };
        if continued {
            kept.drain(..used);
        } else {
            kept.extend_from_slice(&bytes[used..]);
        }
        if let Some(session) = sessions.get_mut(id).filter(|session| session.state != State::Closed) {
            session.link.input = if kept.is_empty() { Vec::new() } else { kept };
        }
        then
    }

    /// Takes one frame, if a whole one is there. Says how long it was.
    fn on_frame(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        id: AssocId,
        bytes: &[u8],
    ) -> Result<Option<(usize, Then)>, Violation> {
        let Some(session) = sessions.get(id) else { return Ok(Some((0, Then::Stops))) };
        if session.link.phase == Phase::Greeting {
            let Some(hello) = bytes.first_chunk::<HELLO_BYTES>() else {
                // What cannot become a hello need not be waited for.
                let begins = Hello::of(&session.config, 0).write();
                let known = bytes.len().min(9);
                return if bytes[..known] == begins[..known] { Ok(None) } else { Err("this is no hello of esock's") };
            };
            let then = self.on_hello(sessions, now, id, Hello::read(hello)?);
            return Ok(Some((HELLO_BYTES, then)));
        }
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let (frame, len) = match Frame::read(header, session.config.max_message) {
            Ok(read) => read,
            Err(TooLong { is_data: true }) => {
                if let Some(stream) = &session.link.stream {
                    socket::reset_on_close(stream);
                }
                self.close(sessions, id, CloseReason::MessageTooLarge);
                return Ok(Some((0, Then::Stops)));
            }
            Err(TooLong { is_data: false }) => return Err("a frame is too long"),
        };
        let Some(payload) = bytes.get(HEADER_BYTES..HEADER_BYTES + len) else { return Ok(None) };
        let inbound = session.negotiated.inbound_streams;
        let then = match frame {
            Frame::Data { options } => {
                if payload.is_empty() {
                    return Err("a message has no data");
                }
                if options.stream.0 >= inbound {
                    return Err("a message is on a stream that was not negotiated");
                }
                if session.link.peer_done {
                    return Err("a message follows the end");
                }
                let mut message = Message::new(options.stream, options.ppid, Bytes::copy_from_slice(payload));
                message.unordered = options.unordered;
                sessions.on_message(id, message);
                Then::Goes
            }
            Frame::Shutdown => {
                self.on_peer_done(sessions, now, id);
                Then::Goes
            }
            Frame::ShutdownAck if session.link.said_shutdown => {
                self.close(sessions, id, CloseReason::Shutdown);
                Then::Stops
            }
            Frame::ShutdownAck => return Err("an end is confirmed that was not asked for"),
            Frame::Abort => {
                let info = Bytes::copy_from_slice(payload);
                self.close(sessions, id, CloseReason::PeerAbort { cause: Some(USER_INITIATED_ABORT), info });
                Then::Stops
            }
            Frame::Unknown => Then::Goes,
        };
        Ok(Some((HEADER_BYTES + len, then)))
    }

    fn on_hello(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, hello: Hello) -> Then {
        let Some(session) = sessions.get_mut(id) else { return Then::Stops };
        let negotiated = hello.negotiate(&session.config);
        session.link.peer_takes = hello.max_message as usize;
        let (undecided, remote) = (session.undecided, session.link.remote);
        if undecided {
            if hello.refused {
                sessions.remove(id);
                return Then::Stops;
            }
            session.link.phase = Phase::Offered;
            session.link.deadline = None;
            // The peer is known by its endpoint's port from now on, as an SCTP peer is.
            sessions.relist(id, remote.into_iter().collect(), Some(hello.port));
            sessions.offer(id, negotiated, None);
            return Then::Stops;
        }
        if hello.refused {
            self.close(sessions, id, CloseReason::Refused { cause: None, info: Bytes::new() });
            return Then::Stops;
        }
        session.link.phase = Phase::Open;
        sessions.on_up(id, negotiated);
        self.watch_over(sessions, now, id);
        Then::Goes
    }

    /// The peer does not keep to the format.
    fn on_violation(&mut self, sessions: &mut Sessions<Self>, id: AssocId, detail: Violation) {
        let Some(session) = sessions.get_mut(id) else { return };
        if let Some(stream) = &session.link.stream {
            socket::reset_on_close(stream);
        }
        if session.undecided {
            sessions.remove(id);
            return;
        }
        self.close(sessions, id, CloseReason::ProtocolViolation { cause: PROTOCOL_VIOLATION, detail });
    }
}
