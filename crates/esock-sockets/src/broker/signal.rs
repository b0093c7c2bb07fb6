//! The broker's end of a socket's connection: it makes the program's end readable and writable.
//!
//! A byte that lies at the program's end makes it readable; the program's side takes it out when a reply says so. Any
//! of its processes may do that, at any time after the reply, or die before: so bytes are counted, modulo 256, and a
//! reply says up to which they say nothing any more. Who takes out one that came later has us say it again; who finds
//! nothing to read takes out what others have left.
//!
//! Bytes that the program's side has written and nobody reads make its end not writable; they are read when it is to
//! be writable again. When nothing more will ever be read, our end is shut down for writing: the program's is
//! readable for ever, and hung up as far as reading goes. When nothing will be sent either, it is shut down for reading
//! too: the program's is hung up. Our end then looks as if the program had closed its own; whether it has, its name
//! says, which is free then.

use crate::engine::{Readiness, SocketId};
use crate::protocol::socket_name;
use mio::Token;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Bytes that lie at a program's end at most: one for each edge, which nobody may be waiting for.
const MOST: u32 = 16;

/// Pieces of a filling that are read at once: more than one has. A program may write on for ever.
const PIECES: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Signal {
    stream: UnixStream,
    pub token: Token,
    shown: Readiness,
    /// Bytes at the program's end that say something.
    lying: u32,
    /// The last byte that was written; 0 before, and never after.
    last: u8,
    /// Whoever waits, waits for edges.
    edges: bool,
    /// Somebody may wait to receive who is not to wait in vain.
    awaited: bool,
    /// The program's side was told to fill its end.
    filled: bool,
    /// Nothing more is written.
    down: bool,
    /// Nothing more is read either.
    hung_up: bool,
    /// More was written than is read at once.
    left: bool,
}

impl Signal {
    pub fn new(stream: UnixStream, token: Token) -> Self {
        let shown = Readiness { writable: true, ..Readiness::default() };
        Self {
            stream,
            token,
            shown,
            lying: 0,
            last: 0,
            edges: false,
            awaited: false,
            filled: false,
            down: false,
            hung_up: false,
            left: false,
        }
    }

    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Whether there is more to be read that has come already: then the broker is to be told of it again.
    pub fn take_left(&mut self) -> bool {
        std::mem::take(&mut self.left)
    }

    /// Each news is to be told from now on.
    pub fn want_edges(&mut self) {
        self.edges = true;
    }

    /// A program has shut the socket down while another of its threads may wait to receive.
    pub fn is_awaited(&mut self) {
        self.awaited = true;
        self.warn();
    }

    /// Wakes whoever waits in vain, once: for `poll` the socket is not readable, so only where somebody may wait.
    fn warn(&mut self) {
        if self.awaited && self.shown.in_vain && !self.shown.readable && self.lying == 0 {
            self.awaited = false;
            self.say();
        }
    }

