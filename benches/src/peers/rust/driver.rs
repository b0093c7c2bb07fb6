//! The driver of the stacks without I/O.

use super::SansIo;
use crate::pattern::{Checker, Pattern, StreamChecker};
use crate::plan::{BUFFER_BYTES, enlarge};
use crate::{Bulk, End, Plan, RoundTrips};
use bytes::Bytes;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Buffers of a receive call.
const BATCH: usize = 8;
const RECEIVE_BYTES: usize = 1 << 16;

/// Receive and send calls of a turn.
const CALLS: usize = 16;

/// How long a wait lasts at most: the other thread may want us to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A stack with its socket.
pub struct Driver<P> {
    pub peer: P,
    socket: UdpSocket,
    state: UdpSocketState,
    remote: SocketAddr,
    received: Vec<u8>,
    /// Packets that the socket did not take yet, and the size of each.
    sending: Vec<u8>,
    segment: usize,
}

impl<P: SansIo> Driver<P> {
    /// One end, set up, in the thread that uses it: not every stack can be moved.
    fn set_up(plan: &Plan, connects: bool, (socket, remote): (UdpSocket, SocketAddr)) -> Self {
        let mut driver = Self::new(plan, connects, socket, remote);
        let give_up = Instant::now() + Duration::from_secs(10);
        while !driver.peer.is_up() {
            assert!(Instant::now() < give_up, "not connected after 10 s");
            if !driver.turn(Instant::now()) {
                driver.wait();
            }
        }
        driver
    }

    fn new(plan: &Plan, connects: bool, socket: UdpSocket, remote: SocketAddr) -> Self {
        let state = UdpSocketState::new((&socket).into()).expect("a UDP socket");
        // The system may allow less.
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        enlarge(&socket);
        Self {
            peer: P::new(plan, connects, remote, Instant::now()),
            socket,
            state,
            remote,
            received: vec![0; BATCH * RECEIVE_BYTES],
            sending: Vec::with_capacity(RECEIVE_BYTES),
            segment: 0,
        }
    }

    /// Receives and sends what there is. Says whether there may be more.
    pub fn turn(&mut self, now: Instant) -> bool {
        let more = self.receive(now);
        if self.peer.poll_timeout().is_some_and(|at| at <= now) {
            self.peer.handle_timeout(now);
        }
        self.flush(now) || more
    }

    fn receive(&mut self, now: Instant) -> bool {
        for _ in 0..CALLS {
            let mut metas = [RecvMeta::default(); BATCH];
            let mut chunks = self.received.chunks_exact_mut(RECEIVE_BYTES);
            let mut slices: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let count = match self.state.recv((&self.socket).into(), &mut slices, &mut metas) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("receiving failed: {error}"),
            };
            for (meta, buffer) in metas[..count].iter().zip(self.received.chunks_exact(RECEIVE_BYTES)) {
                buffer[..meta.len].chunks(meta.stride).for_each(|packet| self.peer.handle_packet(now, packet));
            }
            if count < BATCH {
                return false;
            }
        }
        true
    }

    /// Sends what there is. Says whether there may be more.
    pub fn flush(&mut self, now: Instant) -> bool {
        for _ in 0..CALLS {
            if self.sending.is_empty() {
                match self.peer.poll_transmit(now, self.state.max_gso_segments(), &mut self.sending) {
                    Some(segment) => self.segment = segment,
                    None => return false,
                }
            }
            let many = self.sending.len() > self.segment;
            let transmit = Transmit {
                destination: self.remote,
                ecn: None,
                contents: &self.sending,
                segment_size: many.then_some(self.segment),
                src_ip: None,
            };
            match self.state.try_send((&self.socket).into(), &transmit) {
                Ok(()) => self.sending.clear(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("sending failed: {error}"),
            }
        }
        true
    }

    /// Waits for a packet or until something is due.
    fn wait(&mut self) {
        let until = self.peer.poll_timeout().map_or(LONGEST_WAIT, |at| at.saturating_duration_since(Instant::now()));
        let until = until.min(LONGEST_WAIT);
        let writable = if self.sending.is_empty() { 0 } else { libc::POLLOUT };
        let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN | writable, revents: 0 };
        let time = libc::timespec { tv_sec: 0, tv_nsec: until.subsec_nanos().into() };
        // SAFETY: the descriptor is open as long as its socket, and the call writes to `poll` alone.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
    }
}

