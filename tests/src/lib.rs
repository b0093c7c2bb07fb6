//! The laboratory of the interop tests: a network of its own, real peers in it (the Linux kernel's SCTP
//! in a User-Mode Linux guest, usrsctp, esock), and tshark as the judge of every packet.

#![forbid(unsafe_code)]

pub mod capture;
pub mod guest;
pub mod lab;
pub mod line;
pub mod matrix;
pub mod network;
pub mod process;
pub mod scenario;
pub mod workload;
