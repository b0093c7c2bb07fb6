//! What other shards have received for this one: bounded, and rare.

use esock_proto::{Address, Datagram, Ecn, Icmp, IcmpKind, Local};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What may wait at most; more is dropped, as a full socket drops it.
const MAX_BYTES: usize = 1 << 20;

/// What a parcel costs beside its data.
const OVERHEAD_BYTES: usize = 128;

/// Something that arrived at another shard's socket.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A packet; `last`: this shard has the peer, and nobody else is to be asked.
    Packet { local: Local, remote: Address, encap_port: Option<u16>, ecn: Option<Ecn>, data: Vec<u8>, last: bool },
    /// An ICMP report about a packet of this shard's.
    Report { kind: IcmpKind, remote: Address, encap_port: Option<u16>, quoted: Vec<u8> },
}

impl Parcel {
    pub fn of(datagram: &Datagram<'_>, last: bool) -> Self {
        let Datagram { local, remote, encap_port, ecn, data } = *datagram;
        Self::Packet { local, remote, encap_port, ecn, data: data.to_vec(), last }
    }

    pub fn report(icmp: &Icmp<'_>) -> Self {
        let Icmp { kind, remote, encap_port, quoted } = *icmp;
        Self::Report { kind, remote, encap_port, quoted: quoted.to_vec() }
    }

    fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Packet { data, .. } => data.len(),
                Self::Report { quoted, .. } => quoted.len(),
            }
    }
}

#[derive(Debug, Default)]
struct Queue {
    parcels: Vec<Parcel>,
    bytes: usize,
    /// Whether there is somebody who takes out what is put in.
    is_open: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Whether anything waits: who receives looks here, and takes the lock only then.
    waits: AtomicBool,
    /// A byte is in here exactly while something waits: whoever sleeps is woken by it.
    bell: UnixStream,
    rope: UnixStream,
}

impl Inbox {
    pub fn new() -> io::Result<Self> {
        let (bell, rope) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rope.set_nonblocking(true)?;
        Ok(Self { queue: Mutex::default(), waits: AtomicBool::new(false), bell, rope })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody takes out what is put in, from now on.
    pub fn open(&self) {
        self.queue().is_open = true;
    }

    /// Nobody does: what is in here is lost, and nothing more is put in, to be found old by who comes next.
    pub fn close(&self) {
        self.queue().is_open = false;
        self.take();
    }

    /// Puts something in. Says whether there was room, and somebody to take it.
    pub fn put(&self, parcel: Parcel) -> bool {
        let mut queue = self.queue();
        let bytes = parcel.bytes();
        if !queue.is_open || queue.bytes + bytes > MAX_BYTES {
            return false;
        }
        if queue.parcels.is_empty() {
            self.waits.store(true, Ordering::Release);
            // It holds one byte at most, so there is room.
            let _ = (&self.rope).write(&[1]);
        }
        queue.bytes += bytes;
        queue.parcels.push(parcel);
        true
    }

    /// Whether something waits. Costs nothing.
    pub fn has_any(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<Parcel> {
        let mut queue = self.queue();
        if self.waits.swap(false, Ordering::AcqRel) {
            // Nothing there: it was drained by somebody who inherited it.
            let _ = (&self.bell).read(&mut [0; 8]);
        }
        queue.bytes = 0;
        std::mem::take(&mut queue.parcels)
    }

    /// Readable while something waits.
    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(inbox: &Inbox) -> bool {
        let mut entry = libc::pollfd { fd: inbox.bell(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry, and its number.
        unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
    }

    #[test]
    fn the_bell_rings_exactly_while_something_waits_and_there_is_an_end_to_room() {
        let inbox = Inbox::new().unwrap();
        inbox.open();
        let remote = std::net::Ipv4Addr::LOCALHOST.into();
        let data = [0; 1400];
        let datagram = Datagram { local: Local::default(), remote, encap_port: None, ecn: None, data: &data };
        assert!(!inbox.has_any() && !rings(&inbox));
        let put = (0..10_000).take_while(|_| inbox.put(Parcel::of(&datagram, false))).count();
        assert_eq!(put, MAX_BYTES / (data.len() + OVERHEAD_BYTES));
        assert!(inbox.has_any() && rings(&inbox));
        assert_eq!(inbox.take().len(), put);
        assert!(!inbox.has_any() && !rings(&inbox));
        assert!(inbox.put(Parcel::of(&datagram, true)), "there is room again");
        assert!(rings(&inbox));
        inbox.close();
        assert!(!inbox.put(Parcel::of(&datagram, true)), "nobody would take it");
        assert!(!inbox.has_any() && !rings(&inbox));
        inbox.open();
        assert!(inbox.take().is_empty() && inbox.put(Parcel::of(&datagram, true)));
    }
}
