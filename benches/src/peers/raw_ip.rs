//! Raw IP sockets of SCTP's protocol number with `sendmmsg` and `recvmmsg`, and no protocol: what native packets cost at
//! least, for the kernel neither segments nor joins them.

use crate::pattern::Pattern;
use crate::plan::enlarge;
use crate::{Bulk, End, Plan};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// SCTP.
const PROTOCOL: i32 = 132;

/// Packets of a call.
const BATCH: usize = 64;

/// What an IPv4 raw socket puts before each packet.
const HEADER_BYTES: usize = 20;

/// Puts this process into a network namespace of its own, which ends with it: no other process sees the packets, and
/// the host's none.
///
/// # Errors
/// Without the right to (root).
pub fn enter_namespace() -> Result<(), String> {
    // SAFETY: changes the namespace of this thread alone, which is the only one.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(format!("cannot make a network namespace (root can): {}", io::Error::last_os_error()));
    }
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
    up.is_ok_and(|status| status.success()).then_some(()).ok_or_else(|| "`ip` cannot set loopback up".to_owned())
}

/// A socket bound to an address.
fn open(address: Ipv4Addr) -> Result<Socket, String> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)));
    let socket = socket.map_err(|error| format!("raw IP: {error}"))?;
    socket.bind(&SocketAddrV4::new(address, 0).into()).map_err(|error| format!("raw IP: {error}"))?;
    enlarge(&socket);
    Ok(socket)
}

/// One end sends batches of packets as fast as it can, the other counts what arrives.
pub fn bulk(plan: &Plan) -> Result<Bulk, String> {
    let receiver = open(Ipv4Addr::LOCALHOST)?;
    let sender = open(Ipv4Addr::new(127, 0, 0, 2))?;
    sender.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).map_err(|error| error.to_string())?;
    receiver.set_read_timeout(Some(Duration::from_secs(1))).map_err(|error| error.to_string())?;
    let pattern = Pattern::new(plan.packet_bytes);
    let stop = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            plan.cores.pin(End::First);
            // One content for all: which of them are lost cannot be known.
            let mut packets = vec![pattern.message(0).to_vec(); BATCH];
            while !stop.load(Ordering::Relaxed) {
                send(&sender, &mut packets);
            }
        });
        let mut packets = vec![vec![0; plan.packet_bytes + HEADER_BYTES]; BATCH];
        let mut measure_for = |time| {
            let (start, mut bytes) = (Instant::now(), 0);
            while start.elapsed() < time {
                let lengths = receive(&receiver, &mut packets);
                for (packet, len) in packets.iter().zip(lengths) {
                    pattern.check(0, &packet[HEADER_BYTES..len]);
                    bytes += (len - HEADER_BYTES) as u64;
                }
            }
            Bulk { bytes, messages: bytes / plan.packet_bytes as u64, time: start.elapsed() }
        };
        measure_for(plan.warm_up);
        let result = measure_for(plan.measure);
        stop.store(true, Ordering::Relaxed);
        result
    });
    Ok(result)
}

/// The headers of a batch, which point into the packets.
fn headers(packets: &mut [Vec<u8>]) -> (Vec<libc::iovec>, Vec<libc::mmsghdr>) {
    let slice = |packet: &mut Vec<u8>| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
    let mut slices: Vec<libc::iovec> = packets.iter_mut().map(slice).collect();
    let header = |slice: &mut libc::iovec| {
        // SAFETY: a message header is plain integers and pointers, for which zero is valid.
        let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        header.msg_hdr.msg_iov = slice;
        header.msg_hdr.msg_iovlen = 1;
        header
    };
    let headers = slices.iter_mut().map(header).collect();
    (slices, headers)
}

/// Sends a batch; what the kernel has no room for is left out, as it would be on a wire.
fn send(socket: &Socket, packets: &mut [Vec<u8>]) {
    let (_slices, mut headers) = headers(packets);
    // SAFETY: the headers point to slices, and those to packets, which live until the call has returned.
    unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as libc::c_uint, 0) };
}

/// Receives a batch: the lengths of its packets, each with its IP header.
fn receive(socket: &Socket, packets: &mut [Vec<u8>]) -> Vec<usize> {
    let (_slices, mut headers) = headers(packets);
    let (count, flags) = (headers.len() as libc::c_uint, libc::MSG_WAITFORONE);
    // SAFETY: the headers point to slices, and those to packets, which live until the call has returned.
    let count = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
    let count = usize::try_from(count).expect("the sender sends");
    headers[..count].iter().map(|header| header.msg_len as usize).collect()
}
