//! The protocol `tcp`: associations of one stream and one path, each a connection of the system's TCP.
//!
//! Framed ([`frame`] has the format) messages keep their boundaries, streams and payload identifiers, and both ends must
//! be esock's; raw, bytes go and come as they are, on stream 0, with any peer. The system's keepalive stands in for
//! heartbeats: a peer of which nothing is heard for as long as an SCTP peer would be given is gone.

mod connect;
mod frame;
mod link;
mod listen;
mod receive;
mod socket;

use crate::config::TcpFraming;
use crate::error::EndpointError;
use crate::pages::Pages;
use crate::session::{Carrier, Opened, Session, Sessions, Source};
use crate::sys;
use bytes::Bytes;
use esock_proto::{
    Address, AssocId, AssociationStats, Capabilities, Capability, CloseReason, Config, ConnectError, EndpointConfig,
    EndpointId, Event, PathError, PathId, PathParameters, Peer, Rejected, SendError, SendOptions, State, Time,
    Undelivered,
};
use frame::{Frame, Hello};
use link::{Link, Phase};
use listen::Listeners;
use std::time::Duration;

/// Time for a peer's hello.
const GREETING: Duration = Duration::from_secs(5);

/// How soon after the last write it is looked after what was acknowledged.
const LOOK_AFTER: Duration = Duration::from_millis(200);

/// The peer has so many times RTO.Max to answer the end of our half (RFC 9260 §9.2).
const GUARD_FACTOR: u32 = 5;

/// What is received with one call.
const BUFFER_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tcp {
    framed: bool,
    buffer: Pages,
    /// Endpoints where connections may wait of which no edge will tell, and when they are looked at again.
    waiting: Vec<EndpointId>,
    look_again: Option<Time>,
}

impl Tcp {
    pub(crate) fn new(framing: TcpFraming) -> Self {
        let framed = framing == TcpFraming::Framed;
        Self { framed, buffer: Pages::new(BUFFER_BYTES), waiting: Vec::new(), look_again: None }
    }
}

impl Carrier for Tcp {
    type Endpoint = Listeners;
    type Link = Link;

    fn capabilities(&self) -> Capabilities {
        if !self.framed {
            return Capabilities::default();
        }
        let can = [
            Capability::MessageBoundaries,
            Capability::Streams,
            Capability::Ppid,
            Capability::Unordered,
            Capability::AbortReason,
            Capability::Adaptation,
        ];
        can.into_iter().collect()
    }

    fn open(
        &mut self,
        sessions: &Sessions<Self>,
        id: EndpointId,
        config: &EndpointConfig,
    ) -> Result<Opened<Listeners>, EndpointError> {
        listen::open(sessions, id, config)
    }

    fn set_accepting(&mut self, sessions: &mut Sessions<Self>, endpoint: EndpointId, accepting: bool) {
        if accepting {
            self.accept_all(sessions, crate::clock::now(), endpoint);
        }
    }

    fn connect(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        (id, endpoint): (AssocId, EndpointId),
        peer: &Peer,
        config: &Config,
    ) -> Result<Link, ConnectError> {
        Ok(self.begin(sessions, now, (id, endpoint), peer, config))
    }

    fn on_ready(&mut self, sessions: &mut Sessions<Self>, now: Time, source: Source, readable: bool, writable: bool) {
        match source {
            Source::Endpoint(endpoint, _) => self.accept_all(sessions, now, endpoint),
            Source::Session(id) => {
                let Some(session) = sessions.get_mut(id) else { return };
                if matches!(session.link.phase, Phase::Connecting { .. }) {
                    return self.on_connecting(sessions, now, id);
                }
                session.link.unread |= readable;
                if writable {
                    self.write(sessions, now, id);
                }
                if readable {
                    self.read(sessions, now, id);
                }
            }
        }
    }

