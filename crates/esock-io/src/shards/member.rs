//! A driver's part in a group: which of its packets are another's, and what others have received for it.

use super::Seat;
use super::inbox::Parcel;
use esock_proto::{
    Address, Datagram, EndpointId, EndpointName, Icmp, PeerKey, Stack, Stray, StrayKind, Time, VerificationTag,
};
use std::collections::HashMap;
use std::os::fd::RawFd;

/// What passed between shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Traffic {
    /// Given to others.
    pub forwarded: u64,
    /// Taken from others.
    pub taken_over: u64,
    /// Dropped: an inbox was full, or a cookie was of another attempt.
    pub dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Member {
    seat: Seat,
    names: HashMap<EndpointId, EndpointName>,
    pub(crate) traffic: Traffic,
}

impl Member {
    /// Takes a seat.
    pub(crate) fn new(seat: Seat) -> Self {
        seat.join();
        Self { seat, names: HashMap::new(), traffic: Traffic::default() }
    }

    /// Its seat.
    pub(crate) fn seat(&self) -> Seat {
        self.seat.clone()
    }

    /// Readable while others have something for it.
    pub(crate) fn bell(&self) -> RawFd {
        self.seat.inbox().bell()
    }

    /// Takes a packet from our socket.
    pub(crate) fn deliver(&mut self, stack: &mut Stack, now: Time, datagram: Datagram<'_>) {
        let tag = datagram.data.get(4..8).and_then(|bytes| bytes.first_chunk().copied());
        let tag = VerificationTag(tag.map_or(0, u32::from_be_bytes));
        let owner = self.seat.shard().of(tag);
        if tag != VerificationTag::ZERO && owner != self.seat.index() {
            // A buffer of several packets goes where its first packet belongs.
            return self.forward(owner, Parcel::of(&datagram, false));
        }
        if let Some(stray) = stack.offer_datagram(now, datagram) {
            self.place(stack, now, datagram, &stray);
        }
    }

    /// Finds out whose a packet is that carries none of our tags.
    fn place(&mut self, stack: &mut Stack, now: Time, datagram: Datagram<'_>, stray: &Stray) {
        let here = self.seat.index();
        let keys = self.keys(stray.endpoint, &stray.addresses, stray.port);
        let homes = self.seat.homes();
        let home = homes.find(keys).unwrap_or_else(|| match stray.kind {
            StrayKind::Init => homes.lightest(here),
            StrayKind::CookieEcho | StrayKind::Other => here,
        });
        drop(homes);
        match stray.kind {
            _ if home == here => stack.handle_datagram(now, datagram),
            StrayKind::CookieEcho => self.traffic.dropped += 1,
            StrayKind::Init | StrayKind::Other => self.forward(home, Parcel::of(&datagram, true)),
        }
    }

    /// Takes a report. Of a UDP packet, the kernel gives it to any socket of the port; of a native one, to all raw sockets,
    /// so that each shard hears of its own packets by itself.
    pub(crate) fn report(&mut self, stack: &mut Stack, now: Time, icmp: Icmp<'_>) {
        let port_at = |at: usize| icmp.quoted.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
        let (Some(source), Some(port)) = (port_at(0), port_at(2)) else { return };
        let names = self.names.values().copied().filter(|(own, _)| *own == source);
        let keys = names.map(|endpoint| PeerKey { endpoint, remote: icmp.remote, port });
        let home = self.seat.homes().find(keys);
        match home.filter(|home| *home != self.seat.index()) {
            Some(home) if icmp.encap_port.is_some() => self.forward(home, Parcel::report(&icmp)),
            Some(_) => {}
            None => stack.handle_icmp(now, icmp),
        }
    }

    fn forward(&mut self, to: u16, parcel: Parcel) {
        let fits = self.seat.group.inboxes[usize::from(to)].put(parcel);
        *(if fits { &mut self.traffic.forwarded } else { &mut self.traffic.dropped }) += 1;
    }

    /// Takes what others have received for us. Says how many packets.
    pub(crate) fn collect(&mut self, stack: &mut Stack, now: Time) -> usize {
        if !self.seat.inbox().has_any() {
            return 0;
        }
        let parcels = self.seat.inbox().take();
        let count = parcels.len();
        self.traffic.taken_over += count as u64;
        for parcel in parcels {
            match parcel {
                Parcel::Packet { local, remote, encap_port, ecn, data, last } => {
                    let datagram = Datagram { local, remote, encap_port, ecn, data: &data };
                    if last {
                        stack.handle_datagram(now, datagram);
                    } else {
                        self.deliver(stack, now, datagram);
                    }
                }
                Parcel::Report { kind, remote, encap_port, quoted } => {
                    stack.handle_icmp(now, Icmp { kind, remote, encap_port, quoted: &quoted });
                }
            }
        }
        count
    }

    /// Tells the others which peers are here now.
    pub(crate) fn settle(&self, stack: &mut Stack) {
        let Some(first) = stack.poll_peer_change() else { return };
        let mut homes = self.seat.homes();
        let changes = std::iter::once(first).chain(std::iter::from_fn(|| stack.poll_peer_change()));
        for change in changes {
            let Some(endpoint) = self.names.get(&change.endpoint).copied() else { continue };
            let key = PeerKey { endpoint, remote: change.remote, port: change.port };
            if change.listed {
                homes.hold(self.seat.index(), key);
            } else {
                homes.release(self.seat.index(), key);
            }
        }
    }

    /// An endpoint was opened.
    pub(crate) fn open(&mut self, id: EndpointId, port: u16, addresses: &[Address]) {
        self.names.insert(id, (port, addresses.iter().min().copied()));
    }

    /// An endpoint was closed.
    pub(crate) fn close(&mut self, stack: &mut Stack, id: EndpointId) {
        self.settle(stack);
        if let Some(name) = self.names.remove(&id) {
            self.seat.homes().close(self.seat.index(), name);
        }
    }

    /// Claims a peer for us, unless another shard has it.
    pub(crate) fn claim(&self, endpoint: EndpointId, addresses: &[Address], port: u16) -> bool {
        let keys = self.keys(endpoint, addresses, port);
        self.seat.homes().claim(self.seat.index(), keys)
    }

    /// Takes a claim back: an association that there is by now has its own.
    pub(crate) fn release(&self, stack: &mut Stack, endpoint: EndpointId, addresses: &[Address], port: u16) {
        self.settle(stack);
        let mut homes = self.seat.homes();
        self.keys(endpoint, addresses, port).for_each(|key| homes.release(self.seat.index(), key));
    }

    /// None for an endpoint that has gone.
    fn keys<'a>(
        &self,
        endpoint: EndpointId,
        addresses: &'a [Address],
        port: u16,
    ) -> impl Iterator<Item = PeerKey> + Clone + use<'a> {
        let endpoint = self.names.get(&endpoint).copied();
        let key = move |remote: &Address| Some(PeerKey { endpoint: endpoint?, remote: *remote, port });
        addresses.iter().filter_map(key)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.seat.leave();
    }
}
