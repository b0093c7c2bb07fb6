//! The broker's end of a socket's connection: it makes the program's end readable and writable.
//!
//! A byte that lies at the program's end makes it readable; the program's side takes it out when a reply says so.
//! Bytes that the program's side has written and nobody reads make its end not writable; they are read when it is to
//! be writable again.

use crate::engine::Readiness;
use mio::Token;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// Bytes that lie at a program's end at most: one for each edge, which nobody may be waiting for.
const MOST: u32 = 16;

/// See the module.
#[derive(Debug)]
pub struct Signal {
    stream: UnixStream,
    pub token: Token,
    shown: Readiness,
    /// Bytes at the program's end.
    lying: u32,
    /// The program's side was told to fill its end.
    filled: bool,
}

impl Signal {
    pub fn new(stream: UnixStream, token: Token) -> Self {
        Self { stream, token, shown: Readiness { writable: true, ..Readiness::default() }, lying: 0, filled: false }
    }

    /// Shows what a socket is now.
    pub fn show(&mut self, readiness: Readiness) {
        self.shown = readiness;
        let edge = readiness.news && self.lying < MOST;
        if readiness.readable && (self.lying == 0 || edge) && self.stream.write(&[1]).is_ok() {
            self.lying += 1;
        }
        if readiness.writable && self.filled {
            self.filled = false;
            self.drain();
        }
    }

    /// What a reply tells the program's side: bytes to take out, and whether to fill its end.
    pub fn settle(&mut self) -> (u32, bool) {
        let pull = if self.shown.readable { 0 } else { std::mem::take(&mut self.lying) };
        let fill = !self.shown.writable && !self.filled;
        self.filled |= fill;
        (pull, fill)
    }

    /// The program's side sees `seen` bytes at its end. Those that we do not know of were meant to be taken out by
    /// somebody who died.
    pub fn recount(&mut self, seen: i32) -> u32 {
        u32::try_from(seen).unwrap_or(0).saturating_sub(self.lying)
    }

    /// Something came from the program's side; says whether its end is still there.
    pub fn on_readable(&mut self) -> bool {
        if self.filled { true } else { self.drain() }
    }

    fn drain(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
