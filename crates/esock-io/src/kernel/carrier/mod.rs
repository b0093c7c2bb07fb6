//! The backend `kernel`: associations of the kernel's SCTP behind the [`Carrier`] seam.
//!
//! An endpoint is a one-to-many socket. Connections are begun there, and those of peers come up there; as soon as one
//! is up it is peeled off into a socket of its own. While nobody accepts, a filter on the endpoint's socket drops
//! INITs, so that a peer hears nothing and tries again. Where somebody accepts, the kernel answers before the owners
//! are asked: a peer that they refuse is up for a moment before it is aborted.

mod link;
mod receive;
mod settings;

use super::{AssocId as KernelId, Family, SctpSocket, SendInfo};
use crate::error::{DriverError, EndpointError};
use crate::pages::Pages;
use crate::session::{Carrier, Opened, READS_PER_TURN, Session, Sessions, Source, path_of};
use bytes::Bytes;
use esock_proto::{
    Address, AssocId, AssociationStats, Capabilities, Capability, CloseReason, Config, ConnectError, Encapsulation,
    EndpointConfig, EndpointId, Event, PathError, PathId, PathParameters, Peer, Rejected, SendError, SendOptions,
    State, Time, Undelivered,
};
use link::Link;
use mio::unix::SourceFd;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

/// What is received at once: more than a packet holds.
const BUFFER_BYTES: usize = 128 << 10;

/// Notifications that are read from an endpoint's socket in a row.
const ENDPOINT_READS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Kernel {
    buffer: Pages,
}

/// The sockets of an endpoint: one.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: SctpSocket,
    /// Connections that are not up yet.
    connecting: HashMap<KernelId, AssocId>,
    /// Associations that had ended before they could have a socket of their own: what they brought is read here.
    ended: HashMap<KernelId, AssocId>,
}

impl Kernel {
    /// The kernel's SCTP, if it has one: asking for it may load its module.
    pub(crate) fn new() -> Result<Self, DriverError> {
        match SctpSocket::open(Family::V4) {
            Ok(_) => Ok(Self { buffer: Pages::new(BUFFER_BYTES) }),
            Err(error) => Err(DriverError::KernelMissing(error)),
        }
    }

    /// Opens and binds a socket: the wildcard of both families where no address is given.
    fn bind(addresses: &[Address], port: u16) -> Result<SctpSocket, EndpointError> {
        let open = |family| SctpSocket::open(family).map_err(|error| EndpointError::Kernel { error });
        let bind = |socket: &SctpSocket, addresses: &[Address]| {
            let address = addresses.first().copied();
            socket.bind(addresses, port).map_err(|error| EndpointError::Bind { address, port, error })
        };
        if !addresses.is_empty() {
            let socket = open(Family::of(addresses))?;
            bind(&socket, addresses)?;
            return Ok(socket);
        }
        if let Ok(socket) = open(Family::V6)
            && bind(&socket, &[Ipv6Addr::UNSPECIFIED.into()]).is_ok()
        {
            return Ok(socket);
        }
        // A host without IPv6, or a port that is taken, which this says.
        let socket = open(Family::V4)?;
        bind(&socket, &[Ipv4Addr::UNSPECIFIED.into()])?;
        Ok(socket)
    }
}

