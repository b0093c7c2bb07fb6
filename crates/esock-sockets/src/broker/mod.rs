//! One engine for many programs: the process that owns the stack, its UDP port and its raw sockets.
//!
//! It ends when its last program has gone and the associations of all of them have ended.

mod connection;
mod offer;
mod signal;
mod start;

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
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

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
/// Ends of sockets of other users' programs that have not made a socket yet; the oldest are dropped.
const STRANGERS: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Broker {
    engine: Engine,
    poll: Poll,
    listener: UnixListener,
    /// A descriptor to give up when there are no others: whoever comes then is turned away, and does not wait for ever.
    spare: Option<UnixListener>,
    user: u32,
    /// Whoever shows it may make calls, whatever the user: programs become other users.
    key: String,
    /// What we were started with, in words.
    settings: String,
    scratch: Vec<u8>,
    /// Ends of sockets of other users' programs, until one that has shown the key makes a socket of it.
    strangers: VecDeque<(SocketId, Token, UnixStream)>,
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
        let listener = listener(&SocketAddr::from_abstract_name(name)?, &poll)?;
        let mut broker = Self {
            engine,
            poll,
            spare: Some(listener.try_clone()?),
            listener,
            user,
            key: format!("{user}.{}", random_text()?),
            settings,
            scratch: vec![0; SCRATCH],
            strangers: VecDeque::new(),
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
        loop {
            if !self.programs.is_empty() || !self.signals.is_empty() || !self.engine.is_idle() {
                alone_since = Instant::now();
            } else if alone_since.elapsed() >= linger {
                if self.leave()? {
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
    /// had come in the last moment; else all are let in again.
    fn leave(&mut self) -> io::Result<bool> {
        SockRef::from(&self.listener).shutdown(Shutdown::Read)?;
        self.accept()?;
        if self.programs.is_empty() && self.signals.is_empty() && self.strangers.is_empty() {
            return Ok(true);
        }
        let name = self.listener.local_addr()?;
        self.poll.registry().deregister(&mut SourceFd(&self.listener.as_raw_fd()))?;
        // The name is free when the last descriptor that has it is closed.
        self.spare = None;
        self.listener = UnixListener::from(OwnedFd::from(UnixDatagram::unbound()?));
        self.listener = listener(&name, &self.poll)?;
        self.spare = self.listener.try_clone().ok();
        Ok(false)
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
                self.accept()?;
            } else if self.programs.contains_key(&token) {
                self.on_program(token);
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

    /// Takes new connections: those of sockets have a name.
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                    self.spare = None;
                    // The kernel says so before it looks whether somebody waits.
                    let turned_away = self.listener.accept().map(drop).is_ok();
                    self.spare = self.listener.try_clone().ok();
                    if turned_away {
                        continue;
                    }
                    return Ok(());
                }
                // A program that has gone: others go on.
                Err(_) => return Ok(()),
            };
            let trusted = self.is_friend(&stream);
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            let readable = Interest::READABLE;
            self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), token, readable)?;
            match from.as_abstract_name().and_then(protocol::socket_of) {
                Some(socket) if trusted => self.hold(socket, token, stream),
                Some(socket) => {
                    self.strangers.push_back((socket, token, stream));
                    if self.strangers.len() > STRANGERS {
                        self.strangers.pop_front();
                    }
                }
                None => {
                    self.programs.insert(token, Connection::new(stream, trusted));
                }
            }
        }
    }

    /// Keeps our end of a socket's connection.
    fn hold(&mut self, socket: SocketId, token: Token, stream: UnixStream) {
        self.by_token.insert(token, socket);
        self.signals.insert(socket, Signal::new(stream, token));
    }

    /// Whether a program is of our user, or of root.
    fn is_friend(&self, stream: &UnixStream) -> bool {
        esock_io::peer_user(stream).is_ok_and(|user| user == self.user || user == 0)
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
        let trusted = connection.trusted;
        let (head, reply) = match request.op {
            Op::Hello => self.hello(&request, &body, trusted),
            _ if trusted => {
                self.settle(request.socket);
                if request.op == Op::Recv {
                    self.reads(request.socket, (request.args[3] != 0).then_some(token));
                }
                self.call(&request, body)
            }
            _ => head_of(Op::Hello, Errno::EACCES.into()),
        };
        let Some(connection) = self.programs.get_mut(&token) else { return };
        connection.trusted |= request.op == Op::Hello && head.result >= 0;
        if connection.answer(request.op, &head, &reply).is_err() {
            self.settle_with(token);
            self.programs.remove(&token);
            return;
        }
        self.want_writable(token);
    }

    /// The first call of a connection: whether both are of one build, and whether the program may make calls.
    fn hello(&self, request: &Request, key: &[u8], trusted: bool) -> (ReplyHead, Reply) {
        let reply = if request.args[0].cast_unsigned() != protocol::VERSION {
            Errno::EPROTO.into()
        } else if trusted || is_same(key, self.key.as_bytes()) {
            Reply { data: format!("{}\n{}", self.key, self.settings).into(), ..Reply::default() }
        } else {
            Errno::EACCES.into()
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
            let _ = self.accept();
            let new = if op == Op::Socket { Some(request.socket) } else { new_socket(&body) };
            let stranger = self.strangers.iter().position(|(socket, ..)| Some(*socket) == new);
            if let Some((socket, token, stream)) = stranger.and_then(|place| self.strangers.remove(place)) {
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

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// A text that nobody guesses.
fn random_text() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
