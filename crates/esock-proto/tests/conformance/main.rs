//! Conformance to RFC 9260, table by table: what a row expects was worked out by hand from the text of the
//! section that it names, not from the code.
//!
//! `cargo test -p esock-proto --test conformance -- --nocapture` prints how many rows each table has.

mod bundling;
mod chunk_by_state;
mod congestion;
mod cookie_echo;
mod faults;
mod fsm;
mod hand;
mod init;
mod lab;
mod ootb;
mod rto;
mod sacks;
mod shutdown;
mod window;
