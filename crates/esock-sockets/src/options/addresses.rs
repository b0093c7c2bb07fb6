//! Options that tell addresses.

use super::{Outcome, structure};
use crate::address::{self, Named};
use crate::engine::{Engine, Reply, SocketId};
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_proto::{Address, AssocId, Time};

impl Engine {
    /// SCTP_GET_PEER_ADDRS.
    pub(super) fn peer_addresses(&self, now: Time, id: SocketId, room: usize, value: &[u8]) -> Outcome {
        let head: abi::sctp_getaddrs = structure(value)?;
        let assoc = self.by_number(id, head.assoc_id).ok_or(Errno::EINVAL)?;
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        let peers: Vec<Named> = stats.paths.iter().map(|path| (path.remote, stats.peer_port)).collect();
        self.address_list(id, head, &peers, room)
    }

    /// SCTP_GET_LOCAL_ADDRS.
    pub(super) fn local_addresses(&self, now: Time, id: SocketId, room: usize, value: &[u8]) -> Outcome {
        let head: abi::sctp_getaddrs = structure(value)?;
        let socket = self.socket(id)?;
        let assoc = match head.assoc_id {
            0 => None,
            number => Some(self.by_number(id, number).ok_or(Errno::EINVAL)?),
        };
        let port = socket.port;
        let addresses: Vec<Address> = if port == 0 {
            // Nobody has bound it yet.
            Vec::new()
        } else if let Some(told) = assoc.and_then(|assoc| self.told_addresses(now, id, assoc)) {
            told
        } else if socket.addresses.is_empty() {
            esock_io::host_addresses().into_iter().filter(|address| socket.takes(*address)).collect()
        } else {
            socket.addresses.clone()
        };
        let named: Vec<Named> = addresses.into_iter().map(|address| (address, port)).collect();
        self.address_list(id, head, &named, room)
    }

    /// What the peer of an association was told, if it was not simply all that the socket is bound to.
    fn told_addresses(&self, now: Time, id: SocketId, assoc: AssocId) -> Option<Vec<Address>> {
        let socket = self.socket(id).ok().filter(|socket| socket.addresses.is_empty())?;
        let mut told = self.driver().stack().local_addresses(now, assoc)?;
        told.retain(|address| socket.takes(*address));
        (!told.is_empty()).then_some(told)
    }

    fn address_list(&self, id: SocketId, mut head: abi::sctp_getaddrs, named: &[Named], room: usize) -> Outcome {
        let socket = self.socket(id)?;
        let mut list = Vec::new();
        for one in named {
            list.extend(address::write(socket.family, socket.is_mapped(), *one));
        }
        if abi::sctp_getaddrs::BYTES + list.len() > room {
            return Err(Errno::ENOMEM);
        }
        head.addr_num = named.len() as u32;
        let mut bytes = head.bytes();
        bytes.extend(list);
        Ok(Reply::bytes(bytes))
    }
}
