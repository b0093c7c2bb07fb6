//! Two namespaces, a veth pair between them, and packets for it.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

/// SCTP.
pub const PROTOCOL: u8 = 132;

/// Bytes of an Ethernet header, and of an IPv4 header without options.
pub const ETHERNET: usize = 14;
pub const IP: usize = 20;

/// The sender's address, and the receiver's.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Behind the receiver's link, and nobody's: who reads the link itself has the packets, its namespace drops them.
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
/// Behind a TUN device that the receiver reads.
pub const BEHIND_TUN: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);

/// See the module.
pub struct Network {
    sender: File,
    receiver: File,
    /// Where the sender sends to.
    pub destination: Ipv4Addr,
}

impl Network {
    /// Links that let packets of so many bytes pass, headers of IP excluded; the receiver says where packets go.
    pub fn new(bytes: usize, receiver: &str) -> Result<Self, String> {
        let destination = match receiver {
            "packet-ring" => BEHIND,
            "tun" => BEHIND_TUN,
            _ => RECEIVER,
        };
        let network = Self { sender: namespace()?, receiver: namespace()?, destination };
        let (mtu, target) = (bytes + IP, format!("/proc/{}/fd/{}", std::process::id(), network.receiver.as_raw_fd()));
        network.at_sender(|| {
            ip(&format!("link add left mtu {mtu} address 02:00:00:00:00:0a type veth peer name right"))?;
            ip(&format!("link set right mtu {mtu} address 02:00:00:00:00:0b netns {target}"))?;
            ip(&format!("address add {SENDER}/24 dev left"))?;
            ip("link set left up")?;
            ip(&format!("neighbour add {RECEIVER} lladdr 02:00:00:00:00:0b dev left"))?;
            ip(&format!("neighbour add {BEHIND} lladdr 02:00:00:00:00:0b dev left"))
        })?;
        network.at_receiver(|| {
            ip("link set lo up")?;
            ip(&format!("address add {RECEIVER}/24 dev right"))?;
            ip("link set right up")
        })?;
        Ok(network)
    }

    /// Calls with this thread in the sender's namespace, where it stays.
    pub fn at_sender<T>(&self, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        enter(&self.sender)?;
        call()
    }

    /// The same in the receiver's.
    pub fn at_receiver<T>(&self, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        enter(&self.receiver)?;
        call()
    }

    /// A packet with its Ethernet header, as the sender's link takes it.
    pub fn frame(&self, bytes: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 8, 0];
        frame.extend(packet(SENDER, self.destination, bytes));
        frame
    }
}

/// A packet of so many bytes with an IPv4 header (RFC 791 §3.1) before them.
pub fn packet(from: Ipv4Addr, to: Ipv4Addr, bytes: usize) -> Vec<u8> {
    let total = u16::try_from(bytes + IP).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, PROTOCOL, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header.resize(IP + bytes, 0);
    header
}

/// A new network namespace, which this thread is in from now on.
fn namespace() -> Result<File, String> {
    // SAFETY: changes the namespace of this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("cannot make a network namespace (root can): {}", io::Error::last_os_error()));
    }
    File::open("/proc/thread-self/ns/net").map_err(|error| format!("/proc/thread-self/ns/net: {error}"))
}

fn enter(namespace: &File) -> Result<(), String> {
    // SAFETY: changes the namespace of this thread alone.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(format!("setns: {}", io::Error::last_os_error())),
    }
}

/// Runs `ip` where this thread is.
pub fn ip(words: &str) -> Result<(), String> {
    let status = Command::new("ip").args(words.split(' ')).status().map_err(|error| format!("ip: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("ip {words}: {status}")) }
}
