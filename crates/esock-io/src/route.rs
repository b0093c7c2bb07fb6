//! What the host knows of the way to a peer.

use crate::sys;
use esock_proto::Address;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Any port: nothing is sent there.
const PORT: u16 = 9;

/// The largest packet in bytes, IP header included, that the host's route from `local` to `remote` carries: the MTU of
/// the link, or less if a router has told so. `None` if there is no route, or the system does not tell.
pub fn route_mtu(local: Option<Address>, remote: Address) -> Option<u32> {
    let domain = if remote.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).ok()?;
    if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4()) {
        // Not of the host (any more): the route alone decides.
        let _ = socket.bind(&SockAddr::from(sys::socket_addr(local, 0)));
    }
    socket.connect(&SockAddr::from(sys::socket_addr(remote, PORT))).ok()?;
    sys::route_mtu(&socket, remote.is_ipv4())
}
