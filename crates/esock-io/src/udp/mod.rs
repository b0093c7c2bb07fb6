//! UDP encapsulation (RFC 6951): one socket, bound to the wildcard or to one address of one family.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
use crate::errqueue;
use crate::refusal::{Drained, RETRIES, Refusal, Tries};
use crate::sockets::{Received, Sent, tell_each, told};
use crate::sys;
use crate::wait::Ready;
use esock_proto::{Address, Datagram, Ecn, Icmp, IcmpKind, Local, SocketId, Transmit};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::UdpSocket as StdSocket;
use std::os::fd::{AsRawFd, RawFd};
#[cfg(target_os = "linux")]
use std::time::Duration;

/// The most that one receive yields: a whole GRO buffer.
pub(crate) const RECEIVE_BYTES: usize = 1 << 16;

/// Receive buffers per call.
pub(crate) const RECEIVE_BATCH: usize = 8;

/// The most UDP payload of one send, all segments together: 65535 less an IPv4 and a UDP header.
const MAX_SEND_BYTES: usize = 65507;

/// How long a receive call waits that does.
#[cfg(target_os = "linux")]
pub(crate) const NAP: Duration = Duration::from_millis(20);

/// How one send call ended.
enum Attempt {
    Sent,
    Blocked,
    /// The system takes no segments (or not these).
    BadSegments,
    Refused(Refusal),
}

/// What a call that waited has brought, and the next receive hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// So many buffers.
    Batch(usize),
    /// There is a report about a packet of ours.
    Report,
}

/// A UDP socket with everything switched on that the kernel offers.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    id: SocketId,
    socket: StdSocket,
    state: UdpSocketState,
    bound: Address,
    /// Whether the kernel cuts segments for us.
    segmentation: bool,
    /// What is known of what was received last.
    metas: [RecvMeta; RECEIVE_BATCH],
    held: Held,
    /// The last call that asked for packets has brought some.
    came: bool,
    /// Whether a receive call waits if it is told to.
    #[cfg(target_os = "linux")]
    can_wait: bool,
}