    fn on_hurry(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get(id) else { return };
        if matches!(session.link.phase, Phase::Connecting { .. }) {
            return self.on_connecting(sessions, now, id);
        }
        self.write(sessions, now, id);
        if sessions.get(id).is_some_and(|session| session.link.unread) {
            self.read(sessions, now, id);
        }
    }

    fn on_timer(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        if session.link.armed.is_some_and(|at| at <= now) {
            session.link.armed = None;
        }
        match session.link.deadline {
            Some(at) if at <= now => self.on_deadline(sessions, now, id),
            Some(at) => arm(sessions, id, at),
            None => {}
        }
    }

    fn due(&self) -> Option<Time> {
        self.look_again
    }

    fn on_due(&mut self, sessions: &mut Sessions<Self>, now: Time) {
        self.look_again = None;
        for endpoint in std::mem::take(&mut self.waiting) {
            self.accept_all(sessions, now, endpoint);
        }
    }

    fn accept(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        session.link.phase = Phase::Open;
        session.link.unread = true;
        let (endpoint, negotiated) = (session.endpoint, session.negotiated);
        if self.framed {
            let port = sessions.endpoints.get(&endpoint).map_or(0, |entry| entry.port);
            if let Some(session) = sessions.get_mut(id) {
                session.link.push_bytes(Bytes::copy_from_slice(&Hello::of(&session.config, port).write()));
            }
        }
        sessions.on_up(id, negotiated);
        self.watch_over(sessions, now, id);
        sessions.hurry(id);
        if self.framed {
            // What came right behind the hello is here already: the socket has no more of it.
            self.on_input(sessions, now, id, &[]);
        }
    }

    fn refuse(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId, _reason: &[u8]) {
        let Some(mut session) = sessions.remove(id) else { return };
        if self.framed {
            let refused = Hello { refused: true, ..Hello::of(&session.config, 0) };
            session.link.push_bytes(Bytes::copy_from_slice(&refused.write()));
            // An error: the peer has gone. It has sent nothing but its hello, so that closing is no reset.
            let _ = session.link.write();
        } else if let Some(stream) = &session.link.stream {
            socket::reset_on_close(stream);
        }
    }

    fn send(
        &mut self,
        sessions: &mut Sessions<Self>,
        _now: Time,
        id: AssocId,
        options: SendOptions,
        payload: Bytes,
    ) -> Result<(), Rejected> {
        let reject = |error, payload| Err(Rejected { error, payload });
        let Some(session) = sessions.get_mut(id) else { return reject(SendError::Closed, payload) };
        if session.state == State::CookieWait {
            return reject(SendError::NotConnected, payload);
        }
        if options.lifetime.is_some() {
            return reject(SendError::Unsupported(Capability::Lifetime), payload);
        }
        if options.path.is_some() {
            return reject(SendError::Unsupported(Capability::MessagePath), payload);
        }
        let count = session.negotiated.outbound_streams;
        if self.framed {
            if options.stream.0 >= count {
                return reject(SendError::BadStream { stream: options.stream, count }, payload);
            }
            let (len, limit) = (payload.len(), session.link.peer_takes);
            if len > limit {
                // It would end the association.
                return reject(SendError::TooLarge { len, limit }, payload);
            }
        } else {
            let wanted = [
                (options.stream.0 != 0, Capability::Streams),
                (options.ppid.0 != 0, Capability::Ppid),
                (options.unordered, Capability::Unordered),
            ];
            if let Some((_, missing)) = wanted.into_iter().find(|(wanted, _)| *wanted) {
                return reject(SendError::Unsupported(missing), payload);
            }
        }
        if !session.link.has_room(payload.len(), session.config.send_buffer) {
            return reject(SendError::Full, payload);
        }
        session.link.push_message(options, payload);
        sessions.hurry(id);
        Ok(())
    }

    fn shutdown(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId) {
        if let Some(session) = sessions.get_mut(id) {
            session.state = if session.link.peer_done { State::ShutdownReceived } else { State::ShutdownPending };
        }
        // What was taken is written first.
        sessions.hurry(id);
    }