/// Two sockets, each with the address of the other.
fn sockets() -> [(UdpSocket, SocketAddr); 2] {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound"));
    let [to_a, to_b] = [&a, &b].map(|socket| socket.local_addr().expect("a bound socket has an address"));
    [(a, to_b), (b, to_a)]
}

/// What arrives is checked message by message, or as a stream.
enum Check {
    Messages(Checker),
    Stream(StreamChecker),
}

impl Check {
    fn new<P: SansIo>(message_bytes: usize) -> Self {
        if P::STREAM {
            Self::Stream(StreamChecker::new(message_bytes))
        } else {
            Self::Messages(Checker::new(message_bytes))
        }
    }

    fn arrived(&mut self, payload: &[u8]) {
        match self {
            Self::Messages(checker) => checker.message(payload),
            Self::Stream(checker) => checker.bytes(payload),
        }
    }
}

/// Sends messages one after the other, of which the last may have been taken in part.
struct Sender {
    pattern: Pattern,
    next: u64,
    rest: Bytes,
}

impl Sender {
    fn new(message_bytes: usize) -> Self {
        let pattern = Pattern::new(message_bytes);
        let rest = pattern.message(0).clone();
        Self { pattern, next: 0, rest }
    }

    /// Sends one; says whether it was taken whole.
    fn send<P: SansIo>(&mut self, now: Instant, peer: &mut P) -> bool {
        let taken = peer.send(now, &self.rest);
        if taken < self.rest.len() {
            self.rest = self.rest.slice(taken..);
            return false;
        }
        self.next += 1;
        self.rest = self.pattern.message(self.next).clone();
        true
    }
}

/// One end sends messages, the other reads them.
pub fn bulk<P: SansIo>(plan: &Plan, message_bytes: usize) -> Bulk {
    let [first, second] = sockets();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::Second);
        let stop = &stop;
        scope.spawn(move || {
            plan.cores.pin(End::First);
            let mut sender = Driver::<P>::set_up(plan, true, first);
            let mut messages = Sender::new(message_bytes);
            while !stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                while messages.send(now, &mut sender.peer) {}
                if !sender.turn(now) {
                    sender.wait();
                }
            }
        });
        let mut receiver = Driver::<P>::set_up(plan, false, second);
        let mut check = Check::new::<P>(message_bytes);
        let mut measure_for = |time| {
            let (start, mut bytes) = (Instant::now(), 0);
            while start.elapsed() < time {
                let now = Instant::now();
                let mut more = receiver.turn(now);
                receiver.peer.recv(now, &mut |payload| {
                    check.arrived(payload);
                    bytes += payload.len() as u64;
                });
                // Reading may have opened the window, which the peer is to be told.
                more |= receiver.flush(now);
                if !more {
                    receiver.wait();
                }
            }
            Bulk { bytes, messages: bytes / message_bytes as u64, time: start.elapsed() }
        };
        measure_for(plan.warm_up);
        let result = measure_for(plan.measure);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// A message back and forth.
pub fn ping_pong<P: SansIo>(plan: &Plan, message_bytes: usize) -> RoundTrips {
    let [first, second] = sockets();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::First);
        let stop = &stop;
        scope.spawn(move || {
            plan.cores.pin(End::Second);
            let mut server = Driver::<P>::set_up(plan, false, second);
            let mut back = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let now = Instant::now();
                server.turn(now);
                server.peer.recv(now, &mut |payload| back.push(Bytes::copy_from_slice(payload)));
                for message in back.drain(..) {
                    assert_eq!(server.peer.send(now, &message), message.len(), "there is room for one");
                }
                if !server.flush(now) {
                    server.wait();
                }
            }
        });
        let mut client = Driver::<P>::set_up(plan, true, first);
        let mut check = Check::new::<P>(message_bytes);
        let mut messages = Sender::new(message_bytes);
        let mut times = Vec::with_capacity(plan.exchanges);
        for exchange in 0..plan.exchanges + plan.exchanges / 10 {
            let start = Instant::now();
            assert!(messages.send(start, &mut client.peer), "there is room for one");
            client.flush(start);
            let mut got = 0;
            while got < message_bytes {
                client.wait();
                let now = Instant::now();
                client.turn(now);
                client.peer.recv(now, &mut |payload| {
                    check.arrived(payload);
                    got += payload.len();
                });
            }
            if exchange >= plan.exchanges / 10 {
                times.push(start.elapsed());
            }
        }
        stop.store(true, Ordering::Relaxed);
        RoundTrips::new(times)
    })
}
