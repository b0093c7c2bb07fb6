//! Sockets, and what a kernel does for them.

mod accept;
mod close;
mod events;
mod readiness;
mod receive;
mod route;
mod send;
mod setup;
mod share;
mod socket;
#[cfg(test)]
mod tests;

use crate::errno::Errno;
use crate::protocol::{Op, Request};
use crate::sysctl::Sysctl;
use bytes::Bytes;
use esock_io::{Backend, Driver, Transport as _, Turn};
use esock_proto::{AssocId, Encapsulation, EndpointId, Time};
pub use readiness::Readiness;
pub(crate) use send::apply_init;
pub(crate) use socket::{AssocSettings, Held, Item, SendDefaults, Socket, SocketState, Style};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::time::Duration;

/// A socket, in every process that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// What a call comes to.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// What it returns, not below zero; or, negated, the `errno`.
    pub result: i32,
    /// With `EAGAIN` or `EINPROGRESS`, how long whoever waits waits at most.
    pub timeout: Option<Duration>,
    /// The flags of a message; with `EAGAIN` or `EINPROGRESS`, the `errno` of whoever would wait, if waiting is in vain.
    pub flags: i32,
    /// An address.
    pub name: Vec<u8>,
    /// Control messages.
    pub control: Vec<u8>,
    /// Data.
    pub data: Bytes,
}

/// How a call ends.
pub(crate) type Outcome = Result<Reply, Errno>;

/// First numbers of associations: those below mean all, future and current ones.
const FIRST_NUMBER: i32 = 3;

/// An endpoint of the stack, and how many sockets and associations need it.
#[derive(Debug, Default)]
struct Use {
    /// The sockets that are bound to it; none once they are closed and only associations are left.
    owners: Vec<SocketId>,
    associations: usize,
}

/// Sockets over one driver.
#[derive(Debug)]
pub struct Engine {
    driver: Driver,
    sysctl: Sysctl,
    encapsulation: Encapsulation,
    sockets: HashMap<SocketId, Socket>,
    associations: HashMap<AssocId, Held>,
    numbers: BTreeMap<i32, AssocId>,
    last_number: i32,
    endpoints: HashMap<EndpointId, Use>,
    /// Sockets whose readiness may have changed.
    touched: BTreeSet<SocketId>,
    /// Associations of which messages have come back that nobody was told of.
    failing: BTreeSet<AssocId>,
    /// Closed sockets that linger.
    lingering: HashMap<SocketId, Lingering>,
    /// When associations that nobody uses are to be shut down (SCTP_AUTOCLOSE).
    autoclose: BTreeSet<(Time, AssocId)>,
    /// Associations with unread messages, of sockets of which each news is told: the stack tells the first only.
    edged: BTreeSet<AssocId>,
    /// A call has left packets to be sent.
    unsent: bool,
    totals: Totals,
}

/// A closed socket with SO_LINGER: how many of its associations have not ended, and until when somebody waits for them.
#[derive(Debug)]
struct Lingering {
    associations: usize,
    until: Time,
}

/// What there has been, for the report.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    sockets: u64,
    associations: u64,
    sent: u64,
    received: u64,
}

impl Reply {
    /// Success, with nothing to tell.
    pub(crate) fn done() -> Self {
        Self::default()
    }

    /// Success, with a number.
    pub(crate) fn number(result: i32) -> Self {
        Self { result, ..Self::default() }
    }

