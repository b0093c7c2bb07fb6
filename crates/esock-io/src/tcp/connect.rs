//! Connecting: one of the peer's addresses after the other.

use super::frame::Hello;
use super::link::{Link, Phase};
use super::{GREETING, Tcp, arm, socket};
use crate::session::{Sessions, Source};
use crate::sys;
use bytes::Bytes;
use esock_proto::{Address, AssocId, CloseReason, Config, EndpointId, Negotiated, Peer, Time};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// The longest that one address is given.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(20);

/// How long one address is given: as long as a few INITs would be.
fn attempt_time(config: &Config) -> Duration {
    (config.rto_initial * 4).clamp(Duration::from_secs(1), LONGEST_ATTEMPT)
}

/// Which of our addresses a connection leaves from; none where there is none of this family.
fn source(local: &[Address], remote: Address) -> Option<Address> {
    let mut own = local.iter().copied().filter(|own| own.is_ipv4() == remote.is_ipv4());
    let first = own.next()?;
    if own.next().is_none() {
        return Some(first);
    }
    choose(local, remote, crate::route(None, remote).and_then(|route| route.source))
}

/// The address that the host's route leaves from, if it is ours: from any other, the network of the peer may get no answer
/// back. Else one of the same scope, since what is link-local leads nowhere else.
fn choose(local: &[Address], remote: Address, routed: Option<Address>) -> Option<Address> {
    let own = || local.iter().copied().filter(|own| own.is_ipv4() == remote.is_ipv4());
    let routed = routed.filter(|routed| own().any(|own| own == *routed));
    routed.or_else(|| own().find(|own| own.scope() == remote.scope())).or_else(|| own().next())
}

