//! A connection that brings calls, one at a time: its program is our user's or root's, or has shown the key.
//!
//! The data of large messages lie in memory that the program shares with us, if it has passed any on with its first
//! call. A program may write anything there at any time: what is there is copied once, and then is a body as any other.

use crate::engine::Reply;
use crate::protocol::{FRONT, MAX_CONTROL, Op, REQUEST_BYTES, ReplyHead, Request, SHARED_BYTES, SHARED_FROM};
use bytes::Bytes;
use esock_io::SharedMemory;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Room for a call that comes whole, as nearly all do.
pub const SCRATCH: usize = 128 << 10;

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
    /// What its program shares with us.
    pub memory: Option<SharedMemory>,
    /// Something has come: memory comes with the first bytes.
    greeted: bool,
    /// Of a call that has not come whole.
    begun: Vec<u8>,
    /// Of a reply that did not go at once.
    rest: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, memory: None, greeted: false, begun: Vec::new(), rest: Vec::new() }
    }

    pub fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub fn is_blocked(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Reads on, and writes what is left of the last reply.
    pub fn progress(&mut self, scratch: &mut [u8]) -> Progress {
        if !self.rest.is_empty() && self.write_rest().is_err() {
            return Progress::Ended;
        }
        match self.read(scratch) {
            Ok(Some((request, body))) => Progress::Call(request, body),
            Ok(None) => Progress::Waits,
            Err(_) => Progress::Ended,
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<(Request, Bytes)>> {
        loop {
            let read = match self.receive(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => &scratch[..read],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            if self.begun.is_empty()
                && let Some((request, length)) = whole(read)?
            {
                // Nothing follows before it is answered, so that there is nothing more to be read now.
                return match read.len() == length {
                    true => self.with_data(request, &read[REQUEST_BYTES..]).map(Some),
                    false => Err(ErrorKind::InvalidData.into()),
                };
            }
            if self.begun.is_empty()
                && let Some(head) = read.first_chunk()
            {
                self.begun.reserve_exact(REQUEST_BYTES + parse(head)?.body as usize);
            }
            self.begun.extend_from_slice(read);
            if let Some((request, length)) = whole(&self.begun)? {
                if self.begun.len() != length {
                    return Err(ErrorKind::InvalidData.into());
                }
                let all = Bytes::from(std::mem::take(&mut self.begun));
                return match request.shared {
                    0 => Ok(Some((request, all.slice(REQUEST_BYTES..)))),
                    _ => self.with_data(request, &all[REQUEST_BYTES..]).map(Some),
                };
            }
        }
    }

    fn receive(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        if self.greeted {
            return self.stream.read(scratch);
        }
        let (got, memory) = esock_io::receive_with_memory(&self.stream, scratch)?;
        (self.greeted, self.memory) = (true, memory);
        Ok(got)
    }

    /// A call with all of its body: what came here, and what lies in shared memory.
    fn with_data(&self, request: Request, body: &[u8]) -> io::Result<(Request, Bytes)> {
        let shared = request.shared as usize;
        if shared == 0 {
            return Ok((request, Bytes::copy_from_slice(body)));
        }
        let memory = self.memory.as_ref().filter(|memory| shared <= memory.length()).ok_or(ErrorKind::InvalidData)?;
        let mut all = Vec::with_capacity(body.len() + shared);
        all.extend_from_slice(body);
        memory.read(shared, &mut all).ok_or(ErrorKind::InvalidData)?;
        Ok((request, Bytes::from(all)))
    }

    /// Answers the last call.
    pub fn answer(&mut self, op: Op, head: &ReplyHead, reply: &Reply) -> io::Result<()> {
        let mut front = [0; FRONT];
        let (name, control): (&[u8], &[u8]) = if op == Op::Recv && head.body > 0 {
            let (first, second) = front.split_at_mut(FRONT - MAX_CONTROL);
            first[..head.name as usize].copy_from_slice(&reply.name[..head.name as usize]);
            second[..head.control as usize].copy_from_slice(&reply.control[..head.control as usize]);
            (&front, &[])
        } else {
            (&reply.name, &reply.control)
        };
        let (shared, data) = self.share(op, &reply.data);
        let head = ReplyHead { shared, body: head.body - shared, ..*head }.to_bytes();
        let parts: [&[u8]; 4] = [&head, name, control, data];
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

    /// Puts data of a reply into shared memory, if they are many and have room there: how many, and what is left.
    fn share<'a>(&mut self, op: Op, data: &'a [u8]) -> (u32, &'a [u8]) {
        if op != Op::Recv || !(SHARED_FROM..=SHARED_BYTES).contains(&data.len()) {
            return (0, data);
        }
        match self.memory.as_mut().and_then(|memory| memory.write(data)) {
            Some(()) => (data.len() as u32, &[]),
            None => (0, data),
        }
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

fn parse(head: &[u8; REQUEST_BYTES]) -> io::Result<Request> {
    Request::from_bytes(head).map_err(|_| ErrorKind::InvalidData.into())
}

/// The request that bytes are, and its length, if it is all there.
fn whole(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let Some(head) = bytes.first_chunk() else { return Ok(None) };
    let request = parse(head)?;
    let length = REQUEST_BYTES + request.body as usize;
    Ok((bytes.len() >= length).then_some((request, length)))
}
