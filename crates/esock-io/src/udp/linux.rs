//! Linux's own calls: each says for itself that it does not wait, and has no more beside the packet than the packet needs.

use super::{RECEIVE_BATCH, RECEIVE_BYTES};
use crate::sys::{self, Control};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};
use socket2::{MsgHdr, SockAddr, SockRef};
use std::io::{self, IoSlice};
use std::mem::zeroed;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Room for addresses, ECN bits and the size of segments.
const CONTROL_BYTES: usize = 128;

/// Sends a packet, or several of one size.
pub(super) fn send(socket: &UdpSocket, packet: &Transmit<'_>) -> io::Result<()> {
    let (socket, destination) = (SockRef::from(socket), SockAddr::from(packet.destination));
    let control = control_of(packet);
    loop {
        let sent = match control.as_bytes() {
            // A call that says nothing else is a cheaper one.
            [] => socket.send_to_with_flags(packet.contents, &destination, libc::MSG_DONTWAIT),
            control => {
                let contents = [IoSlice::new(packet.contents)];
                let message = MsgHdr::new().with_addr(&destination).with_buffers(&contents).with_control(control);
                socket.sendmsg(&message, libc::MSG_DONTWAIT)
            }
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(drop),
        }
    }
}

/// What the host's routes and defaults do not do by themselves.
fn control_of(packet: &Transmit<'_>) -> Control<CONTROL_BYTES> {
    let mut control = Control::new();
    if let Some(ecn) = packet.ecn {
        let (level, kind) = match packet.destination.is_ipv4() {
            true => (libc::IPPROTO_IP, libc::IP_TOS),
            false => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        control.push(level, kind, ecn as libc::c_int);
    }
    if let Some(size) = packet.segment_size.filter(|size| *size < packet.contents.len()) {
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, size as u16);
    }
    match packet.src_ip {
        Some(IpAddr::V4(source)) => {
            let ipi_spec_dst = libc::in_addr { s_addr: u32::from(source).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: libc::in_addr { s_addr: 0 } };
            control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(source)) => {
            let ipi6_addr = libc::in6_addr { s6_addr: source.octets() };
            control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 });
        }
        None => {}
    }
    control
}

/// Receives into up to `COUNT` of the `buffers`, of [`RECEIVE_BYTES`] each. `waits`: if there is nothing, until the first
/// has come, a signal, or the time of the socket is over, where the socket is one that waits.
pub(super) fn receive<const COUNT: usize>(
    socket: &UdpSocket,
    waits: bool,
    buffers: &mut [u8],
    metas: &mut [RecvMeta; RECEIVE_BATCH],
) -> io::Result<usize> {
    // SAFETY: integers and pointers, for which zero and null are valid.
    let (mut names, mut slices, mut headers) = unsafe {
        (zeroed::<[libc::sockaddr_in6; COUNT]>(), zeroed::<[libc::iovec; COUNT]>(), zeroed::<[libc::mmsghdr; COUNT]>())
    };
    let mut controls = [Control::<CONTROL_BYTES>::new(); COUNT];
    let places = names.iter_mut().zip(&mut controls).zip(&mut slices).zip(&mut headers);
    for ((((name, control), slice), header), buffer) in places.zip(buffers.chunks_exact_mut(RECEIVE_BYTES)) {
        sys::aim(&mut header.msg_hdr, name, control, slice, buffer);
    }
    let flags = if waits { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
    let count = loop {
        // SAFETY: the headers point to names, controls and buffers of the lengths given, which live through the call; where
        // there were fewer buffers, their lengths are zero.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), COUNT as libc::c_uint, flags, std::ptr::null_mut())
        };
        match usize::try_from(count) {
            Ok(count) => break count,
            Err(_) => {
                let error = io::Error::last_os_error();
                if waits || error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    for (header, meta) in headers[..count].iter().zip(metas) {
        // SAFETY: the kernel filled this header, and names and controls are still there.
        *meta = unsafe { meta_of(header) };
    }
    Ok(count)
}

/// # Safety
///
/// `header` was filled by a successful receive, and its name and control buffers are still there.
unsafe fn meta_of(header: &libc::mmsghdr) -> RecvMeta {
    let mut meta = RecvMeta::default();
    meta.len = header.msg_len as usize;
    meta.stride = meta.len;
    // SAFETY: the caller vouches for `header`.
    unsafe {
        sys::each_control(&header.msg_hdr, |level, kind, bytes| match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                meta.ecn = sys::read::<u8>(bytes).and_then(EcnCodepoint::from_bits);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                meta.ecn = sys::read::<libc::c_int>(bytes).and_then(|class| EcnCodepoint::from_bits(class as u8));
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let Some(info) = sys::read::<libc::in_pktinfo>(bytes) {
                    meta.dst_ip = Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()));
                    meta.interface_index = Some(info.ipi_ifindex as u32);
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some(info) = sys::read::<libc::in6_pktinfo>(bytes) {
                    meta.dst_ip = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
                    meta.interface_index = Some(info.ipi6_ifindex);
                }
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                if let Some(size) = sys::read::<libc::c_int>(bytes) {
                    meta.stride = size as usize;
                }
            }
            _ => {}
        });
        if let Some((address, port)) = sys::address_at(header.msg_hdr.msg_name.cast_const().cast()) {
            meta.addr = sys::socket_addr(address, port);
        }
    }
    meta
}