    /// Success, with bytes.
    pub(crate) fn bytes(data: Vec<u8>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Not now: whoever waits, waits for `timeout` at most, and with none at all in vain.
    pub(crate) fn wait(errno: Errno, timeout: Option<Duration>) -> Self {
        let flags = if timeout == Some(Duration::ZERO) { errno.0 } else { 0 };
        Self { result: -errno.0, timeout, flags, ..Self::default() }
    }
}

impl From<Errno> for Reply {
    fn from(errno: Errno) -> Self {
        Self { result: -errno.0, ..Self::default() }
    }
}

impl Engine {
    /// An engine without sockets.
    pub fn new(driver: Driver, sysctl: Sysctl) -> Self {
        let encapsulation = match u16::try_from(sysctl.get("encap_port")) {
            // As a kernel: no UDP unless it is asked for. Over UDP alone there is nothing else.
            Ok(0) | Err(_) if driver.backend().backend == Backend::Raw => Encapsulation::Native,
            Ok(0) | Err(_) => Encapsulation::Default,
            Ok(port) => Encapsulation::Udp(port),
        };
        Self {
            driver,
            sysctl,
            encapsulation,
            sockets: HashMap::new(),
            associations: HashMap::new(),
            numbers: BTreeMap::new(),
            last_number: FIRST_NUMBER - 1,
            endpoints: HashMap::new(),
            touched: BTreeSet::new(),
            failing: BTreeSet::new(),
            lingering: HashMap::new(),
            autoclose: BTreeSet::new(),
            edged: BTreeSet::new(),
            unsent: false,
            totals: Totals::default(),
        }
    }

    /// The driver: what to wait for.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Whether there is nothing left to do: no socket, and no association that is still being shut down.
    pub fn is_idle(&self) -> bool {
        self.sockets.is_empty() && self.associations.is_empty()
    }

    /// Which of the driver's sockets have news, a bit each in the order of its interests, for whoever turns until a turn has
    /// received nothing.
    pub fn set_ready(&mut self, bits: u64) {
        self.driver.set_ready_until_empty(bits);
    }

    /// Receives what has arrived, tells the sockets, and sends what there is.
    pub fn turn(&mut self, now: Time) -> io::Result<Turn> {
        let before = self.driver.stack().stats().packets_sent;
        let mut turn = self.driver.turn(now)?;
        self.tell(now);
        self.tell_edges(now);
        if self.driver.stack().wants_transmit() {
            let more = self.driver.flush(now);
            turn.more |= more.more;
            turn.deadline = more.deadline;
        }
        self.close_idle(now);
        // A peer on this host may have answered by now: its answer is part of what a call is to see.
        turn.more |= self.driver.stack().stats().packets_sent != before;
        let idle = self.autoclose.first().map(|(at, _)| *at);
        turn.deadline = [turn.deadline, idle].into_iter().flatten().min();
        Ok(turn)
    }

    /// Does a call. Packets that it brings about leave at once.
    pub fn call(&mut self, now: Time, request: &Request, body: Bytes) -> Reply {
        let socket = request.socket;
        let reply = self.dispatch(now, request, body).unwrap_or_else(Reply::from);
        self.tell(now);
        if self.driver.stack().wants_transmit() {
            self.unsent |= self.driver.flush(now).more;
            self.tell(now);
        }
        self.touched.insert(socket);
        reply
    }

    /// When to turn at the latest, and whether to turn at once because calls have left packets to be sent.
    pub fn due(&mut self) -> (Option<Time>, bool) {
        let idle = self.autoclose.first().map(|(at, _)| *at);
        let deadline = [self.driver.poll_timeout(), idle].into_iter().flatten().min();
        (deadline, std::mem::take(&mut self.unsent))
    }

    fn dispatch(&mut self, now: Time, request: &Request, body: Bytes) -> Outcome {
        let Request { op, socket, args, .. } = *request;
        match op {
            Op::Hello | Op::Sync | Op::SayAgain => Ok(Reply::done()),
            Op::Edges => self.want_edges(socket),
            Op::Acceptable => self.acceptable(socket),
            Op::Lingers => Ok(self.lingers(now, socket)),
            Op::Socket => self.open(socket, args[0], args[1]),
            Op::Bind => self.bind(socket, &body),
            Op::Listen => self.listen(socket, args[0]),
            Op::Connect => self.connect(now, socket, &body),
            Op::ConnectMany => self.connect_many(now, socket, &body),
            Op::Connected => self.connected(socket),
            Op::Accept => self.accept(now, socket, new_socket(&body)?),
            Op::PeelOff => self.peel_off(socket, args[0], new_socket(&body)?),
            Op::Shutdown => self.shut_down(now, socket, args[0]),
            Op::SetOption => self.set_option(now, socket, args[0], args[1], &body),
            Op::GetOption => self.get_option(now, socket, args[0], args[1], args[2], &body),
            Op::Send => self.send_message(now, socket, args, body),
            Op::Recv => self.receive_message(now, socket, args),
            Op::LocalName => self.local_name(socket),
            Op::PeerName => self.peer_name(now, socket),
            Op::Available => self.available(socket),
            Op::Report => Ok(Reply::bytes(self.report(now).into_bytes())),
        }
    }

