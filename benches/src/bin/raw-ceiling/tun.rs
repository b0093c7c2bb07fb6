//! A TUN device: packets are written to it and read from it one by one, without a socket.

use crate::network::{BEHIND_TUN, IP, Network, PROTOCOL, ip, packet};
use crate::{BATCH, Receiver, Sender, socket};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The host's address at the device.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);

/// `TUNSETIFF` of `<linux/if_tun.h>`.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// Packets that are written as one.
const CUT: usize = 8;

/// A device in this thread's namespace.
fn device(mtu: usize, flags: libc::c_int) -> Result<File, String> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let file = file.map_err(|error| format!("/dev/net/tun: {error}"))?;
    // SAFETY: a request is plain bytes and a union of integers, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"wire") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | flags) as libc::c_short;
    // SAFETY: the call reads and writes `request`.
    if unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } != 0 {
        return Err(format!("a TUN device: {}", io::Error::last_os_error()));
    }
    ip(&format!("link set wire mtu {mtu} up"))?;
    ip(&format!("address add {HOST}/24 dev wire"))?;
    Ok(file)
}

/// What becomes of one large packet that is to be cut into several, by virtio-net's kinds of segmentation.
pub fn offloads() -> Result<String, String> {
    let network = Network::new(1400, "raw")?;
    let (mut file, socket) = network.at_receiver(|| Ok((device(1420, libc::IFF_VNET_HDR)?, socket::raw()?)))?;
    socket.set_read_timeout(Some(Duration::from_millis(20))).map_err(|error| error.to_string())?;
    let mut buffer = vec![0; 1 << 16];
    let kinds = [(1u8, "TCP over IPv4"), (3, "UDP fragments"), (4, "TCP over IPv6"), (5, "UDP datagrams")];
    let found = kinds.map(|(kind, name)| {
        let mut header = vec![1, kind, 40, 0, 0x78, 5, 20, 0, 6, 0];
        header.extend(packet(BEHIND_TUN, HOST, CUT * 1400));
        if let Err(error) = file.write(&header) {
            return format!("{name}: {error}");
        }
        let lengths: Vec<String> =
            std::iter::from_fn(|| (&socket).read(&mut buffer).ok()).map(|len| (len - IP).to_string()).collect();
        format!("{name}: arrives as {}", if lengths.is_empty() { "nothing".to_owned() } else { lengths.join(" + ") })
    });
    let bytes = CUT * 1400;
    Ok(format!(
        "{bytes} bytes of protocol {PROTOCOL} written to a TUN device, to be cut like {}",
        found.join("; like ")
    ))
}

pub struct TunSender {
    file: File,
    packet: Vec<u8>,
}

impl TunSender {
    pub fn new(bytes: usize) -> Result<Self, String> {
        let packet = packet(BEHIND_TUN, HOST, bytes);
        Ok(Self { file: device(packet.len(), 0)?, packet })
    }
}

impl Sender for TunSender {
    fn send(&mut self) {
        for _ in 0..BATCH {
            let _ = self.file.write(&self.packet);
        }
    }
}

pub struct TunReceiver {
    file: File,
    buffer: Vec<u8>,
}

impl TunReceiver {
    /// In the sender's namespace: what it sends goes into the device.
    pub fn new(network: &Network) -> Result<Self, String> {
        let file = network.at_sender(|| device(9020, 0))?;
        // SAFETY: sets a flag of a descriptor that is ours.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        Ok(Self { file, buffer: vec![0; 1 << 16] })
    }
}

impl Receiver for TunReceiver {
    fn receive(&mut self) -> u64 {
        let mut packets = 0;
        for _ in 0..BATCH {
            match self.file.read(&mut self.buffer) {
                Ok(_) => packets += u64::from(self.buffer[9] == PROTOCOL),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut poll = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                    // SAFETY: one entry, which lives until the call has returned.
                    unsafe { libc::poll(&raw mut poll, 1, 20) };
                    break;
                }
                Err(_) => break,
            }
        }
        packets
    }
}