impl UdpSocket {
    /// Binds a socket; `port` 0 takes a free one. It is shared with nobody, or with all that are `shared`.
    pub(crate) fn bind(
        id: SocketId,
        address: Address,
        port: u16,
        shared: bool,
        (receive_buffer_bytes, send_buffer_bytes): (usize, usize),
    ) -> io::Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if !address.is_ipv4() {
            socket.set_only_v6(true)?;
        }
        sys::set_buffers(&socket, receive_buffer_bytes, send_buffer_bytes);
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&sys::socket_addr(address, port).into())?;
        let socket = StdSocket::from(socket);
        let state = prepare(&socket, address.is_ipv4())?;
        let segmentation = state.max_gso_segments() > 1;
        Ok(Self {
            id,
            socket,
            state,
            bound: address,
            segmentation,
            metas: [RecvMeta::default(); RECEIVE_BATCH],
            held: Held::Nothing,
            came: false,
            #[cfg(target_os = "linux")]
            can_wait: false,
        })
    }

    /// The port it is bound to.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Whether packets from `local` to `remote` can leave here.
    pub(crate) fn serves(&self, local: Option<Address>, remote: Address) -> bool {
        self.bound.is_ipv4() == remote.is_ipv4()
            && (self.bound.is_unspecified() || local.is_none_or(|local| local == self.bound))
    }

    /// Sends packets: all of one path, cut every `segment_size` bytes of `data`.
    pub(crate) fn send(&mut self, transmit: &Transmit, data: &[u8], report: &mut dyn FnMut(Icmp<'_>)) -> Sent {
        let Some(port) = transmit.encap_port else {
            return Sent { bytes: data.len(), ..Sent::default() };
        };
        let segment_size = transmit.segment_size.unwrap_or(data.len()).max(1);
        // The kernel does not fragment segments: one at a time where fragments are wanted.
        let mut single = !self.segmentation || !transmit.dont_fragment;
        let mut doubted = false;
        let mut sent = Sent::default();
        while sent.bytes < data.len() {
            let segments =
                if single { 1 } else { self.state.max_gso_segments().min(MAX_SEND_BYTES / segment_size).max(1) };
            let end = data.len().min(sent.bytes + segments * segment_size);
            let contents = &data[sent.bytes..end];
            let many = contents.len() > segment_size;
            let packets = contents.len().div_ceil(segment_size);
            match self.attempt(transmit, port, contents, many.then_some(segment_size), report) {
                Attempt::Sent => {
                    // What failed as segments has just left alone: the kernel or the device cannot
                    // cut segments, and is not asked again.
                    if doubted {
                        self.segmentation = false;
                    }
                    sent.calls += 1;
                }
                Attempt::Blocked => {
                    sent.blocked = true;
                    return sent;
                }
                Attempt::Refused(Refusal::TooLarge(_)) | Attempt::BadSegments if many => {
                    single = true;
                    doubted = true;
                    continue;
                }
                Attempt::Refused(Refusal::TooLarge(mtu)) => {
                    doubted = false;
                    sent.dropped += packets;
                    if let Some(mtu) = mtu {
                        report(told(transmit, IcmpKind::PacketTooBig(mtu), contents));
                    }
                }
                Attempt::Refused(Refusal::Unreachable) | Attempt::BadSegments => {
                    doubted = false;
                    sent.dropped += packets;
                    tell_each(transmit, IcmpKind::HostUnreachable, contents, report);
                }
                Attempt::Refused(Refusal::Dropped) => sent.dropped += packets,
            }
            sent.bytes = end;
        }
        sent
    }

    /// One send call, made again where it returned a report about another packet.
    fn attempt(
        &mut self,
        transmit: &Transmit,
        port: u16,
        contents: &[u8],
        segment_size: Option<usize>,
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> Attempt {
        // What leaves from the address that the socket is bound to need not say so, which the kernel is glad of.
        let told = |local: &Address| !local.is_unspecified() && *local != self.bound;
        let packet = quinn_udp::Transmit {
            destination: sys::socket_addr(transmit.remote, port),
            ecn: EcnCodepoint::from_bits(sys::ecn_bits(transmit.ecn)),
            contents,
            segment_size,
            src_ip: transmit.local.address.filter(told).map(Address::ip),
        };
        let mut tries = Tries::new();
        loop {
            let Err(error) = self.call(&packet, transmit.dont_fragment) else {
                return Attempt::Sent;
            };
            if sys::would_block(&error) {
                return Attempt::Blocked;
            }
            if sys::is_icmp_report(&error) {
                match tries.failed(&error, self.drain_errors(report)) {
                    Some(refusal) => return Attempt::Refused(refusal),
                    None => continue,
                }
            }
            return match error.raw_os_error() {
                Some(libc::EINVAL | libc::EIO) => {
                    // quinn-udp has now given up segments and ECN for good, but the reason may be this one
                    // packet (a source address that is gone): start afresh, the caller finds out.
                    #[cfg(not(target_os = "linux"))]
                    if let Ok(state) = prepare(&self.socket, self.bound.is_ipv4()) {
                        self.state = state;
                    }
                    Attempt::BadSegments
                }
                Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENETDOWN) => Attempt::Refused(Refusal::Unreachable),
                _ => Attempt::Refused(Refusal::Dropped),
            };
        }
    }

    /// One send call. The kernel takes don't-fragment per socket and not per packet, so the rare packet
    /// that may be fragmented changes the option for the time of its call.
    fn call(&self, packet: &quinn_udp::Transmit<'_>, dont_fragment: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        let send = || linux::send(&self.socket, packet);
        #[cfg(not(target_os = "linux"))]
        let send = || self.state.try_send((&self.socket).into(), packet);
        if dont_fragment {
            return send();
        }
        let ipv4 = self.bound.is_ipv4();
        sys::set_dont_fragment(&self.socket, ipv4, false)?;
        let result = send();
        sys::set_dont_fragment(&self.socket, ipv4, true)?;
        result
    }

    /// Receives a batch into `buffers`, which holds [`RECEIVE_BATCH`] times [`RECEIVE_BYTES`]. Where nobody
    /// looks again, the result says `more` even if only a report about a packet of ours hides that there is.
    pub(crate) fn receive(
        &mut self,
        buffers: &mut [u8],
        ready: Ready,
        deliver: &mut impl FnMut(Datagram<'_>),
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> io::Result<Received> {
        let mut retries = RETRIES;
        let count = loop {
            let received = match std::mem::replace(&mut self.held, Held::Nothing) {
                Held::Batch(count) => break count,
                Held::Report => {
                    self.drain_errors(report);
                    continue;
                }
                Held::Nothing => self.collect(buffers, ready.spins && !self.came),
            };
            match received {
                Ok(count) => break count,
                Err(error) if sys::would_block(&error) => {
                    self.came = false;
                    return Ok(Received::default());
                }
                Err(error) if sys::ends_socket(&error) => return Err(error),
                Err(_) if retries > 0 => {
                    self.drain_errors(report);
                    retries -= 1;
                }
                Err(_) => return Ok(Received { packets: 0, more: true }),
            }
        };
        self.came = count > 0;
        let mut packets = 0;
        for (meta, buffer) in self.metas[..count].iter().zip(buffers.chunks_exact(RECEIVE_BYTES)) {
            let Some((local, remote, port)) = self.whence(meta) else { continue };
            let data = &buffer[..meta.len.min(RECEIVE_BYTES)];
            let ecn = meta.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8));
            for segment in data.chunks(meta.stride.max(1)) {
                packets += 1;
                deliver(Datagram { local, remote, encap_port: Some(port), ecn, data: segment });
            }
        }
        Ok(Received { packets, more: count == RECEIVE_BATCH || (!ready.again && self.was_cut_short(report)) })
    }

    /// One receive call that does not wait: how many buffers were filled. `one`: it asks for no second packet, which takes
    /// time where there is none.
    fn collect(&mut self, buffers: &mut [u8], one: bool) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        return match one {
            true => linux::receive::<1>(&self.socket, false, buffers, &mut self.metas),
            false => linux::receive::<RECEIVE_BATCH>(&self.socket, false, buffers, &mut self.metas),
        };
        #[cfg(not(target_os = "linux"))]
        {
            let _ = one;
            let mut chunks = buffers.chunks_exact_mut(RECEIVE_BYTES);
            let mut slices: [io::IoSliceMut<'_>; RECEIVE_BATCH] =
                std::array::from_fn(|_| io::IoSliceMut::new(chunks.next().unwrap_or_default()));
            self.state.recv((&self.socket).into(), &mut slices, &mut self.metas)
        }
    }

    /// Sleeps in a receive call, for [`NAP`] and what the kernel's clock is coarse at most. Says whether something has
    /// come, which the next [`UdpSocket::receive`] hands on; a signal counts.
    #[cfg(target_os = "linux")]
    pub(crate) fn nap(&mut self, buffers: &mut [u8]) -> io::Result<bool> {
        if self.holds() {
            return Ok(true);
        }
        if !self.can_wait {
            self.socket.set_read_timeout(Some(NAP))?;
            self.socket.set_nonblocking(false)?;
            self.can_wait = true;
        }
        match linux::receive::<RECEIVE_BATCH>(&self.socket, true, buffers, &mut self.metas) {
            Ok(count) => self.held = Held::Batch(count),
            Err(error) if sys::would_block(&error) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if sys::ends_socket(&error) => return Err(error),
            Err(_) => self.held = Held::Report,
        }
        Ok(true)
    }

    /// Whether there is something to hand on.
    pub(crate) fn holds(&self) -> bool {
        self.held != Held::Nothing
    }

    /// Whether a batch ended with a report about a packet of ours instead of with the last packet: the kernel
    /// keeps the report for the next call, and nothing else would say that packets wait behind it.
    fn was_cut_short(&self, report: &mut dyn FnMut(Icmp<'_>)) -> bool {
        let cut = self.socket.take_error().is_ok_and(|error| error.is_some());
        if cut {
            self.drain_errors(report);
        }
        cut
    }

    /// Where packets came from and arrived; `None` if neither may be answered: not unicast (RFC 9260
    /// §8.4 rule 1), or from port 0.
    fn whence(&self, meta: &RecvMeta) -> Option<(Local, Address, u16)> {
        let interface = meta.interface_index.unwrap_or(0);
        let scope = match meta.addr {
            std::net::SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id(),
            _ => interface,
        };
        let remote = Address::new(meta.addr.ip(), scope);
        let address = meta.dst_ip.map_or(self.bound, |ip| Address::new(ip, interface));
        let usable =
            remote.is_usable_peer() && meta.addr.port() != 0 && (address.is_usable_peer() || address.is_unspecified());
        let address = Some(address).filter(|address| !address.is_unspecified());
        usable.then_some((Local { address, socket: Some(self.id), interface }, remote, meta.addr.port()))
    }

    /// Reads the error queue.
    pub(crate) fn drain_errors(&self, report: &mut dyn FnMut(Icmp<'_>)) -> Drained {
        #[cfg(target_os = "linux")]
        return errqueue::drain(&self.socket, true, report);
        #[cfg(not(target_os = "linux"))]
        {
            let _ = report;
            Drained { empty: true, ..Drained::default() }
        }
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Switches on what is used, and off what is not.
fn prepare(socket: &StdSocket, ipv4: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    #[cfg(target_os = "linux")]
    {
        errqueue::enable(socket, ipv4)?;
        // quinn-udp asks for receive timestamps, which cost and are not used.
        sys::set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 0)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = ipv4;
    Ok(state)
}
