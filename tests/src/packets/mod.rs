//! Packet scripts over sockets: what `esock-script` does to the stack, done to a program under `esock run`, in real
//! time. Between the two stand the preloaded library, the broker, raw IP and a TUN device.

mod live;
mod rig;
mod words;

pub use live::play;
pub use rig::{Done, OURS, PEERS, Rig, arrival};
