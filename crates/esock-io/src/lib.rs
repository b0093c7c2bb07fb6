//! Sockets for esock, and the [`Driver`] that joins a [`Stack`](esock_proto::Stack) to them.
//!
//! Two ways out of the host: UDP encapsulation ([RFC 6951](https://www.rfc-editor.org/rfc/rfc6951)),
//! which needs no privileges and passes NATs, and native SCTP on raw IP (Linux, `CAP_NET_RAW`).
//! One driver speaks both at once: encapsulation is a property of a path.
//!
//! [`Driver::turn`] receives what has arrived, feeds the stack, sends what it has, and never blocks.
//! Wait for [`Driver::interests`] and [`Turn::deadline`] with a runtime of your choice, or with
//! [`Driver::wait`].

mod addresses;
#[cfg(target_os = "linux")]
mod alarm;
mod clock;
mod config;
mod driver;
mod error;
#[cfg(target_os = "linux")]
mod errqueue;
mod impair;
#[cfg(target_os = "linux")]
pub mod kernel;
mod open;
mod pages;
#[cfg(target_os = "linux")]
mod raw;
mod refusal;
mod route;
mod session;
mod shards;
#[cfg(target_os = "linux")]
mod shared;
mod sockets;
mod sys;
mod tcp;
#[cfg(test)]
mod tests;
mod transport;
mod udp;
mod wait;

pub use addresses::{host_addresses, host_interfaces};
#[cfg(target_os = "linux")]
pub use alarm::Alarm;
pub use config::{Backend, DriverConfig, ENCAPSULATION_PORT, Protocol, TcpFraming, UdpPort};
pub use driver::{Chosen, Driver, DriverStats, Turn};
pub use error::{ClaimError, DriverError, EndpointError};
pub use impair::{Direction, Impairment, Rules};
pub use open::open;
pub use route::{Route, route};
pub use shards::{MAX_SHARDS, Seat};
#[cfg(target_os = "linux")]
pub use shared::{SharedMemory, peek, receive_with_memory};
#[cfg(target_os = "linux")]
pub use sys::{detach, kernel_sctp, peer_user, user};
pub use transport::{Incoming, Transport};
pub use wait::Interest;
