//! SCTP sockets for programs that were never changed: what they ask of the C library about SCTP sockets goes to esock's
//! broker; everything else goes on to the C library.
//!
//! A socket is a connection to the broker, so its descriptor survives `fork`, `exec`, `dup` and being passed on, is
//! readable and writable when the socket is, and the broker sees when the last one is closed (`wait`). Calls go over
//! connections of their own, each of which takes one call at a time (`channel`).
//!
//! The functions here are the C library's, by the same names and with the same meaning. None of them panics: what goes
//! on behind them is caught, and told as `EIO`.
#![cfg(target_os = "linux")]

mod broker;
mod channel;
mod checked;
mod control;
mod descriptor;
mod errno;
mod heap;
mod life;
mod linger;
mod load;
mod memory;
mod names;
mod options;
mod ready;
mod real;
mod receive;
mod send;
mod shared;
mod signals;
mod socket;
mod start;
mod streams;
mod table;
mod transfer;
mod wait;
