//! What the host knows of the way to a peer.

use crate::sys;
use esock_proto::Address;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Any port: nothing is sent there.
const PORT: u16 = 9;

/// The host's route to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The address that packets leave from.
    pub source: Option<Address>,
    /// The largest packet in bytes, IP header included, that it carries: the MTU of the link, or less if a router has told
    /// so. `None` if the system does not tell.
    pub mtu: Option<u32>,
}

/// The host's route from `local`, or from the address that it chooses itself, to `remote`. `None` if there is none.
pub fn route(local: Option<Address>, remote: Address) -> Option<Route> {
    let domain = if remote.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).ok()?;
    if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4()) {
        // Not of the host (any more): the route alone decides.
        let _ = socket.bind(&SockAddr::from(sys::socket_addr(local, 0)));
    }
    socket.connect(&SockAddr::from(sys::socket_addr(remote, PORT))).ok()?;
    let source = socket.local_addr().ok().and_then(|name| name.as_socket()).map(sys::address_of);
    Some(Route { source, mtu: sys::route_mtu(&socket, remote.is_ipv4()) })
}
