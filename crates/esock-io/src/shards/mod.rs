//! Several drivers behind one UDP port, or the same ports on raw IP, so that associations spread over cores.
//!
//! Each has a stack and sockets of its own. Its stack chooses verification tags that name it, and a classic BPF program
//! reads them: one on the group of UDP sockets (`steer.rs`), one on each raw socket, which all get every packet
//! (`raw/filter.rs`). So a packet reaches its shard without a lock. What that cannot decide goes to the shard that has the
//! peer ([`Homes`], asked for setup and for what is out of the ordinary only), by way of that shard's inbox (`inbox.rs`).

mod driver;
mod inbox;
mod member;
mod steer;

pub(crate) use member::Member;
pub(crate) use steer::{INITIATE_TAG_OFFSET, TAG_OFFSET};

use crate::error::DriverError;
#[cfg(target_os = "linux")]
use crate::raw::Claims;
use crate::udp::UdpSocket;
use esock_proto::Homes;
pub(crate) use inbox::Inbox;
#[cfg(test)]
pub(crate) use inbox::Parcel;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most shards of a port: the program that steers names each of them.
pub const MAX_SHARDS: u16 = 256;

/// A place among the drivers that share their ports, for [`DriverConfig::seat`](crate::DriverConfig::seat). A driver
/// holds it while it lives; the next one with the same seat takes its place.
#[derive(Clone)]
pub struct Seat {
    group: Arc<Group>,
    index: u16,
}

struct Group {
    homes: Mutex<Homes>,
    inboxes: Vec<Inbox>,
    /// Which shards have sockets, in the order in which the kernel has them.
    order: Mutex<Vec<u16>>,
    /// Which SCTP ports they have on raw IP.
    #[cfg(target_os = "linux")]
    claims: Arc<Claims>,
}

impl Seat {
    /// The seats of `count` drivers, 1 to [`MAX_SHARDS`].
    pub fn all(count: u16) -> io::Result<Vec<Self>> {
        let count = count.clamp(1, MAX_SHARDS);
        let inboxes = (0..count).map(|_| Inbox::new()).collect::<io::Result<_>>()?;
        let group = Arc::new(Group {
            homes: Mutex::new(Homes::new(count.into())),
            inboxes,
            order: Mutex::default(),
            #[cfg(target_os = "linux")]
            claims: Arc::default(),
        });
        Ok((0..count).map(|index| Self { group: group.clone(), index }).collect())
    }

    /// Its number, from 0.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.group.inboxes.len() as u16
    }

    /// What the stack is told of it.
    pub(crate) fn shard(&self) -> esock_proto::Shard {
        esock_proto::Shard::new(self.index, self.count()).unwrap_or_default()
    }

    /// Which SCTP ports the drivers have on raw IP.
    #[cfg(target_os = "linux")]
    pub(crate) fn claims(&self) -> Arc<Claims> {
        self.group.claims.clone()
    }

    /// Who has which peer.
    fn homes(&self) -> MutexGuard<'_, Homes> {
        self.group.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> &Inbox {
        &self.group.inboxes[usize::from(self.index)]
    }

    fn order(&self) -> MutexGuard<'_, Vec<u16>> {
        self.group.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds the sockets of this seat with `bind`, which is told whether to share the port, and which port (0: any).
    ///
    /// A shared port admits every process of the same user, so the first makes sure that nobody has it. One that binds it
    /// later, sharing as well, gets no packets: the program names places of ours only.
    pub(crate) fn bind(
        &self,
        port: u16,
        bind: &dyn Fn(u16, bool) -> Result<Vec<UdpSocket>, DriverError>,
    ) -> Result<Vec<UdpSocket>, DriverError> {
        let mut order = self.order();
        let mut port = port;
        if order.is_empty() {
            let alone = bind(port, false)?;
            port = alone.first().and_then(|socket| socket.port().ok()).unwrap_or(port);
        }
        let sockets = bind(port, true)?;
        let mut with_us = order.clone();
        with_us.push(self.index);
        for socket in &sockets {
            steer::attach(socket, self.count(), &with_us)
                .map_err(|error| DriverError::Socket { doing: "steering packets to shards", error })?;
        }
        // Only now: who fails before has no place, and nobody would give it back.
        *order = with_us;
        Ok(sockets)
    }

    /// Its driver has sockets: others may give it packets and peers.
    fn join(&self) {
        self.inbox().open();
        self.homes().join(self.index);
    }

    /// Its sockets are closed: what it had is nobody's.
    fn leave(&self) {
        let mut order = self.order();
        if let Some(at) = order.iter().position(|index| *index == self.index) {
            // As the kernel does it.
            order.swap_remove(at);
        }
        self.homes().leave(self.index);
        self.inbox().close();
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({} of {})", self.index, self.count())
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group) && self.index == other.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esock_proto::SocketId;
    use std::net::Ipv4Addr;

    #[test]
    fn who_could_not_bind_has_no_place() {
        let seat = Seat::all(2).unwrap().remove(1);
        let bind = |port, shared| {
            UdpSocket::bind(SocketId(0), Ipv4Addr::LOCALHOST.into(), port, shared, (0, 0))
                .map(|socket| vec![socket])
                .map_err(|error| DriverError::Socket { doing: "binding", error })
        };
        // A socket that shares its port with nobody cannot be steered.
        let alone = seat.bind(0, &|_, _| bind(0, false));
        assert!(matches!(alone, Err(DriverError::Socket { doing: "steering packets to shards", .. })), "{alone:?}");
        assert!(seat.order().is_empty());
        let _sockets = seat.bind(0, &bind).unwrap();
        assert_eq!(*seat.order(), [1]);
    }
}
