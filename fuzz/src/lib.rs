//! What the fuzz targets do, as functions of bytes, so that the stored corpus runs as ordinary tests too.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; `cargo fuzz run TARGET` does the same with cargo-fuzz.
//! Bytes are read from the front, and those that are missing are zeros, so that a seed can be made ([`seeds`])
//! and every prefix of an input means the same as before.

pub mod adversary;
pub mod commands;
pub mod cookie;
pub mod input;
pub mod ledger;
pub mod packets;
pub mod seeds;
pub mod seen;
pub mod stack;
pub mod wire;
pub mod world;

/// A target: what it does with an input.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("wire", wire::run),
    ("stack", stack::run),
    ("adversary", adversary::run),
    ("cookie", cookie::run),
    ("commands", commands::run),
];
