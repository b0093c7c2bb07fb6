//! All the sockets of a driver: batches of packets in and out, without a stack.

mod open;

pub(crate) use open::open;

use crate::error::ClaimError;
use crate::pages::Pages;
#[cfg(target_os = "linux")]
use crate::raw::{self, Claims, Ports, RawSocket};
use crate::udp::{self, UdpSocket};
use crate::wait::{Interest, Ready};
use esock_proto::{Datagram, Icmp, IcmpKind, Transmit};
use std::io;
#[cfg(target_os = "linux")]
use std::sync::Arc;

/// As much of a packet of ours as goes with a report about it.
const QUOTED_BYTES: usize = 256;

/// What became of packets that were to be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Bytes done with: sent, or dropped. The rest is still to be sent when `blocked`.
    pub(crate) bytes: usize,
    /// The socket takes no more now.
    pub(crate) blocked: bool,
    /// System calls that took packets.
    pub(crate) calls: usize,
    /// Packets that this host refused: no route, too large, a firewall.
    pub(crate) dropped: usize,
}

impl Sent {
    /// There is no such socket: nothing leaves.
    fn nowhere(bytes: usize, packets: usize) -> Self {
        Self { bytes, dropped: packets, ..Self::default() }
    }
}

/// What a receive call yielded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Packets, GRO buffers taken apart.
    pub(crate) packets: usize,
    /// There may be more.
    pub(crate) more: bool,
}

/// A report that this host makes itself about a packet that did not leave.
pub(crate) fn told<'a>(transmit: &Transmit, kind: IcmpKind, contents: &'a [u8]) -> Icmp<'a> {
    Icmp {
        kind,
        remote: transmit.remote,
        encap_port: transmit.encap_port,
        quoted: &contents[..contents.len().min(QUOTED_BYTES)],
    }
}

/// The same about several packets: their associations, whose packets follow each other, are told once each.
pub(crate) fn tell_each(transmit: &Transmit, kind: IcmpKind, contents: &[u8], report: &mut dyn FnMut(Icmp<'_>)) {
    let mut last = None;
    for packet in contents.chunks(transmit.segment_size.unwrap_or(contents.len()).max(1)) {
        // Ports and verification tag.
        let of = packet.first_chunk::<8>();
        if of.is_none() || of != last {
            report(told(transmit, kind, packet));
        }
        last = of;
    }
}

/// All the sockets of a driver. The number of a socket (`SocketId`) counts UDP sockets first.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: Vec<UdpSocket>,
    #[cfg(target_os = "linux")]
    raw: Vec<RawSocket>,
    #[cfg(target_os = "linux")]
    ports: Ports,
    /// Where batches are received, one socket after another.
    buffers: Pages,
    /// The socket that takes no more, until something leaves there again.
    blocked: Option<usize>,
    /// Those that have received or sent something since this was last asked for, a bit each.
    used: u64,
}

impl Sockets {
    /// No sockets at all.
    pub(crate) fn none() -> Self {
        Self::new(
            Vec::new(),
            #[cfg(target_os = "linux")]
            (Vec::new(), Arc::default()),
        )
    }

    /// On raw IP, SCTP ports are claimed with `claims`.
    fn new(udp: Vec<UdpSocket>, #[cfg(target_os = "linux")] (raw, claims): (Vec<RawSocket>, Arc<Claims>)) -> Self {
        let mut len = udp::RECEIVE_BATCH * udp::RECEIVE_BYTES;
        #[cfg(target_os = "linux")]
        if !raw.is_empty() {
            len = len.max(raw::RECEIVE_BATCH * raw::RECEIVE_BYTES);
        }
        Self {
            udp,
            #[cfg(target_os = "linux")]
            raw,
            #[cfg(target_os = "linux")]
            ports: Ports::new(claims),
            buffers: Pages::new(len),
            blocked: None,
            used: 0,
        }
    }

