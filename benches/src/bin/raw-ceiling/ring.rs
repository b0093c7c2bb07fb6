//! Packet sockets whose packets pass through memory that is shared with the kernel (PACKET_MMAP).

use crate::network::{ETHERNET, Network, PROTOCOL};
use crate::packet::{open, set};
use crate::{BATCH, Receiver, Sender};
use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a block, and how many blocks there are.
const BLOCK: usize = 1 << 20;
const BLOCKS: usize = 16;

/// The Ethernet type of IPv4.
const IPV4: u16 = 0x0800;

/// Memory that is shared with the kernel.
struct Shared {
    at: *mut u8,
}

// SAFETY: it is used by one thread at a time, which whoever owns it is.
unsafe impl Send for Shared {}

impl Shared {
    fn new(socket: &Socket) -> Result<Self, String> {
        let (access, flags, fd) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, socket.as_raw_fd());
        // SAFETY: asks for new memory at no place in particular.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), BLOCK * BLOCKS, access, flags, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(format!("mmap of a packet socket: {}", io::Error::last_os_error()));
        }
        Ok(Self { at: at.cast() })
    }

    /// A status word, which says whose what follows is.
    fn status(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= BLOCK * BLOCKS && offset.is_multiple_of(4));
        // SAFETY: within the memory, aligned, and the kernel changes it atomically.
        unsafe { AtomicU32::from_ptr(self.at.add(offset).cast()) }
    }

    /// Another word, which the kernel leaves alone while the status says that it is ours.
    fn word(&self, offset: usize) -> u32 {
        self.status(offset).load(Ordering::Relaxed)
    }

    fn byte(&self, offset: usize) -> u8 {
        assert!(offset < BLOCK * BLOCKS);
        // SAFETY: within the memory.
        unsafe { self.at.add(offset).read() }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= BLOCK * BLOCKS);
        // SAFETY: within the memory, and its status says that it is ours.
        unsafe { self.at.add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped, and nobody has a reference to it.
        unsafe { libc::munmap(self.at.cast(), BLOCK * BLOCKS) };
    }
}

/// A frame for each packet (TPACKET_V2).
pub struct RingSender {
    socket: Socket,
    shared: Shared,
    frame: Vec<u8>,
    /// Bytes of a frame in the ring.
    stride: usize,
    next: usize,
}

impl RingSender {
    pub fn new(bytes: usize, network: &Network) -> Result<Self, String> {
        let (frame, socket) = (network.frame(bytes), open("left", None)?);
        let stride = (frame.len() + size_of::<libc::tpacket2_hdr>()).next_power_of_two();
        let fd = socket.as_raw_fd();
        set(fd, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V2)?;
        set(fd, libc::PACKET_QDISC_BYPASS, &1i32)?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: stride as u32,
            tp_frame_nr: (BLOCK / stride * BLOCKS) as u32,
        };
        set(fd, libc::PACKET_TX_RING, &request)?;
        Ok(Self { shared: Shared::new(&socket)?, socket, frame, stride, next: 0 })
    }
}

impl Sender for RingSender {
    fn send(&mut self) {
        let header = size_of::<libc::tpacket2_hdr>().next_multiple_of(16);
        for _ in 0..BATCH {
            let at = self.next * self.stride;
            if self.shared.status(at).load(Ordering::Acquire) != libc::TP_STATUS_AVAILABLE {
                break;
            }
            // The packet is written anew, as a stack does that builds it in place. Its length stands behind the status.
            self.shared.write(at + header, &self.frame);
            self.shared.write(at + 4, &(self.frame.len() as u32).to_ne_bytes());
            self.shared.status(at).store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
            self.next = (self.next + 1) % (BLOCK / self.stride * BLOCKS);
        }
        // SAFETY: sends what is in the ring; no other memory is named.
        unsafe { libc::send(self.socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT) };
    }
}

/// Blocks of packets (TPACKET_V3).
pub struct RingReceiver {
    socket: Socket,
    shared: Shared,
    next: usize,
}

/// Where the header of a block has its status, its number of packets, and the offset of the first.
const BLOCK_STATUS: usize = 8;
const BLOCK_PACKETS: usize = 12;
const BLOCK_FIRST: usize = 16;

/// Where the header of a packet has the offset of the next one, and that of its link-layer header.
const PACKET_NEXT: usize = 0;
const PACKET_MAC: usize = 24;

impl RingReceiver {
    pub fn new(_: &Network) -> Result<Self, String> {
        let socket = open("right", Some(IPV4))?;
        let fd = socket.as_raw_fd();
        set(fd, libc::PACKET_VERSION, &libc::tpacket_versions::TPACKET_V3)?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK as u32,
            tp_block_nr: BLOCKS as u32,
            tp_frame_size: 1 << 14,
            tp_frame_nr: (BLOCK >> 14) as u32 * BLOCKS as u32,
            // Milliseconds after which a block that is not full is ours.
            tp_retire_blk_tov: 1,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(fd, libc::PACKET_RX_RING, &request)?;
        Ok(Self { shared: Shared::new(&socket)?, socket, next: 0 })
    }
}

impl Receiver for RingReceiver {
    fn receive(&mut self) -> u64 {
        let block = self.next * BLOCK;
        let status = self.shared.status(block + BLOCK_STATUS);
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            let mut poll = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives until the call has returned.
            unsafe { libc::poll(&raw mut poll, 1, 20) };
            return 0;
        }
        let mut at = block + self.shared.word(block + BLOCK_FIRST) as usize;
        let mut packets = 0;
        for _ in 0..self.shared.word(block + BLOCK_PACKETS) {
            let mac = (self.shared.word(at + PACKET_MAC) & 0xffff) as usize;
            packets += u64::from(self.shared.byte(at + mac + ETHERNET + 9) == PROTOCOL);
            at += self.shared.word(at + PACKET_NEXT) as usize;
        }
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % BLOCKS;
        packets
    }
}
