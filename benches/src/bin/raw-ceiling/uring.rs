//! Raw IP sockets through io_uring: a batch of sends for one call, and one receive that goes on for ever (multishot).

use crate::network::Network;
use crate::socket::{connected, raw};
use crate::{BATCH, Receiver, Sender};
use io_uring::{IoUring, cqueue, opcode, types};
use socket2::Socket;
use std::os::fd::AsRawFd;

/// Buffers that wait to be filled, each with room for any packet of this benchmark.
const BUFFERS: u16 = 512;
const ROOM: usize = 9216;

fn ring() -> Result<IoUring, String> {
    let ring = IoUring::builder().setup_single_issuer().build(1024);
    ring.map_err(|error| format!("io_uring: {error}"))
}

pub struct UringSender {
    ring: Option<IoUring>,
    socket: Socket,
    packet: Vec<u8>,
}

impl UringSender {
    pub fn new(bytes: usize, network: &Network) -> Result<Self, String> {
        Ok(Self { ring: None, socket: connected(network)?, packet: vec![0; bytes] })
    }
}

impl Sender for UringSender {
    fn send(&mut self) {
        // Made by the thread that uses it.
        let ring = self.ring.get_or_insert_with(|| ring().expect("io_uring is there"));
        let (fd, packet) = (types::Fd(self.socket.as_raw_fd()), &self.packet);
        for _ in 0..BATCH {
            let entry = opcode::Send::new(fd, packet.as_ptr(), packet.len() as u32).build();
            // SAFETY: the packet lives longer than the ring, and nobody writes to it.
            unsafe { ring.submission().push(&entry).expect("the last batch is done") };
        }
        ring.submit_and_wait(BATCH).expect("a batch can be submitted");
        ring.completion().for_each(drop);
    }
}

pub struct UringReceiver {
    ring: IoUring,
    socket: Socket,
    buffers: Vec<u8>,
    armed: bool,
}

impl UringReceiver {
    pub fn new() -> Result<Self, String> {
        let socket = raw()?;
        esock_benches::plan::enlarge(&socket);
        let mut this = Self { ring: ring()?, socket, buffers: vec![0; usize::from(BUFFERS) * ROOM], armed: false };
        this.provide(0, BUFFERS);
        Ok(this)
    }

    /// Gives buffers to the kernel (back).
    fn provide(&mut self, first: u16, count: u16) {
        let at = self.buffers[usize::from(first) * ROOM..].as_mut_ptr();
        let entry = opcode::ProvideBuffers::new(at, ROOM as i32, count, 0, first).build().user_data(1);
        // SAFETY: the buffers live longer than the ring, and are not looked at while the kernel has them.
        unsafe { self.ring.submission().push(&entry).expect("there are more entries than buffers") };
    }
}

impl Receiver for UringReceiver {
    fn receive(&mut self) -> u64 {
        if !self.armed {
            let entry = opcode::RecvMulti::new(types::Fd(self.socket.as_raw_fd()), 0).build();
            // SAFETY: it names buffers of the group only.
            unsafe { self.ring.submission().push(&entry).expect("there are more entries than buffers") };
            self.armed = true;
        }
        let patience = types::Timespec::new().nsec(20_000_000);
        let arguments = types::SubmitArgs::new().timespec(&patience);
        let _ = self.ring.submitter().submit_with_args(1, &arguments);
        let done: Vec<_> =
            self.ring.completion().map(|entry| (entry.user_data(), entry.result(), entry.flags())).collect();
        let mut packets = 0;
        for (kind, result, flags) in done {
            if kind == 1 {
                continue;
            }
            self.armed &= cqueue::more(flags);
            if let (true, Some(buffer)) = (result > 0, cqueue::buffer_select(flags)) {
                packets += 1;
                self.provide(buffer, 1);
            }
        }
        packets
    }
}
