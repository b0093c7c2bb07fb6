//! The laboratory of the interop tests: a network of its own, real peers in it (the Linux kernel's SCTP
//! in a User-Mode Linux guest, usrsctp, esock), and tshark as the judge of every packet.
//!
//! The peers speak one command line and one line protocol (`peers/peer.c` over the socket API of the kernel and of
//! usrsctp, `src/bin/esock-peer.rs` over esock) and verify what they receive against a seeded workload. The tests
//! need root and the Debian packages that `cargo xtask test` installs; nothing outside is touched: the network
//! namespaces have no names and end with the processes in them, and those end with the test program.
//!
//! - `ESOCK_NO_PEERS=1` skips all tests with peers; without it a missing peer is a failure.
//! - `ESOCK_KEEP_CAPTURES=1` keeps the captures (`target/tmp/interop`); those of failed tests are kept anyway, until
//!   the next run.
//! - `ESOCK_SEED=N` repeats a run with packet losses with the seed that it printed.

#![forbid(unsafe_code)]

pub mod capture;
pub mod command;
pub mod compile;
pub mod facts;
pub mod guest;
pub mod lab;
pub mod line;
pub mod matrix;
pub mod network;
pub mod packets;
pub mod process;
pub mod programs;
pub mod scenario;
pub mod suite;
pub mod workload;
