//! One engine for many programs: the process that owns the stack, its UDP port and its raw sockets.
//!
//! It ends when its last program has gone and the associations of all of them have ended.

mod connection;
mod signal;
mod start;

use crate::engine::{Engine, Reply, SocketId};
use crate::errno::Errno;
use crate::protocol::{self, Op, ReplyHead, Request};
use bytes::Bytes;
use connection::{Connection, Progress};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal::Signal;
pub use start::{BrokerConfig, BrokerError};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Events of one wait.
const EVENTS: usize = 1024;
/// Turns of the driver in a row, so that calls are not kept waiting.
const TURNS: usize = 16;

const LISTENER: Token = Token(0);
/// Tokens of the driver's descriptors.
const DRIVER: usize = 1;
/// Tokens of connections begin here.
const FIRST: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct Broker {
    engine: Engine,
    poll: Poll,
    listener: UnixListener,
    user: u32,
    /// What of the driver is watched: descriptor, and whether for writing too.
    watched: Vec<(RawFd, bool)>,
    programs: HashMap<Token, Connection>,
    signals: HashMap<SocketId, Signal>,
    by_token: HashMap<Token, SocketId>,
    next_token: usize,
    deadline: Option<esock_proto::Time>,
    more: bool,
}

impl Broker {
    /// A broker that listens at an abstract name, see [`protocol::broker_name`].
    ///
    /// An error of kind `AddrInUse`: there is one already.
    pub fn listen(name: &str, user: u32, engine: Engine) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        let mut broker = Self {
            engine,
            poll,
            listener,
            user,
            watched: Vec::new(),
            programs: HashMap::new(),
            signals: HashMap::new(),
            by_token: HashMap::new(),
            next_token: FIRST,
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
                return Ok(());
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

    fn timeout(&self, linger: Duration) -> Duration {
        if self.more {
            return Duration::ZERO;
        }
        let now = self.engine.driver().now();
        let due = self.deadline.map(|at| at.since(now));
        due.unwrap_or(linger).min(linger.max(Duration::from_millis(10)))
    }

    /// What arrived at the host is dealt with first, then sockets that are closed, then calls: whoever calls after a
    /// packet came sees what it brought.
    fn handle(&mut self, events: &Events) -> io::Result<()> {
        self.turn()?;
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
        self.watch()
    }

    fn turn(&mut self) -> io::Result<()> {
        for _ in 0..TURNS {
            let now = self.engine.driver().now();
            let turn = self.engine.turn(now)?;
            self.deadline = turn.deadline;
            self.more = turn.more;
            if !turn.more {
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
                // Too many descriptors, or a program that has gone: others go on.
                Err(_) => return Ok(()),
            };
            if !self.is_friend(&stream) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let token = Token(self.next_token);
            self.next_token += 1;
            let readable = Interest::READABLE;
            self.poll.registry().register(&mut SourceFd(&stream.as_raw_fd()), token, readable)?;
            match from.as_abstract_name().and_then(protocol::socket_of) {
                Some(socket) => {
                    self.by_token.insert(token, socket);
                    self.signals.insert(socket, Signal::new(stream, token));
                }
                None => {
                    self.programs.insert(token, Connection::new(stream));
                }
            }
        }
    }

    /// Whether a program is of our user, or of root.
    fn is_friend(&self, stream: &UnixStream) -> bool {
        esock_io::peer_user(stream).is_ok_and(|user| user == self.user || user == 0 || self.user == 0)
    }

    /// A program's end of a socket has changed: filled, or closed by the last that had it.
    fn on_socket(&mut self, socket: SocketId, closed: bool) {
        let Some(signal) = self.signals.get_mut(&socket) else { return };
        if closed || !signal.on_readable() {
            let token = signal.token;
            self.by_token.remove(&token);
            self.signals.remove(&socket);
            let now = self.engine.driver().now();
            self.engine.close(now, socket);
        }
    }

    fn on_program(&mut self, token: Token) {
        loop {
            let Some(connection) = self.programs.get_mut(&token) else { return };
            match connection.progress() {
                Progress::Waits => return,
                Progress::Ended => {
                    self.programs.remove(&token);
                    return;
                }
                Progress::Call(request, body) => {
                    let (head, reply) = self.call(&request, body);
                    let Some(connection) = self.programs.get_mut(&token) else { return };
                    if connection.answer(&head, &reply).is_err() {
                        self.programs.remove(&token);
                        return;
                    }
                    self.want_writable(token);
                }
            }
        }
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
        if request.op == Op::Hello && request.args[0].cast_unsigned() != protocol::VERSION {
            let reply = Reply::from(Errno::EPROTO);
            return (head_of(&reply, 0, false), reply);
        }
        if matches!(request.op, Op::Socket | Op::Accept | Op::PeelOff) {
            // The new socket's connection was made before the call.
            let _ = self.accept();
        }
        let now = self.engine.driver().now();
        let mut reply = self.engine.call(now, request, body);
        if request.op == Op::Report {
            let programs = format!("{} programs' threads\n", self.programs.len());
            reply.data = [reply.data, Bytes::from(programs)].concat().into();
        }
        self.signal();
        let (pull, fill) = match self.signals.get_mut(&request.socket) {
            Some(signal) if request.op == Op::Recount => (signal.recount(request.args[0]), false),
            Some(signal) => signal.settle(),
            None => (0, false),
        };
        (head_of(&reply, pull, fill), reply)
    }

    /// Makes programs' ends readable and writable as their sockets are.
    fn signal(&mut self) {
        let Self { engine, signals, .. } = self;
        for (socket, readiness) in engine.take_touched() {
            if let Some(signal) = signals.get_mut(&socket) {
                signal.show(readiness);
            }
        }
    }
}

fn head_of(reply: &Reply, pull: u32, fill: bool) -> ReplyHead {
    let timeout = reply.timeout.map_or(0, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1));
    ReplyHead {
        result: reply.result,
        timeout_ms: timeout,
        flags: reply.flags,
        name: reply.name.len() as u32,
        control: reply.control.len() as u32,
        pull,
        fill,
        body: (reply.name.len() + reply.control.len() + reply.data.len()) as u32,
    }
}
