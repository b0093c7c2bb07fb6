//! Requirements of RFC 9260, one by one: a stack against a peer whose packets are written by hand.
//!
//! Each test cites what it covers (`covers:`); the list is in `tests/requirements/rfc9260/`.

mod lab;

mod control;
mod paths;
mod setup;
mod transfer;
mod wire;
