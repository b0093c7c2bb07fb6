//! Hostile input: what must hold of memory, packets and state, whatever comes.
//!
//! Each module is a theme. A test that checks what a section demands says so with `covers:`.
//! Memory is counted by the allocator of this binary, per thread, so that a test sees its own figures only.

mod addresses;
mod cookies;
mod data;
mod extensions;
mod floods;
mod heartbeat;
mod init;
mod lengths;
mod meter;
mod restart;
mod sack;
mod tags;
mod wire;
mod world;

#[global_allocator]
static ALLOCATOR: meter::Counting = meter::Counting;
