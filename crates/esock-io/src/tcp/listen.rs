//! Endpoints, and the connections that come to them.

use super::link::{Link, Phase};
use super::{GREETING, Tcp, arm, socket};
use crate::error::EndpointError;
use crate::session::{Opened, Sessions, Source};
use crate::sys;
use esock_proto::{Address, EndpointConfig, EndpointId, Negotiated, Time};
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Connections that the system keeps for us, before they are taken.
const BACKLOG: i32 = 1024;

/// Connections that are taken from a socket in a row.
const ACCEPTS: usize = 256;

/// How soon connections are looked at again that could not be taken: too many wait for a decision, or the system is
/// out of descriptors.
const CROWDED: Duration = Duration::from_millis(100);

/// How often a port that is free on one address and taken on another is given up for another.
const PORT_ATTEMPTS: usize = 32;

/// The sockets of an endpoint: one an address.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<TcpListener>);

fn listen(address: Address, port: u16) -> io::Result<TcpListener> {
    let at = sys::socket_addr(address, port);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if at.is_ipv6() {
        // The wildcard takes IPv4 as well; any other address is itself.
        socket.set_only_v6(!address.is_unspecified())?;
    }
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Listens at all addresses of an endpoint: the port is claimed with that. Nobody is taken yet.
pub(super) fn open(
    sessions: &Sessions<Tcp>,
    id: EndpointId,
    config: &EndpointConfig,
) -> Result<Opened<Listeners>, EndpointError> {
    let mut opened = open_at(&config.addresses, config.port);
    for _ in 1..PORT_ATTEMPTS {
        match &opened {
            // The system chose a port that is free at the first address and taken at another.
            Err(EndpointError::Bind { error, .. }) if config.port == 0 && error.kind() == io::ErrorKind::AddrInUse => {
                opened = open_at(&config.addresses, 0);
            }
            _ => break,
        }
    }
    let (mut listeners, port) = opened?;
    for (number, listener) in listeners.iter_mut().enumerate() {
        let watched = sessions.watch(listener, Source::Endpoint(id, number as u16));
        watched.map_err(|error| EndpointError::Socket { doing: "watching a socket", error })?;
    }
    Ok(Opened { sockets: Listeners(listeners), port })
}

fn open_at(addresses: &[Address], mut port: u16) -> Result<(Vec<TcpListener>, u16), EndpointError> {
    let failed = |address, port| move |error| EndpointError::Bind { address, port, error };
    let port_of = |listener: &TcpListener| {
        let local = listener.local_addr().map(|local| local.port());
        local.map_err(|error| EndpointError::Socket { doing: "asking for the port", error })
    };
    if addresses.is_empty() {
        let listener = match listen(Ipv6Addr::UNSPECIFIED.into(), port) {
            Ok(listener) => listener,
            // A host without IPv6, or a port that is taken, which this says.
            Err(_) => listen(Ipv4Addr::UNSPECIFIED.into(), port).map_err(failed(None, port))?,
        };
        let port = port_of(&listener)?;
        return Ok((vec![listener], port));
    }
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match listen(*address, port) {
            Ok(listener) => listener,
            // A loopback address that this host does not have: it is one of our own defaults.
            Err(error) if is_missing_loopback(*address, &error) && addresses.len() > 1 => continue,
            Err(error) => return Err(failed(Some(*address), port)(error)),
        };
        port = port_of(&listener)?;
        listeners.push(listener);
    }
    match listeners.is_empty() {
        false => Ok((listeners, port)),
        true => Err(failed(addresses.first().copied(), port)(io::ErrorKind::AddrNotAvailable.into())),
    }
}

fn is_missing_loopback(address: Address, error: &io::Error) -> bool {
    let missing = matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT));
    missing && address == Ipv6Addr::LOCALHOST.into()
}

impl Tcp {
    /// Takes the connections that have come, if the endpoint accepts. Those that have to wait are looked for again: of
    /// them no edge will tell.
    pub(super) fn accept_all(&mut self, sessions: &mut Sessions<Self>, now: Time, endpoint: EndpointId) {
        let mut number = 0;
        for _ in 0..ACCEPTS {
            let room = sessions.has_room_for_undecided();
            let Some(entry) = sessions.endpoints.get_mut(&endpoint).filter(|entry| entry.accepting) else { return };
            let Some(listener) = entry.sockets.0.get_mut(number) else { return };
            if !room {
                return self.look_again(endpoint, now + CROWDED);
            }
            match listener.accept() {
                Ok((stream, from)) => {
                    let config = entry.config.clone();
                    self.take(sessions, now, (endpoint, config), stream, from);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => number += 1,
                // Gone before it was taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // No descriptors are left, or the like.
                    self.look_again(endpoint, now + CROWDED);
                    number += 1;
                }
            }
        }
        // Others have their turn first.
        self.look_again(endpoint, now);
    }

    fn look_again(&mut self, endpoint: EndpointId, at: Time) {
        if !self.waiting.contains(&endpoint) {
            self.waiting.push(endpoint);
        }
        self.look_again = Some(self.look_again.map_or(at, |known| known.min(at)));
    }

    fn take(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        (endpoint, config): (EndpointId, esock_proto::Config),
        mut stream: TcpStream,
        from: SocketAddr,
    ) {
        socket::prepare(&stream, &config);
        let remote = sys::address_of(from);
        let source = Source::Session(sessions.next_id());
        if sessions.watch(&mut stream, source).is_err() {
            return;
        }
        let phase = if self.framed { Phase::Greeting } else { Phase::Offered };
        let link = Link::new(Some(stream), phase, Some(remote), self.framed);
        let id = sessions.insert(endpoint, link, config, (vec![remote], from.port()), true);
        if self.framed {
            arm(sessions, id, now + GREETING);
            self.read(sessions, now, id);
        } else {
            sessions.offer(id, Negotiated::streams(1, 1), None);
        }
    }
}
