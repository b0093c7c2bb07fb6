//! The SCTP state machine of esock (RFC 9260), sans-IO.
//!
//! Packets, commands and the time go in; packets, events and a deadline come out. There is no
//! socket, no clock, no thread and no global randomness in here: the same seed and the same inputs
//! give the same packets.
//!
//! Start with [`Stack`].
#![forbid(unsafe_code)]

mod api;
mod assoc;
mod bits;
mod capability;
mod config;
mod error;
mod faults;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod homes;
mod pieces;
mod serial;
mod stack;
mod stats;
mod streams;
mod time;
mod transmit;
mod types;
mod wire;

pub use api::{
    AssocEvent, CloseReason, Encapsulation, Event, Incoming, Message, Negotiated, Part, PathState, Peer, SendOptions,
    State, Undelivered,
};
pub use capability::{Capabilities, Capability};
pub use config::{
    Config, CongestionAlgorithm, EndpointConfig, LossRecovery, Preset, StackConfig, Surroundings, Warning,
};
pub use error::{ConfigError, ConnectError, NotFound, OpenError, PathError, Rejected, SendError};
#[cfg(feature = "faults")]
pub use faults::{Fault, Faults};
pub use homes::{EndpointName, Homes, PeerKey};
pub use pieces::Pieces;
pub use serial::{Ssn, Tsn};
pub use stack::{PeerChange, Shard, Stack, Stray, StrayKind};
pub use stats::{AssociationStats, Counters, PathParameters, PathStats, StackStats, Waiting};
pub use time::Time;
pub use transmit::{Datagram, Ecn, Icmp, IcmpKind, Local, SocketId, Transmit};
pub use types::{Address, AddressScope, AssocId, EndpointId, PathId, Ppid, StreamId, VerificationTag};