    pub(crate) fn socket(&self, id: SocketId) -> Result<&Socket, Errno> {
        self.sockets.get(&id).ok_or(Errno::EBADF)
    }

    pub(crate) fn socket_mut(&mut self, id: SocketId) -> Result<&mut Socket, Errno> {
        self.touched.insert(id);
        self.sockets.get_mut(&id).ok_or(Errno::EBADF)
    }

    pub(crate) fn driver_mut(&mut self) -> &mut Driver {
        &mut self.driver
    }

    pub(crate) fn sysctl(&self) -> &Sysctl {
        &self.sysctl
    }

    pub(crate) fn held(&self, id: AssocId) -> Option<&Held> {
        self.associations.get(&id)
    }

    pub(crate) fn held_mut(&mut self, id: AssocId) -> Option<&mut Held> {
        self.associations.get_mut(&id)
    }

    /// The association that a call on a socket means by a number: of one-to-one sockets the only one, whatever
    /// the number (RFC 6458 §7).
    pub(crate) fn by_number(&self, socket: SocketId, number: i32) -> Option<AssocId> {
        let socket = self.sockets.get(&socket)?;
        if socket.style == Style::OneToMany {
            return socket.associations.get(&number).copied();
        }
        // Before it is connected there is none to be asked about, as on Linux.
        let connected = matches!(socket.state, SocketState::Established | SocketState::Closing);
        connected.then(|| socket.associations.values().next().copied()).flatten()
    }

    /// A number for a new association: not one that was in use lately.
    fn next_number(&mut self) -> i32 {
        loop {
            self.last_number = if self.last_number == i32::MAX { FIRST_NUMBER } else { self.last_number + 1 };
            if !self.numbers.contains_key(&self.last_number) {
                return self.last_number;
            }
        }
    }

    /// Sockets and associations in words.
    fn report(&self, now: Time) -> String {
        use std::fmt::Write as _;
        let chosen = self.driver.backend();
        let mut text = format!("backend: {}, {}\n", chosen.backend, chosen.why);
        if let Some(port) = chosen.udp_port {
            let _ = writeln!(text, "UDP port: {port}");
        }
        let Totals { sockets, associations, sent, received } = self.totals;
        let _ = writeln!(text, "sockets ever: {sockets}\nassociations ever: {associations}");
        let _ = writeln!(text, "messages sent: {sent}\nmessages received: {received}");
        let _ = writeln!(text, "sockets now: {}", self.sockets.len());
        let _ = writeln!(text, "associations now: {}", self.associations.len());
        let _ = writeln!(text, "endpoints now: {}", self.endpoints.len());
        for socket in self.sockets.values().filter(|socket| socket.state == SocketState::Listening) {
            let _ = writeln!(text, "listening: {}", socket.port);
        }
        for held in self.associations.values() {
            if let Some(stats) = self.driver.stack().association(now, held.id) {
                let _ = writeln!(
                    text,
                    "association {}: {:?}, ports {} and {}, {} messages sent, {} received",
                    held.number,
                    stats.state,
                    stats.local_port,
                    stats.peer_port,
                    stats.counters.messages_sent,
                    stats.counters.messages_received
                );
            }
        }
        text
    }
}

fn new_socket(body: &[u8]) -> Result<SocketId, Errno> {
    body.first_chunk().map(|number| SocketId(u64::from_ne_bytes(*number))).ok_or(Errno::EINVAL)
}