    fn abort(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, reason: &[u8]) {
        // What has arrived can still be read.
        self.read(sessions, now, id);
        let Some(session) = sessions.get_mut(id).filter(|session| session.state != State::Closed) else { return };
        let link = &mut session.link;
        link.look_after();
        if self.framed && link.phase == Phase::Open {
            let skipped = link.skip_queue();
            link.push_frame(Frame::Abort, Bytes::copy_from_slice(&reason[..reason.len().min(1 << 15)]));
            let told = matches!(link.write(), Ok(true));
            skipped.into_iter().for_each(|(options, payload)| link.push_message(options, payload));
            if !told && let Some(stream) = &link.stream {
                socket::reset_on_close(stream);
            }
        } else if let Some(stream) = &link.stream {
            socket::reset_on_close(stream);
        }
    }

    fn undelivered(&mut self, link: &mut Link) -> Vec<Undelivered> {
        let back = link.take_undelivered();
        link.stream = None;
        back
    }

    fn describe(&self, session: &Session<Link>, stats: &mut AssociationStats) {
        stats.queued = session.link.queued_bytes();
        stats.send_buffered = stats.queued;
        if let (Some(stream), Some(path)) = (&session.link.stream, stats.paths.first_mut()) {
            path.primary = true;
            socket::describe(stream, path);
        }
    }

    fn local_addresses(&self, session: &Session<Link>) -> Vec<Address> {
        let local = session.link.stream.as_ref().and_then(|stream| stream.local_addr().ok());
        local.map(|local| vec![sys::address_of(local)]).unwrap_or_default()
    }

    fn set_primary(&mut self, _: &mut Session<Link>, _: PathId) -> Result<(), PathError> {
        Err(PathError::Unsupported(Capability::PrimaryPath))
    }

    fn set_path_parameters(&mut self, _: &mut Session<Link>, _: PathId, _: PathParameters) -> Result<(), PathError> {
        Err(PathError::Unsupported(Capability::PathParameters))
    }

    fn request_heartbeat(&mut self, _: &mut Session<Link>, _: PathId) -> Result<(), PathError> {
        Err(PathError::Unsupported(Capability::RequestHeartbeat))
    }
}

/// Has the timer run out at `at`, or earlier.
fn arm(sessions: &mut Sessions<Tcp>, id: AssocId, at: Time) {
    let Some(session) = sessions.get_mut(id) else { return };
    session.link.deadline = Some(session.link.deadline.map_or(at, |known| known.min(at)));
    let armed = session.link.armed;
    if armed.is_none_or(|armed| at < armed) {
        session.link.armed = Some(at);
        sessions.set_timer(at, id);
        if let Some(later) = armed {
            sessions.clear_timer(later, id);
        }
    }
}

