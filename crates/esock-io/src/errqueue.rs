//! The error queue of a socket: what ICMP, or this host, said about our packets.

use crate::refusal::Drained;
use crate::sys::{self, Control};
use esock_proto::{Icmp, IcmpKind};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;

/// Reports read at once; more are left for the next time, so that a flood of ICMP cannot stop a turn.
const MOST_AT_ONCE: usize = 64;

/// As much of a quoted packet as is looked at.
const QUOTED_BYTES: usize = 256;

/// Asks for reports to be queued.
pub(crate) fn enable(socket: &impl AsRawFd, ipv4: bool) -> io::Result<()> {
    if ipv4 {
        sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// Reads the reports that wait and hands on what ICMP said.
///
/// `encapsulated` says whether the socket is a UDP one.
pub(crate) fn drain(socket: &impl AsRawFd, encapsulated: bool, report: &mut dyn FnMut(Icmp<'_>)) -> Drained {
    let mut drained = Drained::default();
    for _ in 0..MOST_AT_ONCE {
        let mut quoted = [0u8; QUOTED_BYTES];
        // SAFETY: plain integers, for which zero is valid.
        let mut name: libc::sockaddr_storage = unsafe { zeroed() };
        let mut control = Control::<256>::new();
        let mut slice = libc::iovec { iov_base: quoted.as_mut_ptr().cast(), iov_len: quoted.len() };
        // SAFETY: integers and pointers, for which zero and null are valid.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as _;
        header.msg_iov = &raw mut slice;
        header.msg_iovlen = 1;
        let (pointer, len) = control.as_received();
        header.msg_control = pointer;
        header.msg_controllen = len as _;
        // SAFETY: all buffers named by `header` live through the call and have the lengths given.
        let got =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        let Ok(got) = usize::try_from(got) else {
            drained.empty = true;
            break;
        };
        let mut found = None;
        // SAFETY: `header` was filled by the call above, and `control` is still there.
        unsafe {
            sys::each_control(&header, |level, kind, bytes| {
                let is_report = (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR)
                    || (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
                if is_report {
                    found = sys::read::<libc::sock_extended_err>(bytes);
                }
            });
        }
        let Some(error) = found else { continue };
        if error.ee_origin == libc::SO_EE_ORIGIN_LOCAL {
            if error.ee_errno == libc::EMSGSIZE as u32 {
                drained.mtu = Some(error.ee_info);
            }
            continue;
        }
        // SAFETY: the kernel wrote the destination of our packet into `name`; if it did not, the
        // family is zero and nothing more is read.
        let destination = unsafe { sys::address_at((&raw const name).cast()) };
        if let (Some(kind), Some((remote, port))) = (kind_of(&error), destination) {
            let encap_port = encapsulated.then_some(port);
            report(Icmp { kind, remote, encap_port, quoted: &quoted[..got.min(QUOTED_BYTES)] });
        }
    }
    drained
}

/// What a report means to us; `None` for those that mean nothing (RFC 9260 §10).
fn kind_of(error: &libc::sock_extended_err) -> Option<IcmpKind> {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 3, 2) => Some(IcmpKind::ProtocolUnreachable),
        (libc::SO_EE_ORIGIN_ICMP, 3, 3) => Some(IcmpKind::PortUnreachable),
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) => Some(IcmpKind::PacketTooBig(error.ee_info)),
        (libc::SO_EE_ORIGIN_ICMP, 3, _) => Some(IcmpKind::HostUnreachable),
        (libc::SO_EE_ORIGIN_ICMP6, 1, 4) => Some(IcmpKind::PortUnreachable),
        (libc::SO_EE_ORIGIN_ICMP6, 1, _) => Some(IcmpKind::HostUnreachable),
        (libc::SO_EE_ORIGIN_ICMP6, 2, _) => Some(IcmpKind::PacketTooBig(error.ee_info)),
        // Parameter Problem, unrecognized Next Header: RFC 6951 §5.5 equates it with Protocol Unreachable.
        (libc::SO_EE_ORIGIN_ICMP6, 4, 1) => Some(IcmpKind::ProtocolUnreachable),
        _ => None,
    }
}