    /// Sends packets: all of one path, cut every `segment_size` bytes of `data`.
    ///
    /// Where the result says `blocked`, the same packets from `bytes` on are to be sent again when the
    /// socket is writable.
    pub(crate) fn send(&mut self, transmit: &Transmit, data: &[u8], report: &mut dyn FnMut(Icmp<'_>)) -> Sent {
        let (local, remote) = (transmit.local.address, transmit.remote);
        let (index, sent) = if transmit.encap_port.is_some() {
            let found = self.udp.iter().position(|socket| socket.serves(local, remote));
            let found = found.or_else(|| self.udp.iter().position(|s| s.serves(None, remote)));
            (found, found.map(|index| self.udp[index].send(transmit, data, report)))
        } else {
            self.send_native(transmit, data, report)
        };
        let (Some(index), Some(sent)) = (index, sent) else {
            tell_each(transmit, IcmpKind::HostUnreachable, data, report);
            let packets = transmit.segment_size.map_or(1, |size| data.len().div_ceil(size.max(1)));
            return Sent::nowhere(data.len(), packets);
        };
        self.used |= bit(index);
        if sent.blocked {
            self.blocked = Some(index);
        } else if self.blocked == Some(index) {
            self.blocked = None;
        }
        sent
    }

    #[cfg(target_os = "linux")]
    fn send_native(
        &mut self,
        transmit: &Transmit,
        data: &[u8],
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> (Option<usize>, Option<Sent>) {
        let (local, remote) = (transmit.local.address, transmit.remote);
        let found = self.raw.iter().position(|socket| socket.serves(local, remote));
        let found = found.or_else(|| self.raw.iter().position(|s| s.serves(None, remote)));
        let sent = found.map(|index| self.raw[index].send(transmit, data, report));
        (found.map(|index| index + self.udp.len()), sent)
    }

    #[cfg(not(target_os = "linux"))]
    fn send_native(&mut self, _: &Transmit, _: &[u8], _: &mut dyn FnMut(Icmp<'_>)) -> (Option<usize>, Option<Sent>) {
        (None, None)
    }

    /// Receives one batch from each socket that is `ready`. Packets go to `deliver`, what is said about ours to `report`.
    pub(crate) fn receive(
        &mut self,
        ready: Ready,
        deliver: &mut impl FnMut(Datagram<'_>),
        report: &mut dyn FnMut(Icmp<'_>),
    ) -> io::Result<Received> {
        let mut all = Received::default();
        let mut used = 0;
        let mut add = |index: usize, one: Received| {
            all.packets += one.packets;
            all.more |= one.more;
            used |= if one.packets > 0 { bit(index) } else { 0 };
        };
        let udp = self.udp.iter_mut().enumerate();
        for (index, socket) in udp.filter(|(index, socket)| ready.has(*index) || socket.holds()) {
            add(index, socket.receive(&mut self.buffers, ready, deliver, report)?);
        }
        #[cfg(target_os = "linux")]
        for (index, socket) in self.raw.iter().enumerate().filter(|(index, _)| ready.has(self.udp.len() + *index)) {
            add(self.udp.len() + index, socket.receive(&mut self.buffers, &self.ports, ready.again, deliver, report)?);
        }
        self.used |= used;
        Ok(all)
    }

    /// Sleeps for a while in the receive call of a socket that is alone: that is a system call less than to be told of what
    /// has come, and the kernel sets no timer. Says whether something has come.
    #[cfg(target_os = "linux")]
    pub(crate) fn nap(&mut self) -> io::Result<bool> {
        match (&mut self.udp[..], self.raw.is_empty(), self.blocked) {
            ([socket], true, None) => socket.nap(&mut self.buffers),
            _ => Ok(false),
        }
    }

    /// The sockets that have received or sent something since this was last asked for, a bit each.
    pub(crate) fn take_used(&mut self) -> u64 {
        std::mem::take(&mut self.used)
    }

    /// Reads all error queues. A queue that nobody reads keeps its socket ready for ever.
    pub(crate) fn drain_errors(&self, report: &mut dyn FnMut(Icmp<'_>)) {
        for socket in &self.udp {
            socket.drain_errors(report);
        }
        #[cfg(target_os = "linux")]
        for socket in &self.raw {
            socket.drain_errors(report);
        }
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = Interest> {
        let udp = self.udp.iter().map(crate::sys::fd);
        #[cfg(target_os = "linux")]
        let fds = udp.chain(self.raw.iter().map(crate::sys::fd));
        #[cfg(not(target_os = "linux"))]
        let fds = udp;
        fds.enumerate().map(|(index, fd)| Interest { fd, writable: self.blocked == Some(index) })
    }

    /// Claims an SCTP port on raw IP and begins to receive its packets. Without raw IP there is
    /// nothing to claim: the UDP port tells processes apart.
    pub(crate) fn claim_port(&mut self, port: u16) -> Result<(), ClaimError> {
        #[cfg(target_os = "linux")]
        if !self.raw.is_empty() {
            self.ports.claim(port)?;
            if let Err(error) = self.set_filters() {
                self.ports.release(port);
                return Err(ClaimError::System { port, error });
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = port;
        Ok(())
    }

    /// Receives packets to SCTP ports that no process has too, if no other process answers for them. Says whether it does.
    pub(crate) fn claim_rest(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        return !self.raw.is_empty() && self.ports.claim_rest() && self.set_filters().is_ok();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Gives an SCTP port back.
    pub(crate) fn release_port(&mut self, port: u16) {
        #[cfg(target_os = "linux")]
        if !self.raw.is_empty() {
            self.ports.release(port);
            // If the filter stays, packets to the port are still dropped after they were received.
            let _ = self.set_filters();
        }
        #[cfg(not(target_os = "linux"))]
        let _ = port;
    }

    #[cfg(target_os = "linux")]
    fn set_filters(&self) -> io::Result<()> {
        let ports = self.ports.all();
        self.raw.iter().try_for_each(|socket| socket.set_ports(ports.as_ref()))
    }

    /// The UDP port, if there is a UDP socket.
    pub(crate) fn udp_port(&self) -> Option<u16> {
        self.udp.first().and_then(|socket| socket.port().ok())
    }
}

/// The bit of a socket; those beyond the 64th have none, and are always asked.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}
