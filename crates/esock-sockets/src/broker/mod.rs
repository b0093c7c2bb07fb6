//! One engine for many programs: the process that owns the stack, its UDP port and its raw sockets.
//!
//! It ends when its last program has gone and the associations of all of them have ended.

mod connection;
mod offer;
mod signal;
mod start;
mod strangers;
#[cfg(test)]
mod tests;

use crate::engine::{Engine, Readiness, Reply, SocketId};
use crate::errno::Errno;
use crate::protocol::{self, FRONT, MAX_CONTROL, Op, ReplyHead, Request};
use bytes::Bytes;
use connection::{Connection, Progress, SCRATCH};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use offer::Offer;
use signal::Signal;
use socket2::SockRef;
pub use start::{BrokerConfig, BrokerError, Greeting};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};
use strangers::{Said, Strangers};

/// Events of one wait.
const EVENTS: usize = 1024;
/// Turns of the driver in a row, so that calls are not kept waiting.
const TURNS: usize = 16;

const LISTENER: Token = Token(0);
/// Tokens of the driver's descriptors.
const DRIVER: usize = 1;
/// Of so many; those beyond the 64th are always looked at.
const MOST: usize = 1 << 16;
/// Tokens of connections begin here.
const FIRST: usize = 1 << 20;
/// Connections that are taken in a row: whoever keeps connecting does not keep others waiting.
const AT_ONCE: usize = 128;
/// More than can wait to be taken: `net.core.somaxconn` is no larger.
const ALL: usize = 1 << 16;
/// How long strangers put off that a broker leaves whose programs have all gone.
const STRANGERS_STAY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Broker {
    engine: Engine,
    poll: Poll,
    listener: UnixListener,
    /// The name that it listens at.
    name: SocketAddr,
    /// A descriptor to give up when there are no others: whoever comes then is turned away, and does not wait for ever.
    spare: Option<UnixListener>,
    /// Users whose programs may make calls: ours, and root.
    friends: [u32; 2],
    /// Whoever shows it may make calls, whatever the user: programs become other users.
    key: String,
    /// What we were started with, in words.
    settings: String,
    scratch: Vec<u8>,
    /// Programs of other users, until they have shown the key, and ends of their sockets, until one that has makes a socket.
    strangers: Strangers,
    /// What of the driver is watched: descriptor, and whether for writing too.
    watched: Vec<(RawFd, bool)>,
    programs: HashMap<Token, Connection>,
    signals: HashMap<SocketId, Signal>,
    by_token: HashMap<Token, SocketId>,
    next_token: usize,
    /// Messages that lie ready for whoever receives next, of sockets that have one.
    offers: HashMap<SocketId, Offer>,
    /// The connections by which sockets were read last, if they take offers.
    readers: HashMap<SocketId, Token>,
    /// The number in the state of the last offer.
    last_offer: u64,
    deadline: Option<esock_proto::Time>,
    more: bool,
}

/// Listens at a name.
fn listener(name: &SocketAddr, poll: &Poll) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(name)?;
    listener.set_nonblocking(true)?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    Ok(listener)
}

