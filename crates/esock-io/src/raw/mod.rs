//! Native SCTP: raw IP sockets of protocol 132, one bound to the wildcard or to one address of one family.

mod claim;
mod filter;
mod kernel;
mod ports;

#[cfg(test)]
pub(crate) use claim::Claim;
pub(crate) use claim::Claims;
pub(crate) use kernel::kernel_sctp;
pub(crate) use ports::Ports;

use crate::errqueue;
use crate::refusal::{RETRIES, Refusal, Tries};
use crate::sockets::{Received, Sent, told};
use crate::sys::{self, Control};
use esock_proto::{Address, Datagram, Ecn, Icmp, IcmpKind, Local, Shard, SocketId, Transmit};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};

/// The IP protocol number of SCTP.
const PROTOCOL: i32 = 132;

/// The largest packet, IP header included.
pub(crate) const RECEIVE_BYTES: usize = 1 << 16;

/// Receive buffers per call.
pub(crate) const RECEIVE_BATCH: usize = 32;

/// Packets per send call.
const SEND_BATCH: usize = 64;

/// Room for the address and interface, the traffic class, and alignment.
const CONTROL_BYTES: usize = 128;

/// A raw IP socket.
#[derive(Debug)]
pub(crate) struct RawSocket {
    id: SocketId,
    socket: Socket,
    bound: Address,
    /// Of which of several shards' packets it receives the part.
    shard: Shard,
}

/// How one send call ended: so many packets left, then this.
enum Attempt {
    Sent(usize),
    Blocked,
    Refused(Refusal),
}

