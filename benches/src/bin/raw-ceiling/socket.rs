//! Raw IP sockets with `sendmmsg` and `recvmmsg`: what esock's raw backend uses.

use crate::network::{Network, PROTOCOL};
use crate::{BATCH, Receiver, Sender};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Room for a packet of any size.
const ROOM: usize = 1 << 16;

/// A raw IP socket.
pub fn raw() -> Result<Socket, String> {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL)))).map_err(|error| error.to_string())
}

/// One that is connected to the destination.
pub fn connected(network: &Network) -> Result<Socket, String> {
    let socket = raw()?;
    let to = SocketAddrV4::new(network.destination, 0);
    socket.connect(&to.into()).map_err(|error| format!("connect to {to}: {error}"))?;
    Ok(socket)
}

/// Messages for one call, with their buffers.
pub struct Messages {
    _buffers: Vec<Vec<u8>>,
    _slices: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Messages {
    /// A batch of buffers of one content.
    pub fn new(content: &[u8]) -> Self {
        let mut buffers = vec![content.to_vec(); BATCH];
        let slice = |buffer: &mut Vec<u8>| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut slices: Vec<_> = buffers.iter_mut().map(slice).collect();
        let header = |slice: &mut libc::iovec| {
            // SAFETY: a message header is plain integers and pointers, for which zero is valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            (header.msg_hdr.msg_iov, header.msg_hdr.msg_iovlen) = (slice, 1);
            header
        };
        let headers = slices.iter_mut().map(header).collect();
        Self { _buffers: buffers, _slices: slices, headers }
    }

    /// Sends all, as far as there is room.
    pub fn send(&mut self, socket: &Socket) {
        // SAFETY: the headers point to slices, and those to buffers, which live and stay where they are.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), BATCH as libc::c_uint, 0) };
    }

    /// Receives what is there, waiting for the first; says how many came.
    fn receive(&mut self, socket: &Socket) -> u64 {
        let (count, flags) = (BATCH as libc::c_uint, libc::MSG_WAITFORONE);
        // SAFETY: the headers point to slices, and those to buffers, which live and stay where they are.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, flags, std::ptr::null_mut())
        };
        u64::try_from(count).unwrap_or(0)
    }
}

pub struct RawSender {
    socket: Socket,
    messages: Messages,
}

impl RawSender {
    pub fn new(bytes: usize, network: &Network) -> Result<Self, String> {
        Ok(Self { socket: connected(network)?, messages: Messages::new(&vec![0; bytes]) })
    }
}

impl Sender for RawSender {
    fn send(&mut self) {
        self.messages.send(&self.socket);
    }
}

pub struct RawReceiver {
    socket: Socket,
    messages: Messages,
}

impl RawReceiver {
    pub fn new() -> Result<Self, String> {
        let socket = raw()?;
        esock_benches::plan::enlarge(&socket);
        socket.set_read_timeout(Some(Duration::from_millis(20))).map_err(|error| error.to_string())?;
        Ok(Self { socket, messages: Messages::new(&vec![0; ROOM]) })
    }
}

impl Receiver for RawReceiver {
    fn receive(&mut self) -> u64 {
        self.messages.receive(&self.socket)
    }
}