/// What the API cannot be promised here.
fn capabilities() -> Capabilities {
    let cannot = [
        Capability::StatelessAccept,
        Capability::Impairment,
        Capability::CongestionControl,
        Capability::Lifetime,
        // Linux does not look at the address on a socket that was peeled off.
        Capability::MessagePath,
    ];
    cannot.into_iter().fold(Capabilities::all(), Capabilities::without)
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> ConnectError {
    move |error| ConnectError::System { doing, problem: error.to_string() }
}

/// Begins an association with parameters of its own: what is set is for the associations to come, of which this one is
/// the next.
fn start(socket: &SctpSocket, peer: &Peer, config: &Config) -> Result<KernelId, ConnectError> {
    settings::apply(socket, config).map_err(system("setting the parameters"))?;
    let udp_port = match peer.encapsulation {
        Encapsulation::Udp(port) => port,
        _ => 0,
    };
    match socket.set_encap_port(KernelId::FUTURE, None, udp_port) {
        Err(_) if udp_port != 0 => return Err(ConnectError::Unsupported(Capability::Encapsulation)),
        // An older kernel: packets are native anyway.
        _ => {}
    }
    socket.connect(&peer.addresses, peer.port).map_err(|error| match error.raw_os_error() {
        Some(libc::EISCONN | libc::EALREADY) => ConnectError::Exists,
        _ => system("connecting")(error),
    })
}

impl Carrier for Kernel {
    type Endpoint = Socket;
    type Link = Link;

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn open(
        &mut self,
        sessions: &Sessions<Self>,
        id: EndpointId,
        config: &EndpointConfig,
    ) -> Result<Opened<Socket>, EndpointError> {
        let socket = Self::bind(&config.addresses, config.port)?;
        let failed = |doing| move |error| EndpointError::Socket { doing, error };
        settings::prepare(&socket).map_err(failed("asking for notifications"))?;
        settings::apply(&socket, &config.config).map_err(failed("setting the parameters"))?;
        let bound = socket.local_addresses(KernelId::FUTURE).map_err(failed("asking for the port"))?;
        let port = bound.first().map_or(config.port, |(_, port)| *port);
        // The port is ours from now on; nobody is answered before somebody accepts.
        socket.drop_inits(true).map_err(failed("filtering INITs"))?;
        socket.listen(true).map_err(failed("listening"))?;
        sessions
            .watch(&mut SourceFd(&socket.as_raw_fd()), Source::Endpoint(id, 0))
            .map_err(failed("watching the socket"))?;
        Ok(Opened { sockets: Socket { socket, connecting: HashMap::new(), ended: HashMap::new() }, port })
    }

    fn set_accepting(&mut self, sessions: &mut Sessions<Self>, endpoint: EndpointId, accepting: bool) {
        if let Some(entry) = sessions.endpoints.get(&endpoint) {
            // An error: the filter stays as it is.
            let _ = entry.sockets.socket.drop_inits(!accepting);
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
        let entry = sessions.endpoints.get_mut(&endpoint).ok_or(ConnectError::NoEndpoint)?;
        let socket = &entry.sockets.socket;
        let started = start(socket, peer, config);
        // A peer that connects to us is answered with the endpoint's own parameters, whatever has become of this. They
        // were taken when it was opened: what is refused now stays as it is, and the association goes on all the same.
        let _ = settings::apply(socket, &entry.config);
        let kernel = started?;
        entry.sockets.connecting.insert(kernel, id);
        Ok(Link::connecting(kernel, now))
    }

    fn on_ready(&mut self, sessions: &mut Sessions<Self>, now: Time, source: Source, readable: bool, writable: bool) {
        match source {
            Source::Endpoint(endpoint, _) if readable => self.read_endpoint(sessions, now, endpoint),
            Source::Endpoint(..) => {}
            Source::Session(id) => {
                if readable {
                    self.read(sessions, id);
                }
                if writable {
                    sessions.on_room(id);
                }
            }
        }
    }

    fn on_hurry(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId) {
        self.read(sessions, id);
    }

    fn on_timer(&mut self, _sessions: &mut Sessions<Self>, _now: Time, _id: AssocId) {}

    fn accept(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId) {
        let Some(session) = sessions.get(id) else { return };
        let (negotiated, waiting) = (session.negotiated, session.mailbox.len() > 0);
        sessions.on_up(id, negotiated);
        if waiting {
            sessions.on_event(id, Event::Readable);
        }
        sessions.hurry(id);
    }

    fn refuse(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId, reason: &[u8]) {
        if let Some(session) = sessions.remove(id) {
            session.link.abort(reason);
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
        let Some(session) = sessions.get_mut(id) else {
            return Err(Rejected { error: SendError::Closed, payload });
        };
        if options.lifetime.is_some() {
            return Err(Rejected { error: SendError::Unsupported(Capability::Lifetime), payload });
        }
        if options.path.is_some() {
            return Err(Rejected { error: SendError::Unsupported(Capability::MessagePath), payload });
        }
        let count = session.negotiated.outbound_streams;
        let Some(socket) = &session.link.socket else {
            return Err(Rejected { error: SendError::NotConnected, payload });
        };
        if options.stream.0 >= count {
            return Err(Rejected { error: SendError::BadStream { stream: options.stream, count }, payload });
        }
        let info = SendInfo {
            stream: options.stream.0,
            ppid: options.ppid.0,
            unordered: options.unordered,
            sack_immediately: options.sack_immediately,
            context: session.link.next_context(),
            ..SendInfo::new(session.link.kernel)
        };
        match socket.send(&payload, &info, None) {
            Ok(_) => {
                session.link.retain(info.context, options, payload, session.config.send_buffer);
                Ok(())
            }
            Err(error) => {
                let error = match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => SendError::Full,
                    Some(libc::EMSGSIZE) => {
                        SendError::TooLarge { len: payload.len(), limit: session.config.send_buffer }
                    }
                    Some(libc::EINVAL) => SendError::BadStream { stream: options.stream, count },
                    // Its end is told by a notification that nobody has read yet.
                    _ => SendError::Closed,
                };
                Err(Rejected { error, payload })
            }
        }
    }

    fn shutdown(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId) {
        let Some(session) = sessions.get_mut(id) else { return };
        session.state = State::ShutdownPending;
        if let Some(socket) = &session.link.socket {
            // EPIPE: it has ended already, which a notification tells.
            let _ = socket.shutdown(session.link.kernel);
        }
        sessions.hurry(id);
    }

    fn abort(&mut self, sessions: &mut Sessions<Self>, _now: Time, id: AssocId, reason: &[u8]) {
        let Some(session) = sessions.get_mut(id) else { return };
        let (endpoint, kernel) = (session.endpoint, session.link.kernel);
        session.link.abort(reason);
        if session.link.socket.is_none() {
            if let Some(entry) = sessions.endpoints.get_mut(&endpoint) {
                entry.sockets.connecting.remove(&kernel);
                // It may have ended already.
                let _ = entry.sockets.socket.abort(kernel, reason);
            }
            return;
        }
        // What had arrived can still be read, and what was not sent is told now.
        while !self.drain(sessions, id, READS_PER_TURN) {}
        if let Some(session) = sessions.get_mut(id) {
            // With it goes its hold on the port.
            session.link.socket = None;
        }
    }

    fn undelivered(&mut self, link: &mut Link) -> Vec<Undelivered> {
        link.take_failed()
    }

    fn describe(&self, session: &Session<Link>, stats: &mut AssociationStats) {
        session.link.describe(session, stats);
    }

    fn local_addresses(&self, session: &Session<Link>) -> Vec<Address> {
        let socket = session.link.socket.as_ref();
        let known = socket.and_then(|socket| socket.local_addresses(session.link.kernel).ok());
        known.into_iter().flatten().map(|(address, _)| address).collect()
    }

    fn set_primary(&mut self, session: &mut Session<Link>, path: PathId) -> Result<(), PathError> {
        let address = path_of(session, path)?;
        let socket = session.link.socket.as_ref().ok_or(PathError::NotFound)?;
        socket.set_primary(session.link.kernel, (address, session.peer_port)).map_err(|_| PathError::NotFound)
    }

    fn set_path_parameters(
        &mut self,
        session: &mut Session<Link>,
        path: PathId,
        parameters: PathParameters,
    ) -> Result<(), PathError> {
        let address = path_of(session, path)?;
        let socket = session.link.socket.as_ref().ok_or(PathError::NotFound)?;
        settings::change_path(socket, session.link.kernel, (address, session.peer_port), &session.config, parameters)
            .map_err(|_| PathError::NotFound)
    }

    fn request_heartbeat(&mut self, session: &mut Session<Link>, path: PathId) -> Result<(), PathError> {
        let address = path_of(session, path)?;
        let socket = session.link.socket.as_ref().ok_or(PathError::NotFound)?;
        socket.heartbeat(session.link.kernel, (address, session.peer_port)).map_err(|_| PathError::NotFound)
    }
}

impl Kernel {
    /// Reads what a session has; ends it if that says so.
    fn read(&mut self, sessions: &mut Sessions<Self>, id: AssocId) {
        if !self.drain(sessions, id, READS_PER_TURN) {
            return sessions.hurry(id);
        }
        let Some(session) = sessions.get_mut(id) else { return };
        if session.undecided && session.link.ending == Some(CloseReason::Shutdown) {
            // It came, spoke and went in good order: its user decides, and reads, all the same.
            return;
        }
        let undelivered = session.link.take_failed();
        match session.link.ending.take() {
            Some(reason) => {
                // With it goes its hold on the port.
                session.link.socket = None;
                sessions.on_closed(id, reason, undelivered);
            }
            None => undelivered.into_iter().for_each(|back| sessions.on_event(id, Event::Undelivered(back))),
        }
    }

    /// An association on the endpoint's socket could not be set up.
    fn on_cannot_start(sessions: &mut Sessions<Self>, now: Time, id: AssocId, cause: u16, info: &[u8]) {
        let Some(session) = sessions.get(id) else { return };
        // The kernel does not say whether nobody answered or somebody refused; time does.
        let waited = now.since(session.link.began);
        let reason = if cause == 0 && info.is_empty() && waited >= session.config.rto_initial {
            CloseReason::TimedOut
        } else {
            let (code, info) = receive::first_cause(info);
            CloseReason::Refused { cause: code.or((cause != 0).then_some(cause)), info }
        };
        sessions.on_closed(id, reason, Vec::new());
    }
}
