//! What passes between the stack and the sockets.

use crate::types::Address;

/// Explicit congestion notification bits of an IP header (RFC 3168).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// ECN-capable, codepoint 1.
    Ect1 = 1,
    /// ECN-capable, codepoint 0.
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// The codepoint in the low two bits of a traffic class, `None` for not-ECT.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            1 => Some(Self::Ect1),
            2 => Some(Self::Ect0),
            3 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// One socket of a driver, in the driver's own numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u16);

/// Our end of a packet: with ephemeral ports, shards and link-local addresses an IP address alone
/// does not choose a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Local {
    /// Our address; `None` leaves the choice to the host's routes.
    pub address: Option<Address>,
    /// The socket; `None` leaves the choice to the driver.
    pub socket: Option<SocketId>,
    /// The interface index, 0 for the host's routes.
    pub interface: u32,
}

/// A packet that has arrived: the SCTP packet alone, without IP and UDP headers.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Where it arrived.
    pub local: Local,
    /// Its source address.
    pub remote: Address,
    /// The peer's UDP port where it came encapsulated (RFC 6951), `None` for native SCTP.
    pub encap_port: Option<u16>,
    /// The ECN bits of the IP header.
    pub ecn: Option<Ecn>,
    /// Common header and chunks.
    pub data: &'a [u8],
}

/// Packets to send, all over one path: `size` bytes of the caller's buffer, cut every `segment_size` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Our end.
    pub local: Local,
    /// The destination address.
    pub remote: Address,
    /// The peer's UDP port, `None` for native SCTP.
    pub encap_port: Option<u16>,
    /// ECN bits to set.
    pub ecn: Option<Ecn>,
    /// Bytes in all.
    pub size: usize,
    /// Bytes per packet where there are several; the last may be shorter.
    pub segment_size: Option<usize>,
    /// Whether routers may not fragment it. Clear only for chunks that became too large for their path.
    pub dont_fragment: bool,
}

/// An ICMP report about a packet of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpKind {
    /// Packet Too Big, with the MTU of the link that refused it (bytes, IP header included).
    PacketTooBig(u32),
    /// Port unreachable: for an encapsulated packet, nobody has the UDP port.
    PortUnreachable,
    /// Protocol unreachable: the host does not speak native SCTP.
    ProtocolUnreachable,
    /// Host or network unreachable, or filtered.
    HostUnreachable,
}

/// An ICMP report, with as much of our packet as it quoted.
#[derive(Debug, Clone, Copy)]
pub struct Icmp<'a> {
    /// What happened.
    pub kind: IcmpKind,
    /// The destination of our packet.
    pub remote: Address,
    /// The UDP port that our packet went to, `None` for native SCTP.
    pub encap_port: Option<u16>,
    /// The beginning of our SCTP packet, empty where the report came without it
    /// (an error queue that the kernel has already matched to our socket).
    pub quoted: &'a [u8],
}
