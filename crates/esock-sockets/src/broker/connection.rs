//! A connection that brings calls, one at a time.

use crate::engine::Reply;
use crate::protocol::{REQUEST_BYTES, ReplyHead, Request};
use bytes::Bytes;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// What a connection has brought.
pub enum Progress {
    /// Nothing, or not all of it.
    Waits,
    /// A call.
    Call(Request, Bytes),
    /// It has ended, or does not keep to the protocol.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    head: [u8; REQUEST_BYTES],
    have: usize,
    request: Option<Request>,
    body: Vec<u8>,
    filled: usize,
    /// Of a reply that did not go at once.
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, head: [0; REQUEST_BYTES], have: 0, request: None, body: Vec::new(), filled: 0, rest: Vec::new() }
    }

    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub fn is_blocked(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Reads on, and writes what is left of the last reply.
    pub fn progress(&mut self) -> Progress {
        if !self.rest.is_empty() && self.write_rest().is_err() {
            return Progress::Ended;
        }
        match self.read() {
            Ok(Some((request, body))) => Progress::Call(request, body),
            Ok(None) => Progress::Waits,
            Err(_) => Progress::Ended,
        }
    }

    fn read(&mut self) -> io::Result<Option<(Request, Bytes)>> {
        let request = match self.request {
            Some(request) => request,
            None => {
                let Self { stream, head, have, .. } = self;
                if !fill(stream, head, have)? {
                    return Ok(None);
                }
                self.have = 0;
                let request = Request::from_bytes(&self.head).map_err(|_| ErrorKind::InvalidData)?;
                self.body = vec![0; request.body as usize];
                self.filled = 0;
                *self.request.insert(request)
            }
        };
        if !fill(&mut self.stream, &mut self.body, &mut self.filled)? {
            return Ok(None);
        }
        self.request = None;
        Ok(Some((request, std::mem::take(&mut self.body).into())))
    }

    /// Answers the last call.
    pub fn answer(&mut self, head: &ReplyHead, reply: &Reply) -> io::Result<()> {
        let head = head.to_bytes();
        let parts: [&[u8]; 4] = [&head, &reply.name, &reply.control, &reply.data];
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let written = loop {
            match self.stream.write_vectored(&parts.map(IoSlice::new)) {
                Ok(written) => break written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                Err(error) => return Err(error),
            }
        };
        if written < all {
            self.rest = parts.concat().split_off(written);
            self.write_rest()?;
        }
        Ok(())
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads until a buffer is full; says whether it is.
fn fill(stream: &mut UnixStream, buffer: &mut [u8], have: &mut usize) -> io::Result<bool> {
    while *have < buffer.len() {
        match stream.read(&mut buffer[*have..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => *have += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