/// Begins to connect, from one of our addresses if there are any of this family.
fn start(local: &[Address], remote: Address, port: u16, config: &Config) -> io::Result<TcpStream> {
    let to = sys::socket_addr(remote, port);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if let Some(local) = source(local, remote) {
        socket.bind(&sys::socket_addr(local, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into());
    socket::prepare(&stream, config);
    Ok(stream)
}

impl Tcp {
    /// Begins with the first address.
    pub(super) fn begin(
        &mut self,
        sessions: &mut Sessions<Self>,
        _now: Time,
        (id, endpoint): (AssocId, EndpointId),
        peer: &Peer,
        config: &Config,
    ) -> Link {
        let mut rest: VecDeque<Address> = peer.addresses.iter().copied().collect();
        let remote = rest.pop_front();
        let local = sessions.endpoints.get(&endpoint).map(|entry| &entry.addresses[..]).unwrap_or_default();
        let started = match remote {
            Some(remote) => start(local, remote, peer.port, config),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        let watched = started.and_then(|mut stream| {
            sessions.watch(&mut stream, Source::Session(id))?;
            Ok(stream)
        });
        let (stream, failed) = match watched {
            Ok(stream) => (Some(stream), None),
            Err(error) => (None, Some(error.kind())),
        };
        Link::new(stream, Phase::Connecting { rest, failed }, remote, self.framed)
    }

    /// Something has become of the attempt, or it is to be looked at for the first time.
    pub(super) fn on_connecting(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        let until = now + attempt_time(&session.config);
        let Some(stream) = &session.link.stream else {
            let Phase::Connecting { failed, .. } = &session.link.phase else { return };
            let error = failed.unwrap_or(io::ErrorKind::ConnectionRefused);
            return self.on_attempt_failed(sessions, now, id, error);
        };
        if let Some(error) = stream.take_error().unwrap_or_else(Some) {
            return self.on_attempt_failed(sessions, now, id, error.kind());
        }
        match stream.peer_addr() {
            // Where nobody listens, the port that the system chose for us may be the one that is called: TCP then
            // connects it to itself.
            Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => {
                self.on_attempt_failed(sessions, now, id, io::ErrorKind::ConnectionRefused);
            }
            Ok(_) => self.on_connected(sessions, now, id),
            Err(_) if session.link.deadline.is_none() => arm(sessions, id, until),
            Err(_) => {}
        }
    }

    fn on_connected(&mut self, sessions: &mut Sessions<Self>, now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        let (endpoint, remote) = (session.endpoint, session.link.remote);
        session.link.deadline = None;
        session.link.unread = true;
        if let Some(remote) = remote {
            // Of all addresses that were tried one is the path.
            sessions.relist(id, vec![remote], None);
        }
        if !self.framed {
            if let Some(session) = sessions.get_mut(id) {
                session.link.phase = Phase::Open;
            }
            sessions.on_up(id, Negotiated::streams(1, 1));
            self.watch_over(sessions, now, id);
            return sessions.hurry(id);
        }
        let port = sessions.endpoints.get(&endpoint).map_or(0, |entry| entry.port);
        let Some(session) = sessions.get_mut(id) else { return };
        session.link.phase = Phase::Greeting;
        session.link.push_bytes(Bytes::copy_from_slice(&Hello::of(&session.config, port).write()));
        // The peer answers when its user has accepted: that may take as long as an association may.
        let retries = session.config.max_init_retransmits.min(16);
        let waits = (0..=retries).map(|retry| (session.config.rto_initial * (1 << retry)).min(session.config.rto_max));
        let patience = waits.sum::<Duration>().max(GREETING);
        arm(sessions, id, now + patience);
        sessions.hurry(id);
    }

    /// The address did not answer: the next is tried, if there is one.
    pub(super) fn on_attempt_failed(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        id: AssocId,
        error: io::ErrorKind,
    ) {
        let Some(session) = sessions.get_mut(id) else { return };
        session.link.stream = None;
        session.link.deadline = None;
        let (endpoint, port) = (session.endpoint, session.peer_port);
        let Phase::Connecting { rest, .. } = &mut session.link.phase else { return };
        let Some(next) = rest.pop_front() else {
            let reason = match error {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                    CloseReason::Refused { cause: None, info: Bytes::new() }
                }
                io::ErrorKind::TimedOut => CloseReason::TimedOut,
                _ => CloseReason::Unreachable,
            };
            return self.close(sessions, id, reason);
        };
        session.link.remote = Some(next);
        let config = session.config.clone();
        let local = sessions.endpoints.get(&endpoint).map(|entry| &entry.addresses[..]).unwrap_or_default();
        let started = start(local, next, port, &config).and_then(|mut stream| {
            sessions.watch(&mut stream, Source::Session(id))?;
            Ok(stream)
        });
        let Some(session) = sessions.get_mut(id) else { return };
        if let Phase::Connecting { failed, .. } = &mut session.link.phase {
            *failed = started.as_ref().err().map(io::Error::kind);
        }
        session.link.stream = started.ok();
        arm(sessions, id, now + attempt_time(&config));
        sessions.hurry(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, scope_id: u32) -> Address {
        Address::new(text.parse().unwrap(), scope_id)
    }

    #[test]
    fn a_connection_leaves_from_where_the_route_says_or_from_an_address_of_the_peers_scope() {
        let own = [at("10.0.1.1", 0), at("192.168.1.1", 0), at("fe80::1", 2), at("2001:db8::1", 0)];
        let (v4, global, link) = (at("192.168.1.9", 0), at("2001:db8::9", 0), at("fe80::9", 2));
        assert_eq!(choose(&own, v4, Some(own[1])), Some(own[1]));
        assert_eq!(choose(&own, v4, None), Some(own[0]), "the first");
        assert_eq!(choose(&own, v4, Some(at("192.168.1.2", 0))), Some(own[0]), "not one of ours");
        assert_eq!(choose(&own, global, None), Some(own[3]));
        assert_eq!(choose(&own, link, None), Some(own[2]));
        assert_eq!(choose(&own[..3], global, None), Some(own[2]), "there is no other");
        assert_eq!(source(&own[..2], global), None);
    }
}
