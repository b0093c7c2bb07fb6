//! Other stacks written in Rust. Those without I/O of their own run on one driver, with GSO and GRO as quinn-udp
//! gives them; each end is a thread.

pub mod dcsctp;
mod driver;
pub mod quinn;
pub mod sctp_proto;
pub mod webrtc_sctp;

use crate::Plan;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use driver::{bulk, ping_pong};

/// A stack without I/O: one association, or what it calls so.
pub trait SansIo: Sized {
    /// How what arrives is checked: message by message, or as a stream of bytes.
    const STREAM: bool;

    /// The end that connects to `remote`, or waits to be connected to.
    fn new(plan: &Plan, connects: bool, remote: SocketAddr, now: Instant) -> Self;

    /// Whether it is set up.
    fn is_up(&mut self) -> bool;

    /// A packet has arrived.
    fn handle_packet(&mut self, now: Instant, packet: &[u8]);

    /// Writes packets into the empty buffer, all but the last of the size that is returned; `None` if there are none.
    fn poll_transmit(&mut self, now: Instant, max_packets: usize, buffer: &mut Vec<u8>) -> Option<usize>;

    /// When to call [`SansIo::handle_timeout`].
    fn poll_timeout(&mut self) -> Option<Instant>;

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant);

    /// Sends a message, or writes to the stream. Says how many bytes were taken: a message whole or not at all.
    fn send(&mut self, now: Instant, payload: &Bytes) -> usize;

    /// Gives what has arrived.
    fn recv(&mut self, now: Instant, deliver: &mut dyn FnMut(&[u8]));
}

/// Sets up so many associations between ends of their own in memory, all of which are kept; how long that took.
///
/// # Panics
///
/// If one does not come up.
pub fn set_up_in_memory<P: SansIo>(associations: usize) -> Duration {
    let (plan, now) = (Plan::default(), Instant::now());
    let remote = SocketAddr::from(([10, 0, 0, 2], 9899));
    let mut ends = Vec::with_capacity(associations);
    let mut packet = Vec::new();
    let began = Instant::now();
    for _ in 0..associations {
        let [mut a, mut b] = [true, false].map(|connects| P::new(&plan, connects, remote, now));
        // INIT and INIT ACK, COOKIE ECHO and COOKIE ACK; and what is said behind them.
        for _ in 0..3 {
            pass(now, &mut a, &mut b, &mut packet);
            pass(now, &mut b, &mut a, &mut packet);
        }
        assert!(a.is_up() && b.is_up(), "it is not up");
        ends.push((a, b));
    }
    began.elapsed()
}

/// Hands over what one end has for the other.
fn pass<P: SansIo>(now: Instant, from: &mut P, to: &mut P, packet: &mut Vec<u8>) {
    while from.poll_transmit(now, 1, packet).is_some() {
        to.handle_packet(now, packet);
        packet.clear();
    }
}

/// Packets that wait, made into batches of equal size.
#[derive(Debug, Default)]
pub struct Packets(VecDeque<Bytes>);

impl Packets {
    fn push(&mut self, packet: impl Into<Bytes>) {
        self.0.push_back(packet.into());
    }

    /// Takes as many as may leave at once: a shorter one ends the batch.
    fn take(&mut self, max_packets: usize, buffer: &mut Vec<u8>) -> Option<usize> {
        let size = self.0.front()?.len();
        for _ in 0..max_packets {
            let fits = |next: &&Bytes| next.len() <= size && buffer.len() + size <= 65_000;
            let Some(len) = self.0.front().filter(fits).map(Bytes::len) else { break };
            if let Some(packet) = self.0.pop_front() {
                buffer.extend_from_slice(&packet);
            }
            if len < size {
                break;
            }
        }
        Some(size)
    }
}

/// A clock for stacks that count from their own beginning.
#[derive(Debug, Clone, Copy)]
struct Epoch(Instant);

impl Epoch {
    fn since(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0)
    }
}
