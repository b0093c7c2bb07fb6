//! Packet sockets (AF_PACKET), which go to the link without IP and without a queueing discipline.

use crate::Sender;
use crate::network::Network;
use crate::socket::Messages;
use socket2::{Domain, Socket, Type};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Sets an option of a packet socket.
pub fn set<T>(fd: RawFd, option: libc::c_int, value: &T) -> Result<(), String> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the option's value is `len` bytes at `value`, which the call reads.
    match unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, std::ptr::from_ref(value).cast(), len) } {
        0 => Ok(()),
        _ => Err(format!("option {option} of a packet socket: {}", io::Error::last_os_error())),
    }
}

/// A packet socket on a link. It receives this Ethernet type, or nothing.
pub fn open(link: &str, ethertype: Option<u16>) -> Result<Socket, String> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(|error| error.to_string())?;
    let name = CString::new(link).map_err(|error| error.to_string())?;
    // SAFETY: an address is plain integers, for which zero is valid; the name ends with a zero.
    let (mut address, index) =
        unsafe { (std::mem::zeroed::<libc::sockaddr_ll>(), libc::if_nametoindex(name.as_ptr())) };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ethertype.unwrap_or(0).to_be();
    address.sll_ifindex = index.cast_signed();
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the call reads `len` bytes at `address`.
    match unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) } {
        0 => Ok(socket),
        _ => Err(format!("a packet socket on {link}: {}", io::Error::last_os_error())),
    }
}

pub struct PacketSender {
    socket: Socket,
    messages: Messages,
}

impl PacketSender {
    pub fn new(bytes: usize, network: &Network) -> Result<Self, String> {
        let socket = open("left", None)?;
        set(socket.as_raw_fd(), libc::PACKET_QDISC_BYPASS, &1i32)?;
        Ok(Self { socket, messages: Messages::new(&network.frame(bytes)) })
    }
}

impl Sender for PacketSender {
    fn send(&mut self) {
        self.messages.send(&self.socket);
    }
}
