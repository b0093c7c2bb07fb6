//! esock's stack against other sans-IO stacks: in memory, in virtual time, over a wire with losses.
//!
//! A stack takes part by implementing [`Peer`] (one short file each in `tests/peers/`); [`World`] joins it to
//! a [`Stack`](esock_proto::Stack) of ours and verifies every message that arrives on either side.
//!
//! - `ESOCK_SEED=N` repeats a run with the seed that it printed: what the wire and our stack do. (Of the peers only
//!   dcsctp's randomness can be given a seed; the others choose tags and TSNs as they like.)
//! - The capture of a test that fails is kept, as pcapng in cargo's directory for tests; `ESOCK_KEEP_CAPTURES=1`
//!   keeps those of all.

#![forbid(unsafe_code)]

mod book;
mod fact;
mod peer;
mod shift;
pub mod wire;
mod world;

pub use book::{Book, Plan, Planned};
pub use fact::fact;
pub use peer::{Arrived, Options, Peer, PeerEvent};
pub use world::{Setup, World, seed};

/// The port of both ends: not all of the peers can have different ones.
pub const PORT: u16 = 5000;

/// The payload protocol identifier of all messages: "WebRTC Binary", because not all of the peers know others.
pub const PPID: u32 = 53;
