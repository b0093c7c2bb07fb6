//! Sockets, their names, and where they connect to.

use super::{AssocSettings, Engine, Held, Item, Outcome, Reply, Socket, SocketId, SocketState, Style};
use crate::address::{self, Family, Named};
use crate::errno::Errno;
use crate::notify;
use crate::options::Settings;
use esock_io::kernel::constants as c;
use esock_io::{Backend, ClaimError, EndpointError, host_addresses};
use esock_proto::{
    Address, AssocId, ConnectError, Encapsulation, EndpointConfig, EndpointId, OpenError, Peer, State, Time,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

impl Engine {
    /// `socket`.
    pub(super) fn open(&mut self, id: SocketId, family: i32, kind: i32) -> Outcome {
        let family = match family {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let style = match kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) {
            libc::SOCK_STREAM => Style::OneToOne,
            libc::SOCK_SEQPACKET => Style::OneToMany,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        if self.sockets.contains_key(&id) {
            return Err(Errno::EADDRINUSE);
        }
        let settings = Settings::new(&self.sysctl);
        self.sockets.insert(id, Socket::new(id, family, style, settings));
        self.totals.sockets += 1;
        Ok(Reply::done())
    }

    /// `bind`.
    pub(super) fn bind(&mut self, id: SocketId, name: &[u8]) -> Outcome {
        let socket = self.socket(id)?;
        if socket.port != 0 {
            return Err(Errno::EINVAL);
        }
        let (address, port) = address::parse(socket.family, name)?;
        self.check_local(id, address)?;
        let addresses = if address.is_unspecified() { Vec::new() } else { vec![address] };
        self.bind_to(id, addresses, port)?;
        Ok(Reply::done())
    }

    /// Whether a socket can have an address.
    fn check_local(&self, id: SocketId, address: Address) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        if !socket.takes(address) {
            return Err(Errno::EINVAL);
        }
        let is_ours = address.is_unspecified() || is_loopback(address) || host_addresses().contains(&address);
        if is_ours || socket.settings.binds_elsewhere(address) { Ok(()) } else { Err(Errno::EADDRNOTAVAIL) }
    }

    /// `sctp_bindx`: adds addresses, or takes them away.
    pub(crate) fn bind_many(&mut self, id: SocketId, names: &[u8], add: bool) -> Outcome {
        let socket = self.socket(id)?;
        let named = address::parse_many(socket.family, names)?;
        let bound = socket.port;
        let mut addresses = socket.addresses.clone();
        // The first that is bound says at which port, and whether it is all addresses: nothing goes with those.
        let port = if bound == 0 { named[0].1 } else { bound };
        if add {
            for (at, (address, other)) in named.iter().enumerate() {
                self.check_local(id, *address)?;
                let is_first = bound == 0 && at == 0;
                let has_all = addresses.is_empty() || address.is_unspecified();
                let fits = (*other == 0 || *other == port) && !has_all && !addresses.contains(address);
                if !is_first && !fits {
                    return Err(Errno::EINVAL);
                }
                if !address.is_unspecified() {
                    addresses.push(*address);
                }
            }
        } else {
            let is_other = |port: u16| port != 0 && bound != 0 && port != bound;
            for (address, port) in &named {
                // One at least stays, whatever is named.
                if addresses.len() < 2 {
                    return Err(Errno::EBUSY);
                }
                if address.is_unspecified() {
                    return Err(Errno::EADDRNOTAVAIL);
                }
                let known = addresses.iter().position(|known| known == address && !is_other(*port));
                let at = known.ok_or(Errno::EINVAL)?;
                addresses.remove(at);
            }
        }
        if bound == 0 {
            self.bind_to(id, addresses, port)?;
        } else {
            self.rebind(id, addresses)?;
        }
        Ok(Reply::done())
    }

    /// Gives a bound socket other addresses. Associations that there are keep those that they have.
    fn rebind(&mut self, id: SocketId, addresses: Vec<Address>) -> Result<(), Errno> {
        let endpoint = self.socket(id)?.endpoint.ok_or(Errno::EINVAL)?;
        if self.is_shared(id, endpoint) {
            return Err(Errno::EADDRINUSE);
        }
        self.driver.stack_mut().set_endpoint_addresses(endpoint, &addresses).map_err(|_| Errno::EADDRINUSE)?;
        self.socket_mut(id)?.addresses = addresses;
        Ok(())
    }

    /// Opens the endpoint of a socket, or takes over one whose socket has gone and whose associations have not.
    fn bind_to(&mut self, id: SocketId, addresses: Vec<Address>, port: u16) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        let reuse = socket.settings.reuse;
        let config = self.config_of(socket);
        let mut host = host_addresses();
        host.retain(|address| socket.takes(*address));
        // A socket of IPv4 alone has the host's addresses of IPv4 alone.
        let wanted = EndpointConfig { port, addresses: addresses.clone(), host_addresses: host, config };
        let endpoint = match self.driver.open_endpoint(wanted) {
            Ok(endpoint) => endpoint,
            Err(EndpointError::Open(OpenError::InUse { by, .. })) if reuse && self.is_left(by, &addresses) => by,
            Err(EndpointError::Open(OpenError::InUse { by, .. })) if self.may_share(id, by, &addresses) => by,
            Err(error) => return Err(bind_errno(&error)),
        };
        self.endpoints.entry(endpoint).or_default().owners.push(id);
        let port = self.driver.stack().endpoint_port(endpoint).unwrap_or(port);
        let socket = self.socket_mut(id)?;
        (socket.endpoint, socket.port, socket.addresses) = (Some(endpoint), port, addresses);
        Ok(())
    }

    /// Whether an endpoint has no socket any more, and these addresses.
    fn is_left(&self, endpoint: EndpointId, addresses: &[Address]) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|used| used.owners.is_empty())
            && self.driver.stack().endpoint_addresses(endpoint) == addresses
    }

    /// Binds a socket that nobody has bound.
    pub(super) fn bind_any(&mut self, id: SocketId) -> Result<EndpointId, Errno> {
        if self.socket(id)?.endpoint.is_none() {
            self.bind_to(id, Vec::new(), 0).map_err(|_| Errno::EAGAIN)?;
        }
        self.socket(id)?.endpoint.ok_or(Errno::EAGAIN)
    }

    /// The stack's configuration for a socket's associations to come.
    pub(crate) fn config_of(&self, socket: &Socket) -> esock_proto::Config {
        socket.settings.config()
    }

    /// Tells the stack of settings that have changed, for associations to come in.
    pub(crate) fn apply_settings(&mut self, id: SocketId) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        let config = self.config_of(socket);
        let Some(endpoint) = socket.endpoint else {
            return config.validate().map_err(|_| Errno::EINVAL);
        };
        if socket.state != SocketState::Listening && self.is_shared(id, endpoint) {
            // Those of whoever listens there count for who comes in.
            return config.validate().map_err(|_| Errno::EINVAL);
        }
        self.driver.stack_mut().set_endpoint_config(endpoint, config).map_err(|_| Errno::EINVAL)
    }

    /// `listen`.
    pub(super) fn listen(&mut self, id: SocketId, backlog: i32) -> Outcome {
        let socket = self.socket(id)?;
        // Without a sign, so that -1 is the most (listen(2)).
        let backlog = usize::try_from(backlog).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
        let unconnected = matches!(socket.state, SocketState::Closed | SocketState::Listening);
        if socket.style == Style::PeeledOff || !unconnected || socket.connecting {
            return Err(Errno::EINVAL);
        }
        if backlog == 0 && socket.state == SocketState::Closed {
            return Err(Errno::EINVAL);
        }
        let endpoint = self.bind_any(id)?;
        if backlog > 0 && !self.may_listen(id, endpoint) {
            return Err(Errno::EADDRINUSE);
        }
        let socket = self.socket_mut(id)?;
        socket.backlog = backlog;
        socket.state = if backlog > 0 { SocketState::Listening } else { SocketState::Closed };
        self.follow_listeners(endpoint);
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    /// `connect`.
    pub(super) fn connect(&mut self, now: Time, id: SocketId, name: &[u8]) -> Outcome {
        if address::is_unspecified_family(name) {
            // There is nothing to dissolve.
            return Err(Errno::EOPNOTSUPP);
        }
        // Whoever has a peer is told so if this is an address at all, whether of the socket's family or not.
        address::parse(Family::V6, name)?;
        self.check_unconnected(id)?;
        let named = address::parse(self.socket(id)?.family, name)?;
        match self.begin(now, id, &[named], None) {
            Err(NOWHERE) => {}
            begun => drop(begun?),
        }
        Ok(self.wait_for_connect(id))
    }

    /// `sctp_connectx`.
    pub(super) fn connect_many(&mut self, now: Time, id: SocketId, names: &[u8]) -> Outcome {
        let named = address::parse_many(self.socket(id)?.family, names)?;
        if named.iter().any(|(_, port)| *port != named[0].1) {
            return Err(Errno::EINVAL);
        }
        let number = match self.begin(now, id, &named, None) {
            Err(NOWHERE) => 0,
            begun => self.associations.get_mut(&begun?).map_or(0, |held| {
                held.known = true;
                held.number
            }),
        };
        let mut reply = self.wait_for_connect(id);
        reply.data = number.to_ne_bytes().to_vec().into();
        Ok(reply)
    }

    fn wait_for_connect(&self, id: SocketId) -> Reply {
        let timeout = self.sockets.get(&id).and_then(|socket| socket.settings.send_timeout);
        Reply::wait(Errno::EINPROGRESS, timeout)
    }

    /// Starts an association.
    pub(super) fn begin(
        &mut self,
        now: Time,
        id: SocketId,
        peers: &[Named],
        init: Option<&dyn Fn(&mut esock_proto::Config)>,
    ) -> Result<AssocId, Errno> {
        self.check_unconnected(id)?;
        for (address, _) in peers {
            self.check_peer(id, *address)?;
        }
        let socket = self.socket(id)?;
        let one_to_one = socket.has_one();
        if peers.iter().any(|(address, _)| !address.is_usable_peer()) {
            return Err(Errno::EINVAL);
        }
        if one_to_one && socket.connecting {
            return Err(Errno::EALREADY);
        }
        let mut config = self.config_of(socket);
        if let Some(init) = init {
            init(&mut config);
        }
        let endpoint = self.bind_any(id)?;
        self.check_way_out(id, peers[0].0)?;
        if peers[0].1 == 0 {
            return Err(self.refuse_nowhere(id, peers[0]));
        }
        if let Some(known) = self.driver.stack().find(endpoint, peers[0].0, peers[0].1) {
            if self.held(known).is_none_or(|held| held.socket != Some(id)) {
                // It was peeled off (RFC 6458 §9.2), or its socket is closed and it has not ended yet.
                return Err(Errno::EADDRNOTAVAIL);
            }
            let early = matches!(self.driver.stack().state(known), Some(State::CookieWait | State::CookieEchoed));
            return Err(if early { Errno::EALREADY } else { Errno::EISCONN });
        }
        let addresses: Vec<Address> = peers.iter().map(|(address, _)| *address).collect();
        let encapsulation = self.encapsulation_to(id, peers)?;
        let peer = Peer { addresses, port: peers[0].1, encapsulation };
        let assoc = self
            .driver
            .stack_mut()
            .connect(now, endpoint, &peer, Some(config.clone()))
            .map_err(|error| connect_errno(&error))?;
        self.hold(now, assoc, id, endpoint, peers[0], config)?;
        let socket = self.socket_mut(id)?;
        if one_to_one {
            socket.connecting = true;
            socket.error = None;
            socket.ended = None;
            socket.peer = Some(peers[0]);
        } else {
            (socket.begun, socket.ended) = (Some(assoc), None);
        }
        Ok(assoc)
    }

    /// Port 0 is nobody's: whoever connects there is refused, not at once but as by a peer.
    fn refuse_nowhere(&mut self, id: SocketId, peer: Named) -> Errno {
        let Ok(socket) = self.socket_mut(id) else { return Errno::EBADF };
        (socket.ended, socket.news) = (Some(NOWHERE), true);
        if socket.has_one() {
            socket.error = Some(NOWHERE);
        }
        if socket.settings.association.events & notify::bit(c::SCTP_ASSOC_CHANGE) != 0 && !socket.is_flooded() {
            let bytes = notify::assoc_change(0, c::SCTP_CANT_STR_ASSOC, 0, (0, 0), &[]).into();
            socket.tell(Item::Notification { association: 0, told: 0, from: peer, bytes, read: 0 }, false);
        }
        NOWHERE
    }

    /// Whether a socket can have another association.
    fn check_unconnected(&self, id: SocketId) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        match socket.state {
            SocketState::Established | SocketState::Closing => Err(Errno::EISCONN),
            SocketState::Listening if socket.style == Style::OneToOne => Err(Errno::EISCONN),
            _ => Ok(()),
        }
    }

    /// Whether a socket can have a peer at an address.
    pub(super) fn check_peer(&self, id: SocketId, peer: Address) -> Result<(), Errno> {
        let can = self.socket(id)?.takes(peer) && address::may_name_peer(peer);
        if can { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// Whether a socket has an address that a peer could answer to: to another host, one of loopback is none.
    fn check_way_out(&self, id: SocketId, peer: Address) -> Result<(), Errno> {
        let socket = self.socket(id)?;
        let leaves = |address: &Address| !is_loopback(*address);
        let has_way = is_loopback(peer)
            || socket.addresses.iter().any(leaves)
            || (socket.addresses.is_empty()
                && host_addresses().iter().any(|address| leaves(address) && socket.takes(*address)));
        if has_way { Ok(()) } else { Err(Errno::ENETUNREACH) }
    }

    /// How a peer is reached: as the socket was told, or as all are; but what listens here listens at our own UDP port,
    /// whichever that is.
    fn encapsulation_to(&self, id: SocketId, peers: &[Named]) -> Result<Encapsulation, Errno> {
        if let Some(told) = self.socket(id)?.settings.encapsulation {
            return Ok(told);
        }
        let udp_port = self.driver.backend().udp_port.filter(|_| self.driver.backend().backend == Backend::Udp);
        let Some(own) = udp_port.filter(|port| *port != esock_io::ENCAPSULATION_PORT) else {
            return Ok(self.encapsulation);
        };
        let stack = self.driver.stack();
        let has_port = |port| self.endpoints.keys().any(|endpoint| stack.endpoint_port(*endpoint) == Some(port));
        let is_ours = |address| is_loopback(address) || host_addresses().contains(&address);
        // One of its addresses is enough: a peer is one host.
        let is_here = peers.iter().any(|(address, port)| has_port(*port) && is_ours(*address));
        Ok(if is_here { Encapsulation::Udp(own) } else { self.encapsulation })
    }

    /// Keeps a new association for a socket.
    pub(super) fn hold(
        &mut self,
        now: Time,
        id: AssocId,
        socket: SocketId,
        endpoint: EndpointId,
        peer: Named,
        config: esock_proto::Config,
    ) -> Result<(), Errno> {
        let number = self.next_number();
        let owner = self.socket_mut(socket)?;
        owner.associations.insert(number, id);
        let settings = AssocSettings { config, ..owner.settings.association.clone() };
        self.numbers.insert(number, id);
        self.endpoints.entry(endpoint).or_default().associations += 1;
        let held = Held {
            id,
            number,
            endpoint,
            socket: Some(socket),
            lingers: None,
            settings,
            announced: 0,
            told_bytes: 0,
            told_beyond: false,
            up: None,
            known: false,
            closed: false,
            peer,
            midway: false,
            shutting_down: false,
            given_back: false,
            autoclose_at: None,
            ended_early: None,
            paths_told: BTreeMap::new(),
            failed: Vec::new(),
            given_up: BTreeMap::new(),
            routed: BTreeSet::new(),
        };
        self.associations.insert(id, held);
        self.follow_routes(now, id);
        self.totals.associations += 1;
        Ok(())
    }

    /// How a `connect` that had to wait ended.
    pub(super) fn connected(&mut self, id: SocketId) -> Outcome {
        let socket = self.socket_mut(id)?;
        socket.awaited = socket.begun.is_some();
        if socket.no_more {
            // As on Linux, nobody waits who has shut the socket down for reading, whatever comes of it.
            return Ok(Reply::done());
        }
        if socket.connecting || socket.awaited {
            let timeout = socket.settings.send_timeout;
            return Ok(Reply::wait(Errno::EINPROGRESS, timeout));
        }
        // How it ended is told here, and stays in SO_ERROR all the same, as on Linux.
        match socket.ended.take().or_else(|| socket.take_error()) {
            Some(errno) => Err(errno),
            None => Ok(Reply::done()),
        }
    }

    /// `getsockname`.
    pub(super) fn local_name(&self, id: SocketId) -> Outcome {
        let socket = self.socket(id)?;
        let any = match socket.family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let used = || {
            let assoc = socket.has_one().then(|| socket.associations.values().next()).flatten()?;
            self.source_of(*assoc)
        };
        let address = socket.addresses.last().copied().or_else(used).or(socket.source).unwrap_or(any);
        Ok(Reply {
            name: address::write(socket.family, socket.is_mapped() || address == any, (address, socket.port)),
            ..Reply::done()
        })
    }

    /// Our address on an association's primary path.
    pub(super) fn source_of(&self, id: AssocId) -> Option<Address> {
        let stats = self.driver.stack().association(self.driver.now(), id)?;
        stats.paths.iter().find(|path| path.primary)?.local
    }

    /// `getpeername`.
    pub(super) fn peer_name(&self, now: Time, id: SocketId) -> Outcome {
        let socket = self.socket(id)?;
        if !socket.has_one() || !matches!(socket.state, SocketState::Established | SocketState::Closing) {
            return Err(Errno::ENOTCONN);
        }
        let assoc = socket.associations.values().next();
        let primary = assoc.and_then(|assoc| {
            let stats = self.driver.stack().association(now, *assoc)?;
            let path = stats.paths.iter().find(|path| path.primary)?;
            Some((path.remote, stats.peer_port))
        });
        let named = primary.or(socket.peer).ok_or(Errno::ENOTCONN)?;
        Ok(Reply { name: address::write(socket.family, socket.is_mapped(), named), ..Reply::done() })
    }
}

/// All of 127.0.0.0/8 is this host, whatever its interfaces have.
fn is_loopback(address: Address) -> bool {
    address.ip().is_loopback()
}

/// What [`Engine::begin`] says of a peer that nobody can be: it was refused already.
pub(super) const NOWHERE: Errno = Errno::ECONNREFUSED;

/// Linux's `net.core.somaxconn`.
const MAX_BACKLOG: usize = 4096;

fn bind_errno(error: &EndpointError) -> Errno {
    match error {
        EndpointError::Open(OpenError::InUse { .. } | OpenError::NoFreePort) => Errno::EADDRINUSE,
        EndpointError::Claim(ClaimError::InUse { .. }) => Errno::EADDRINUSE,
        EndpointError::Open(OpenError::Config(_)) => Errno::EINVAL,
        _ => Errno::EADDRNOTAVAIL,
    }
}

fn connect_errno(error: &ConnectError) -> Errno {
    match error {
        ConnectError::Exists => Errno::EISCONN,
        ConnectError::BadAddress(_) | ConnectError::BadPort | ConnectError::NoAddress | ConnectError::Config(_) => {
            Errno::EINVAL
        }
        ConnectError::System { .. } => Errno::ENETUNREACH,
        _ => Errno::EINVAL,
    }
}