impl RawSocket {
    /// Opens a socket that receives nothing until [`RawSocket::set_ports`].
    pub(crate) fn open(
        id: SocketId,
        address: Address,
        shard: Shard,
        (receive_buffer_bytes, send_buffer_bytes): (usize, usize),
    ) -> io::Result<Self> {
        let ipv4 = address.is_ipv4();
        let domain = if ipv4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(PROTOCOL)))?;
        filter::attach(&socket, ipv4, Some(&BTreeSet::new()), shard)?;
        socket.set_nonblocking(true)?;
        sys::set_buffers(&socket, receive_buffer_bytes, send_buffer_bytes);
        errqueue::enable(&socket, ipv4)?;
        sys::set_dont_fragment(&socket, ipv4, true)?;
        if ipv4 {
            sys::set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        } else {
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        }
        if !address.is_unspecified() {
            socket.bind(&sys::socket_addr(address, 0).into())?;
        }
        Ok(Self { id, socket, bound: address, shard })
    }

    /// From now on receives packets to these SCTP ports only; to any, if there are none named.
    pub(crate) fn set_ports(&self, ports: Option<&BTreeSet<u16>>) -> io::Result<()> {
        filter::attach(&self.socket, self.bound.is_ipv4(), ports, self.shard)
    }

    /// Whether packets from `local` to `remote` can leave here.
    pub(crate) fn serves(&self, local: Option<Address>, remote: Address) -> bool {
        self.bound.is_ipv4() == remote.is_ipv4()
            && (self.bound.is_unspecified() || local.is_none_or(|local| local == self.bound))
    }

    /// Sends packets: all of one path, cut every `segment_size` bytes of `data`.
    pub(crate) fn send(&mut self, transmit: &Transmit, data: &[u8], report: &mut dyn FnMut(Icmp<'_>)) -> Sent {
        let segment_size = transmit.segment_size.unwrap_or(data.len()).max(1);
        let mut sent = Sent::default();
        while sent.bytes < data.len() {
            let rest = &data[sent.bytes..];
            let first = &rest[..rest.len().min(segment_size)];
            match self.attempt(transmit, rest, segment_size, report) {
                Attempt::Sent(packets) => {
                    sent.calls += 1;
                    sent.bytes += (packets * segment_size).min(rest.len());
                    continue;
                }
                Attempt::Blocked => {
                    sent.blocked = true;
                    return sent;
                }
                Attempt::Refused(Refusal::TooLarge(Some(mtu))) => {
                    report(told(transmit, IcmpKind::PacketTooBig(mtu), first));
                }
                Attempt::Refused(Refusal::Unreachable) => report(told(transmit, IcmpKind::HostUnreachable, first)),
                Attempt::Refused(Refusal::TooLarge(None) | Refusal::Dropped) => {}
            }
            sent.dropped += 1;
            sent.bytes += first.len();
        }
        sent
    }

    /// One batch, begun again where the call returned a report about another packet.
    fn attempt(
        &self,
        transmit: &Transmit,
        data: &[u8],
        segment_size: usize,
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> Attempt {
        let mut tries = Tries::new();
        loop {
            let error = match self.call(transmit, data, segment_size) {
                Ok(packets) => return Attempt::Sent(packets),
                Err(error) => error,
            };
            if sys::would_block(&error) {
                return Attempt::Blocked;
            }
            if sys::is_icmp_report(&error) {
                match tries.failed(&error, errqueue::drain(&self.socket, false, report)) {
                    Some(refusal) => return Attempt::Refused(refusal),
                    None => continue,
                }
            }
            return match error.raw_os_error() {
                Some(libc::ENOBUFS) if self.is_full() => Attempt::Blocked,
                // It may have been full a moment ago.
                Some(libc::ENOBUFS) if tries.again() => continue,
                // The source address, or the interface, is gone.
                Some(libc::EINVAL | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENETDOWN) => {
                    Attempt::Refused(Refusal::Unreachable)
                }
                _ => Attempt::Refused(Refusal::Dropped),
            };
        }
    }

    /// Whether the send buffer is why a call said ENOBUFS. A raw socket says so where others say EAGAIN,
    /// and just as well where a queue behind it dropped the packet. Full, it is not writable before
    /// half its buffer is free again.
    fn is_full(&self) -> bool {
        let mut queued: libc::c_int = 0;
        // SAFETY: the request writes one integer, to `queued`.
        let code = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
        let queued = usize::try_from(queued).unwrap_or(0);
        code == 0 && self.socket.send_buffer_size().is_ok_and(|size| queued >= size / 2)
    }

    /// One call. The kernel takes don't-fragment per socket and not per packet, so the rare packet
    /// that may be fragmented changes the option for the time of its call.
    fn call(&self, transmit: &Transmit, data: &[u8], segment_size: usize) -> io::Result<usize> {
        if transmit.dont_fragment {
            return self.send_batch(transmit, data, segment_size);
        }
        let ipv4 = self.bound.is_ipv4();
        sys::set_dont_fragment(&self.socket, ipv4, false)?;
        let result = self.send_batch(transmit, data, segment_size);
        sys::set_dont_fragment(&self.socket, ipv4, true)?;
        result
    }

    /// `sendmmsg` of the first segments of `data`; returns how many packets left.
    fn send_batch(&self, transmit: &Transmit, data: &[u8], segment_size: usize) -> io::Result<usize> {
        // A raw socket's port is the protocol, and 0 means that of the socket.
        let destination = SockAddr::from(sys::socket_addr(transmit.remote, 0));
        let mut control = control_of(transmit);
        let (control, control_len) = control.as_sent();
        // SAFETY: pointers and integers, for which null and zero are valid.
        let (mut slices, mut headers) =
            unsafe { (zeroed::<[libc::iovec; SEND_BATCH]>(), zeroed::<[libc::mmsghdr; SEND_BATCH]>()) };
        let mut count = 0;
        for ((segment, slice), header) in data.chunks(segment_size).zip(&mut slices).zip(&mut headers) {
            slice.iov_base = segment.as_ptr().cast_mut().cast();
            slice.iov_len = segment.len();
            let header = &mut header.msg_hdr;
            header.msg_name = destination.as_ptr().cast_mut().cast();
            header.msg_namelen = destination.len();
            header.msg_iov = slice;
            header.msg_iovlen = 1;
            header.msg_control = control;
            header.msg_controllen = control_len as _;
            count += 1;
        }
        loop {
            // SAFETY: `count` headers are filled; the name, the control messages and the segments that they
            // point to live through the call, and sending writes to none of them.
            let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
            match usize::try_from(sent) {
                Ok(sent) => return Ok(sent),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Receives a batch into `buffers`, which holds [`RECEIVE_BATCH`] times [`RECEIVE_BYTES`]. Not `watched`,
    /// the result says `more` even where only a report about a packet of ours hides that there is.
    /// Packets to other ports than `ports` are dropped here: they waited since before the filter changed.
    pub(crate) fn receive(
        &self,
        buffers: &mut [u8],
        ports: &Ports,
        watched: bool,
        deliver: &mut impl FnMut(Datagram<'_>),
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> io::Result<Received> {
        // SAFETY: integers and pointers, for which zero and null are valid.
        let mut names: [libc::sockaddr_storage; RECEIVE_BATCH] = unsafe { zeroed() };
        let mut controls = [Control::<CONTROL_BYTES>::new(); RECEIVE_BATCH];
        // SAFETY: as above.
        let mut slices: [libc::iovec; RECEIVE_BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; RECEIVE_BATCH] = unsafe { zeroed() };
        let places = names.iter_mut().zip(&mut controls).zip(&mut slices).zip(&mut headers);
        for ((((name, control), slice), header), buffer) in places.zip(buffers.chunks_exact_mut(RECEIVE_BYTES)) {
            sys::aim(&mut header.msg_hdr, name, control, slice, buffer);
        }
        let (count, more) = self.receive_batch(&mut headers, watched, report)?;
        let mut packets = 0;
        for (header, buffer) in headers[..count].iter().zip(buffers.chunks_exact(RECEIVE_BYTES)) {
            let data = &buffer[..(header.msg_len as usize).min(RECEIVE_BYTES)];
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            // SAFETY: the kernel filled this header, and `controls` and `names` are still there.
            let meta = unsafe { Meta::of(&header.msg_hdr) };
            let Some(datagram) = self.datagram(data, &meta) else { continue };
            if ports.is_ours(datagram.data) {
                packets += 1;
                deliver(datagram);
            }
        }
        Ok(Received { packets, more })
    }

    /// `recvmmsg`: how many packets came, and whether there may be more.
    fn receive_batch(
        &self,
        headers: &mut [libc::mmsghdr; RECEIVE_BATCH],
        watched: bool,
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> io::Result<(usize, bool)> {
        let mut retries = RETRIES;
        loop {
            // SAFETY: the headers point to buffers of the lengths given, which the caller keeps.
            let count = unsafe {
                libc::recvmmsg(
                    self.socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    RECEIVE_BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    std::ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                return Ok((count, count == RECEIVE_BATCH || (!watched && self.was_cut_short(report))));
            }
            let error = io::Error::last_os_error();
            if sys::would_block(&error) {
                return Ok((0, false));
            } else if sys::ends_socket(&error) {
                return Err(error);
            } else if error.kind() != io::ErrorKind::Interrupted {
                errqueue::drain(&self.socket, false, report);
                if retries == 0 {
                    return Ok((0, true));
                }
                retries -= 1;
            }
        }
    }

    /// Whether a batch ended with a report about a packet of ours instead of with the last packet: the kernel
    /// keeps the report for the next call, and nothing else would say that packets wait behind it.
    fn was_cut_short(&self, report: &mut dyn FnMut(Icmp<'_>)) -> bool {
        let cut = self.socket.take_error().is_ok_and(|error| error.is_some());
        if cut {
            errqueue::drain(&self.socket, false, report);
        }
        cut
    }

    /// The SCTP packet in what was received; `None` where it is none that may be answered
    /// (RFC 9260 §8.4 rule 1: not unicast).
    fn datagram<'a>(&self, data: &'a [u8], meta: &Meta) -> Option<Datagram<'a>> {
        let (mut address, mut traffic_class, mut payload) = (meta.destination, meta.traffic_class, data);
        if self.bound.is_ipv4() {
            let header = Ipv4Header::parse(data)?;
            address = Some(header.destination);
            traffic_class = header.traffic_class;
            payload = header.payload;
        }
        let address = address.filter(|address| address.is_usable_peer())?;
        let remote = meta.source.filter(|source| source.is_usable_peer())?;
        Some(Datagram {
            local: Local { address: Some(address), socket: Some(self.id), interface: meta.interface },
            remote,
            encap_port: None,
            ecn: Ecn::from_bits(traffic_class),
            data: payload,
        })
    }

    /// Reads the error queue.
    pub(crate) fn drain_errors(&self, report: &mut dyn FnMut(Icmp<'_>)) {
        errqueue::drain(&self.socket, false, report);
    }
}

impl AsRawFd for RawSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The control messages that a send needs: its source address, and its ECN bits.
fn control_of(transmit: &Transmit) -> Control<CONTROL_BYTES> {
    let mut control = Control::new();
    let ecn = libc::c_int::from(sys::ecn_bits(transmit.ecn));
    let local = transmit.local.address.filter(|local| !local.is_unspecified());
    // Only link-local destinations need an interface; for others the host's routes decide, which may
    // have changed since the peer's packet came in.
    let interface = match transmit.remote.scope() {
        esock_proto::AddressScope::Link if transmit.remote.scope_id() != 0 => transmit.remote.scope_id(),
        esock_proto::AddressScope::Link => transmit.local.interface,
        _ => 0,
    };
    if transmit.remote.is_ipv4() {
        control.push(libc::IPPROTO_IP, libc::IP_TOS, ecn);
        let source = match local.map(Address::ip) {
            Some(std::net::IpAddr::V4(source)) => source,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        if !source.is_unspecified() || interface != 0 {
            control.push(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: interface as libc::c_int,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            );
        }
    } else {
        control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, ecn);
        if let Some(std::net::IpAddr::V6(source)) = local.map(Address::ip) {
            control.push(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: interface },
            );
        }
    }
    control
}

/// What came beside a packet.
struct Meta {
    source: Option<Address>,
    destination: Option<Address>,
    interface: u32,
    traffic_class: u8,
}

impl Meta {
    /// # Safety
    ///
    /// `header` was filled by a successful receive, and its name and control buffers are still there.
    unsafe fn of(header: &libc::msghdr) -> Self {
        let mut meta = Self { source: None, destination: None, interface: 0, traffic_class: 0 };
        // SAFETY: the caller vouches for `header`.
        unsafe {
            sys::each_control(header, |level, kind, bytes| match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let Some(info) = sys::read::<libc::in_pktinfo>(bytes) {
                        meta.interface = info.ipi_ifindex as u32;
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    if let Some(info) = sys::read::<libc::in6_pktinfo>(bytes) {
                        meta.interface = info.ipi6_ifindex;
                        let ip = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        meta.destination = Some(Address::new(ip.into(), meta.interface));
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    if let Some(class) = sys::read::<libc::c_int>(bytes) {
                        meta.traffic_class = class as u8;
                    }
                }
                _ => {}
            });
            meta.source = sys::address_at(header.msg_name.cast_const().cast())
                .map(|(address, _)| Address::new(address.ip(), meta.interface));
        }
        meta
    }
}

/// What an IPv4 raw socket puts before each packet.
struct Ipv4Header<'a> {
    traffic_class: u8,
    destination: Address,
    payload: &'a [u8],
}

impl<'a> Ipv4Header<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let (header, _) = packet.split_first_chunk::<20>()?;
        let header_len = usize::from(header[0] & 15) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < 20 {
            return None;
        }
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        let payload = packet.get(header_len..total_len.min(packet.len()))?;
        Some(Self { traffic_class: header[1], destination: destination.into(), payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_header_is_stripped_with_its_options_and_a_broken_one_is_refused() {
        let mut packet = vec![0u8; 24 + 12 + 3];
        packet[0] = 0x46;
        packet[1] = 0b10;
        packet[2..4].copy_from_slice(&36u16.to_be_bytes());
        packet[16..20].copy_from_slice(&[10, 1, 2, 3]);
        packet[24] = 0xab;
        let header = Ipv4Header::parse(&packet).unwrap();
        assert_eq!(header.destination, Ipv4Addr::new(10, 1, 2, 3).into());
        assert_eq!(header.traffic_class, 0b10);
        assert_eq!((header.payload.len(), header.payload[0]), (12, 0xab));

        assert!(Ipv4Header::parse(&packet[..19]).is_none(), "shorter than a header");
        packet[0] = 0x44;
        assert!(Ipv4Header::parse(&packet).is_none(), "header length 16");
        packet[0] = 0x66;
        assert!(Ipv4Header::parse(&packet).is_none(), "version 6");
        packet[0] = 0x4f;
        packet.truncate(40);
        assert!(Ipv4Header::parse(&packet).is_none(), "options beyond the packet");
    }
}