    /// Shows what a socket is now.
    pub fn show(&mut self, readiness: Readiness) {
        self.shown = readiness;
        // First, so that nobody who wakes sees that there is something to read and not yet that it is the end.
        if readiness.ended && !self.down {
            self.down = true;
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        if readiness.hung_up && !self.hung_up {
            self.hung_up = true;
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        self.warn();
        let edge = readiness.news && self.edges && self.lying < MOST;
        if readiness.readable && (self.lying == 0 || edge) {
            self.say();
        }
        if readiness.writable && self.filled {
            self.filled = false;
            self.drain();
        }
    }

    fn say(&mut self) {
        let next = if self.last == u8::MAX { 1 } else { self.last + 1 };
        if !self.down && self.stream.write(&[next]).is_ok() {
            (self.last, self.lying) = (next, self.lying + 1);
        }
    }

    /// A byte was taken out that said something.
    pub fn say_again(&mut self) {
        self.lying = self.lying.saturating_sub(1);
        if self.shown.readable && self.lying == 0 {
            self.say();
        }
    }

    /// What a reply tells the program's side: how many bytes to take out, and up to which.
    pub fn pull(&mut self) -> (u32, u8) {
        // Of many that lie there one is enough, and leaves room for edges.
        let keep = if !self.shown.readable {
            0
        } else if self.lying > MOST / 2 {
            1
        } else {
            self.lying
        };
        let pull = self.lying - keep.min(self.lying);
        self.lying -= pull;
        // Zero is left out where the count begins anew.
        let upto = (0..self.lying).fold(self.last, |at, _| if at <= 1 { u8::MAX } else { at - 1 });
        (pull, upto)
    }

    /// Whether a byte says no more than that there is something to read.
    pub fn is_plain(&self) -> bool {
        !self.edges && !self.down && self.lying <= 1
    }

    /// What is to be pulled by whoever takes all that is there: the byte that lies there, or will.
    pub fn would_pull(&self) -> (u32, u8) {
        let last = match (self.lying, self.last) {
            (0, u8::MAX) => 1,
            (0, last) => last + 1,
            (_, last) => last,
        };
        (1, last)
    }

    /// A byte was pulled as [`Signal::would_pull`] says.
    pub fn was_pulled(&mut self) {
        self.lying = self.lying.saturating_sub(1);
    }

    /// Whether a reply tells the program's side to fill its end: again if it tried to send, because who was told may
    /// have died.
    pub fn fill(&mut self, tried: bool) -> bool {
        let fill = !self.shown.writable && (!self.filled || tried);
        self.filled |= fill;
        fill
    }

    /// Something came from the program's side, or its end is `closed`, as it seems; says whether it is still there.
    pub fn on_readable(&mut self, socket: SocketId, closed: bool) -> bool {
        if self.hung_up { is_taken(&socket_name(socket)) } else { !closed && (self.filled || self.drain()) }
    }

    fn drain(&mut self) -> bool {
        let mut bytes = [0; 4096];
        for _ in 0..PIECES {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        self.left = true;
        true
    }
}

/// Whether somebody has a name.
fn is_taken(name: &[u8]) -> bool {
    let address = SocketAddr::from_abstract_name(name);
    address.and_then(|address| UnixListener::bind_addr(&address)).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, Signal) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        (theirs, Signal::new(ours, Token(0)))
    }

    const READABLE: Readiness =
        Readiness { readable: true, writable: true, news: true, ended: false, hung_up: false, in_vain: false };

    #[test]
    fn a_byte_is_there_exactly_while_the_socket_is_readable() {
        let (mut theirs, mut signal) = pair();
        let mut bytes = [0; 64];
        for round in 0..600 {
            signal.show(READABLE);
            signal.show(READABLE);
            assert_eq!(signal.pull().0, 0, "{round}");
            signal.show(Readiness { readable: false, ..READABLE });
            let (pull, upto) = signal.pull();
            assert_eq!(theirs.read(&mut bytes).unwrap(), pull as usize, "{round}");
            assert_eq!((pull, bytes[0]), (1, upto), "{round}");
            assert_ne!(upto, 0);
        }
    }

    #[test]
    fn edges_are_told_for_ever_of_a_socket_that_is_never_read_empty() {
        let (mut theirs, mut signal) = pair();
        signal.want_edges();
        for round in 0..600 {
            signal.show(READABLE);
            let (pull, upto) = signal.pull();
            let mut bytes = vec![0; pull as usize];
            theirs.read_exact(&mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| upto.wrapping_sub(*byte) < 128), "{round}: {bytes:?} {upto}");
            assert!((1..=MOST / 2 + 1).contains(&signal.lying), "{round}");
        }
    }

    #[test]
    fn what_was_taken_out_too_early_is_said_again() {
        let (mut theirs, mut signal) = pair();
        signal.show(READABLE);
        let mut byte = [0];
        theirs.read_exact(&mut byte).unwrap();
        signal.say_again();
        let mut again = [0];
        theirs.read_exact(&mut again).unwrap();
        assert_ne!(byte, again);
        signal.show(Readiness { readable: false, ..READABLE });
        signal.pull();
        signal.say_again();
        assert_eq!(theirs.read(&mut byte).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn who_waits_in_vain_is_woken_once() {
        let (mut theirs, mut signal) = pair();
        let in_vain = Readiness { readable: false, in_vain: true, ..READABLE };
        let mut bytes = [0; 64];
        signal.show(in_vain);
        assert_eq!(signal.pull().0, 0, "nobody is known to wait");
        signal.is_awaited();
        assert_eq!(signal.pull().0, 1);
        assert_eq!(theirs.read(&mut bytes).unwrap(), 1);
        signal.show(in_vain);
        assert_eq!(signal.pull().0, 0);
        assert_eq!(theirs.read(&mut bytes).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn the_end_stays_readable() {
        let (mut theirs, mut signal) = pair();
        signal.show(Readiness { ended: true, ..READABLE });
        signal.pull();
        let mut bytes = [0; 64];
        assert_eq!(theirs.read(&mut bytes).unwrap(), 0);
        signal.show(Readiness { ended: true, ..READABLE });
    }

    #[test]
    fn a_filling_is_read_when_the_socket_is_writable_again_even_if_it_comes_late() {
        let (mut theirs, mut signal) = pair();
        signal.show(Readiness { writable: false, ..READABLE });
        assert!(signal.fill(false));
        assert!(!signal.fill(false));
        assert!(signal.fill(true));
        signal.show(READABLE);
        theirs.write_all(&[0; 2048]).unwrap();
        assert!(signal.on_readable(SocketId(7), false));
        let mut rest = [0; 1];
        assert_eq!(signal.stream.read(&mut rest).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(theirs);
        assert!(!signal.on_readable(SocketId(7), false));
    }

    #[test]
    fn what_is_hung_up_is_gone_when_its_name_is_free() {
        let id = SocketId(u64::from(std::process::id()) << 32 | 1);
        let (theirs, mut signal) = pair();
        let named = SocketAddr::from_abstract_name(socket_name(id)).and_then(|name| UnixListener::bind_addr(&name));
        signal.show(Readiness { ended: true, hung_up: true, ..READABLE });
        assert!(signal.on_readable(id, true));
        drop((named, theirs));
        assert!(!signal.on_readable(id, true));
    }
}