impl Broker {
    /// A broker that listens at an abstract name, see [`protocol::broker_name`].
    ///
    /// An error of kind `AddrInUse`: there is one already.
    pub fn listen(name: &str, user: u32, settings: String, engine: Engine) -> io::Result<Self> {
        let poll = Poll::new()?;
        let name = SocketAddr::from_abstract_name(name)?;
        let listener = listener(&name, &poll)?;
        let mut broker = Self {
            engine,
            poll,
            spare: Some(listener.try_clone()?),
            listener,
            name,
            friends: [user, 0],
            key: format!("{user}.{}", random_text()?),
            settings,
            scratch: vec![0; SCRATCH],
            strangers: Strangers::default(),
            watched: Vec::new(),
            programs: HashMap::new(),
            signals: HashMap::new(),
            by_token: HashMap::new(),
            next_token: FIRST,
            offers: HashMap::new(),
            readers: HashMap::new(),
            last_offer: 0,
            deadline: None,
            more: true,
        };
        broker.watch()?;
        Ok(broker)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Serves until nobody has been there for `linger` and nothing is left to do.
    pub fn run(&mut self, linger: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut alone_since = Instant::now();
        let mut deserted_since = alone_since;
        loop {
            if !self.programs.is_empty() || !self.signals.is_empty() || !self.engine.is_idle() {
                alone_since = Instant::now();
                deserted_since = alone_since;
            } else if alone_since.elapsed() >= linger {
                // A stranger may be about to show the key; but none keeps us here for ever.
                if self.leave(deserted_since.elapsed() < linger + STRANGERS_STAY) {
                    return Ok(());
                }
                alone_since = Instant::now();
            }
            let timeout = self.timeout(linger.saturating_sub(alone_since.elapsed()));
            match self.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.handle(&events)?;
        }
    }

    /// Lets nobody in any more: whoever comes from now on is refused, and starts a broker of its own. Returns whether nobody
    /// had come in the last moment, strangers counted or not; else all are let in again.
    fn leave(&mut self, with_strangers: bool) -> bool {
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Read);
        self.accept(ALL, None);
        let no_strangers = self.strangers.is_empty() || !with_strangers;
        if self.programs.is_empty() && self.signals.is_empty() && no_strangers {
            return true;
        }
        let _ = self.poll.registry().deregister(&mut SourceFd(&self.listener.as_raw_fd()));
        // If another has taken the name, those who have come are served, and nobody else.
        let _ = self.listen_again();
        false
    }

    fn listen_again(&mut self) -> io::Result<()> {
        // The name is free when the last descriptor that has it is closed.
        self.spare = None;
        self.listener = UnixListener::from(OwnedFd::from(UnixDatagram::unbound()?));
        self.listener = listener(&self.name, &self.poll)?;
        self.spare = self.listener.try_clone().ok();
        Ok(())
    }

    fn timeout(&self, linger: Duration) -> Duration {
        if self.more {
            return Duration::ZERO;
        }
        let now = self.engine.driver().now();
        let due = self.deadline.map(|at| at.since(now));
        let due = due.unwrap_or(linger).min(linger.max(Duration::from_millis(10)));
        if self.offers.is_empty() { due } else { due.min(offer::LOOK) }
    }

    /// What arrived at the host is dealt with first, then sockets that are closed, then calls: whoever calls after a
    /// packet came sees what it brought.
    fn handle(&mut self, events: &Events) -> io::Result<()> {
        self.look_at_offers();
        self.strangers.drop_old();
        let due = self.more || self.deadline.is_some_and(|at| at <= self.engine.driver().now());
        let of_driver = events.iter().filter_map(|event| event.token().0.checked_sub(DRIVER).filter(|bit| *bit < MOST));
        let news = of_driver.fold(0, |all, bit| all | (1 << bit.min(63)));
        if due || news != 0 {
            self.turn(news)?;
        }
        for event in events {
            if let Some(socket) = self.by_token.get(&event.token()).copied() {
                self.on_socket(socket, event.is_read_closed() || event.is_error());
            }
        }
        for event in events {
            let token = event.token();
            if token == LISTENER {
                self.accept(AT_ONCE, None);
            } else if self.programs.contains_key(&token) {
                self.on_program(token);
            } else {
                self.on_stranger(token);
            }
        }
        self.signal();
        let (deadline, unsent) = self.engine.due();
        self.deadline = deadline;
        self.more |= unsent;
        self.watch()
    }

    /// Turns until nothing comes any more: sockets with news have a bit each.
    fn turn(&mut self, mut news: u64) -> io::Result<()> {
        for _ in 0..TURNS {
            let now = self.engine.driver().now();
            self.engine.set_ready(std::mem::take(&mut news));
            let turn = self.engine.turn(now)?;
            // Who was asked is not told of again. And what was sent may be answered on this host at once: whoever looks is
            // to see that.
            self.more = turn.more || turn.received > 0;
            if !self.more {
                break;
            }
        }
        self.signal();
        Ok(())
    }

