//! A seeded, simulated network, in virtual time, for the tests and benchmarks of esock.
//!
//! [`Network`] holds hosts, each with a stack and several addresses, and links between them that delay,
//! lose, reorder, duplicate, corrupt and swallow packets as [`LinkConfig`] says. The same seed gives the
//! same run, packet by packet; any run can be written as pcapng ([`Network::capture`]).
//!
//! [`scenario`] makes random situations from a seed, [`check`] plays them and holds the stack to its
//! promises: every message arrives exactly once and, within its stream, in order, or comes back.
//! [`soak`] does so for days. [`shards`] says what several cores are worth.
#![forbid(unsafe_code)]

pub mod check;
mod ledger;
mod link;
mod network;
mod pcapng;
pub mod scenario;
pub mod shards;
pub mod soak;

pub use link::{Fate, Link, LinkConfig, Loss};
pub use network::{Host, Network};
pub use pcapng::{Capture, CapturedPacket};