impl Tcp {
    /// Writes what there is, and what follows when nothing is left: the end of our half.
    fn write(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id).filter(|session| session.state != State::Closed) else { return };
        let half = session.config.send_buffer / 2;
        let written = session.link.write();
        let has_room = session.link.queued_cost() <= half;
        match written {
            Err(error) => return self.on_broken(sessions, now, id, &error),
            Ok(true) => self.on_all_written(sessions, now, id),
            Ok(false) => {}
        }
        if has_room {
            sessions.on_room(id);
        }
    }

    fn on_all_written(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        if session.link.look_after() {
            arm(sessions, id, now + LOOK_AFTER);
        }
        let Some(session) = sessions.get_mut(id) else { return };
        let link = &mut session.link;
        let ends = matches!(session.state, State::ShutdownPending | State::ShutdownReceived) && !link.said_shutdown;
        if !ends {
            return;
        }
        link.said_shutdown = true;
        session.state = if link.peer_done { State::ShutdownAckSent } else { State::ShutdownSent };
        let guard = now + session.config.rto_max * GUARD_FACTOR;
        link.guard = Some(guard);
        let peer_done = link.peer_done;
        if self.framed {
            link.push_frame(if peer_done { Frame::ShutdownAck } else { Frame::Shutdown }, Bytes::new());
        } else if let Some(stream) = &link.stream {
            // An error: the peer has gone, which reading tells.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        arm(sessions, id, guard);
        if self.framed {
            self.write(sessions, now, id);
        } else if peer_done {
            self.close(sessions, id, CloseReason::Shutdown);
        }
    }

    /// The connection failed.
    fn on_broken(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId, error: &std::io::Error) {
        // What has arrived before is still there to be read, and may say why.
        self.read(sessions, now, id);
        let reason = match error.kind() {
            std::io::ErrorKind::TimedOut => CloseReason::TimedOut,
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => CloseReason::TimedOut,
            _ => CloseReason::PeerAbort { cause: None, info: Bytes::new() },
        };
        self.close(sessions, id, reason);
    }

    /// The association has ended.
    fn close(&mut self, sessions: &mut Sessions<Self>, id: AssocId, reason: CloseReason) {
        let Some(session) = sessions.get_mut(id) else { return };
        if reason == CloseReason::Shutdown && self.framed {
            session.link.on_confirmed();
        }
        let undelivered = session.link.take_undelivered();
        session.link.stream = None;
        session.link.input = Vec::new();
        if let Some(at) = session.link.armed.take() {
            sessions.clear_timer(at, id);
        }
        sessions.on_closed(id, reason, undelivered);
    }

    /// Begins to look whether the peer is still there.
    fn watch_over(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        session.link.deadline = None;
        if let (Some(stream), Some(interval)) = (&session.link.stream, session.config.heartbeat_interval) {
            socket::keep_alive(stream, &session.config);
            arm(sessions, id, now + interval.max(socket::SHORTEST_KEEPALIVE));
        }
    }

    fn on_deadline(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id).filter(|session| session.state != State::Closed) else { return };
        session.link.deadline = None;
        match &session.link.phase {
            Phase::Connecting { .. } => self.on_attempt_failed(sessions, now, id, std::io::ErrorKind::TimedOut),
            // It said nothing in time.
            Phase::Greeting if session.undecided => drop(sessions.remove(id)),
            Phase::Greeting => self.close(sessions, id, CloseReason::TimedOut),
            Phase::Offered => {}
            Phase::Open => {
                let silent = session.link.stream.as_ref().and_then(socket::silent_for);
                let is_silent = silent.is_some_and(|silent| silent > socket::patience(&session.config));
                let guard = session.link.guard;
                if is_silent || guard.is_some_and(|guard| guard <= now) {
                    if let Some(stream) = &session.link.stream {
                        socket::reset_on_close(stream);
                    }
                    return self.close(sessions, id, CloseReason::TimedOut);
                }
                let left = session.link.look_after();
                let interval = session.config.heartbeat_interval.map(|every| every.max(socket::SHORTEST_KEEPALIVE));
                let next = if left { Some(LOOK_AFTER) } else { interval };
                for at in [next.map(|next| now + next), guard].into_iter().flatten() {
                    arm(sessions, id, at);
                }
            }
        }
    }

    /// The peer sends no more.
    fn on_peer_done(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        if std::mem::replace(&mut session.link.peer_done, true) {
            return;
        }
        match session.state {
            State::Established => {
                session.state = State::ShutdownReceived;
                sessions.on_event(id, Event::ShutdownReceived);
            }
            State::ShutdownPending => session.state = State::ShutdownReceived,
            // Both at once: what is left to say is that all was received.
            State::ShutdownSent if self.framed => {
                session.state = State::ShutdownAckSent;
                session.link.push_frame(Frame::ShutdownAck, Bytes::new());
                return self.write(sessions, now, id);
            }
            _ => {}
        }
        sessions.hurry(id);
    }
}