    /// Watches what the driver waits for.
    fn watch(&mut self) -> io::Result<()> {
        let wanted: Vec<(RawFd, bool)> =
            self.engine.driver().interests().map(|interest| (interest.fd, interest.writable)).collect();
        if wanted == self.watched {
            return Ok(());
        }
        let registry = self.poll.registry();
        for (fd, _) in &self.watched {
            if !wanted.iter().any(|(other, _)| other == fd) {
                // It may be closed by now, and then is not watched any more.
                let _ = registry.deregister(&mut SourceFd(fd));
            }
        }
        for (place, (fd, writable)) in wanted.iter().enumerate() {
            let interest = if *writable { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let token = Token(DRIVER + place);
            if registry.reregister(&mut SourceFd(fd), token, interest).is_err() {
                registry.register(&mut SourceFd(fd), token, interest)?;
            }
        }
        self.watched = wanted;
        Ok(())
    }

    /// Takes new connections, so many at most, and not those behind the end of a socket that is looked for.
    fn accept(&mut self, most: usize, sought: Option<SocketId>) {
        for _ in 0..most {
            if sought.is_some_and(|socket| self.signals.contains_key(&socket)) {
                return;
            }
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    self.spare = None;
                    // The kernel says so before it looks whether somebody waits.
                    let turned_away = self.listener.accept().map(drop).is_ok();
                    self.spare = self.listener.try_clone().ok();
                    if turned_away {
                        continue;
                    }
                    return;
                }
                // A program that has gone: others go on.
                Err(_) => return,
            };
            // Whoever cannot be watched is turned away (epoll_ctl(2): ENOSPC, ENOMEM).
            let _ = self.admit(stream, &from);
        }
        // Others may wait still: we are to be told of them again.
        let listener = self.listener.as_raw_fd();
        let _ = self.poll.registry().reregister(&mut SourceFd(&listener), LISTENER, Interest::READABLE);
    }

    /// Keeps a new connection: that of a socket has a name.
    fn admit(&mut self, stream: UnixStream, from: &SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let user = esock_io::peer_user(&stream)?;
        let token = Token(self.next_token);
        self.next_token += 1;
        self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), token, Interest::READABLE)?;
        let socket = from.as_abstract_name().and_then(protocol::socket_of);
        if !self.friends.contains(&user) {
            self.strangers.add(token, stream, user, socket);
        } else if let Some(socket) = socket {
            self.hold(socket, token, stream);
        } else {
            self.programs.insert(token, Connection::new(stream));
        }
        Ok(())
    }

    /// Keeps our end of a socket's connection.
    fn hold(&mut self, socket: SocketId, token: Token, stream: UnixStream) {
        self.by_token.insert(token, socket);
        self.signals.insert(socket, Signal::new(stream, token));
    }

    /// A program's end of a socket has changed: filled, or closed by the last that had it.
    fn on_socket(&mut self, socket: SocketId, closed: bool) {
        let Some(signal) = self.signals.get_mut(&socket) else { return };
        if !signal.on_readable(socket, closed) {
            let token = signal.token;
            self.settle(socket);
            self.readers.remove(&socket);
            self.by_token.remove(&token);
            self.signals.remove(&socket);
            let now = self.engine.driver().now();
            self.engine.close(now, socket);
        } else if signal.take_left() {
            tell_again(&self.poll, signal);
        }
    }

    /// A stranger has said something, or gone.
    fn on_stranger(&mut self, token: Token) {
        let Some(said) = self.strangers.get(token).map(|stranger| stranger.said(self.key.as_bytes())) else { return };
        if said == Said::Nothing {
            return;
        }
        let Some(stranger) = self.strangers.take(token) else { return };
        match said {
            Said::Key => {
                self.programs.insert(token, Connection::new(stranger.stream));
                self.on_program(token);
            }
            Said::NoKey(errno) => stranger.refuse(errno),
            Said::Nothing | Said::Nonsense => {}
        }
    }

    fn on_program(&mut self, token: Token) {
        let Some(connection) = self.programs.get_mut(&token) else { return };
        let (request, body) = match connection.progress(&mut self.scratch) {
            Progress::Waits => return,
            Progress::Ended => {
                self.settle_with(token);
                self.programs.remove(&token);
                return;
            }
            Progress::Call(request, body) => (request, body),
        };
        let (head, reply) = if request.op == Op::Hello {
            self.hello(&request)
        } else {
            self.settle(request.socket);
            if request.op == Op::Recv {
                self.reads(request.socket, (request.args[3] != 0).then_some(token));
            }
            self.call(&request, body)
        };
        let Some(connection) = self.programs.get_mut(&token) else { return };
        if connection.answer(request.op, &head, &reply).is_err() {
            self.settle_with(token);
            self.programs.remove(&token);
            return;
        }
        self.want_writable(token);
    }

    /// The first call of a connection: whether both are of one build.
    fn hello(&self, request: &Request) -> (ReplyHead, Reply) {
        let reply = if request.args[0].cast_unsigned() == protocol::VERSION {
            Reply { data: format!("{}\n{}", self.key, self.settings).into(), ..Reply::default() }
        } else {
            Errno::EPROTO.into()
        };
        head_of(Op::Hello, reply)
    }

    /// Watches for a connection that takes no more, until it does.
    fn want_writable(&self, token: Token) {
        let Some(connection) = self.programs.get(&token) else { return };
        if connection.is_blocked() {
            let both = Interest::READABLE | Interest::WRITABLE;
            let _ = self.poll.registry().reregister(&mut SourceFd(&connection.descriptor()), token, both);
        }
    }

    fn call(&mut self, request: &Request, body: Bytes) -> (ReplyHead, Reply) {
        let op = request.op;
        if matches!(op, Op::Socket | Op::Accept | Op::PeelOff) {
            // The new socket's connection was made before the call.
            let new = if op == Op::Socket { Some(request.socket) } else { new_socket(&body) };
            self.accept(ALL, new);
            if let Some(socket) = new
                && let Some((token, stream)) = self.strangers.take_end(socket)
            {
                self.hold(socket, token, stream);
            }
            if !new.is_some_and(|new| self.signals.contains_key(&new)) {
                // It was turned away.
                return head_of(op, Errno::ENFILE.into());
            }
        }
        let now = self.engine.driver().now();
        let mut reply = self.engine.call(now, request, body);
        match op {
            Op::Report => {
                let (process, programs) = (std::process::id(), self.programs.len());
                let ours = format!("process: {process}\nprograms' connections: {programs}\n");
                reply.data = [reply.data, Bytes::from(ours)].concat().into();
            }
            Op::GetOption => reply.data.truncate(usize::try_from(request.args[2]).unwrap_or(0)),
            _ => {}
        }
        self.signal();
        let (mut head, reply) = head_of(op, reply);
        if matches!(op, Op::Recv | Op::Acceptable) {
            head.patient = self.engine.is_patient(request.socket);
        }
        if let Some(signal) = self.signals.get_mut(&request.socket) {
            match op {
                Op::SayAgain => signal.say_again(),
                Op::Edges => signal.want_edges(),
                Op::Shutdown if request.args[1] != 0 => signal.is_awaited(),
                _ => {
                    (head.pull, head.upto) = signal.pull();
                    head.fill = signal.fill(matches!(op, Op::Send | Op::Connected));
                }
            }
        }
        (head, reply)
    }

    /// Makes programs' ends readable and writable as their sockets are.
    fn signal(&mut self) {
        let touched: Vec<(SocketId, Readiness)> = self.engine.take_touched().collect();
        for (socket, readiness) in touched {
            if readiness.readable {
                self.offer(socket);
            }
            if let Some(signal) = self.signals.get_mut(&socket) {
                signal.show(readiness);
                if signal.take_left() {
                    tell_again(&self.poll, signal);
                }
            }
        }
    }
}

fn head_of(op: Op, reply: Reply) -> (ReplyHead, Reply) {
    let timeout = reply.timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1));
    let mut head = ReplyHead { result: reply.result, timeout_ms: timeout, flags: reply.flags, ..ReplyHead::default() };
    head.body = (reply.name.len() + reply.control.len() + reply.data.len()) as u32;
    if op == Op::Recv {
        head.name = reply.name.len().min(FRONT - MAX_CONTROL) as u32;
        head.control = reply.control.len().min(MAX_CONTROL) as u32;
        head.body = if reply.result < 0 { 0 } else { (FRONT + reply.data.len()) as u32 };
    }
    (head, reply)
}

fn new_socket(body: &[u8]) -> Option<SocketId> {
    body.first_chunk().map(|number| SocketId(u64::from_ne_bytes(*number)))
}

/// Has a socket's end told of again that has more to be read.
fn tell_again(poll: &Poll, signal: &Signal) {
    let _ = poll.registry().reregister(&mut SourceFd(&signal.descriptor()), signal.token, Interest::READABLE);
}

/// A text that nobody guesses.
fn random_text() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
