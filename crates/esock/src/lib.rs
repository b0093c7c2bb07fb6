//! SCTP associations for tokio: endpoints, associations, paths, and owners who receive what happens.
//!
//! An [`Endpoint`] is an SCTP port with its addresses. It has [`Association`]s, made with
//! [`Endpoint::connect`], [`Endpoint::accept`] or by registering an [`Owner`]; an association has
//! [`Path`]s, one per address of the peer. Packets travel over raw IP where that is permitted, and
//! over UDP (RFC 6951) everywhere: no privileges and no kernel module are needed.
//!
//! ```
//! use esock::{Backend, ConnectTo, Endpoint, Received, SendOptions, UdpPort};
//! use std::net::Ipv4Addr;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let server = Endpoint::builder().port(30400).backend(Backend::Udp).udp_port(UdpPort::Ephemeral).open().await?;
//! let client = Endpoint::builder().backend(Backend::Udp).udp_port(UdpPort::Ephemeral).open().await?;
//!
//! let to = ConnectTo::new([Ipv4Addr::LOCALHOST], 30400).encap_port(server.backend().udp_port.unwrap());
//! let (connected, accepted) = tokio::join!(client.connect(to), server.accept());
//! let (association, _receiver) = connected?;
//! let (_association, mut receiver) = accepted?;
//!
//! association.send(SendOptions::default(), "hello").await?;
//! while let Some(received) = receiver.recv().await {
//!     if let Received::Message(message) = received {
//!         assert_eq!(message.payload, "hello");
//!         break;
//!     }
//! }
//! association.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What is kept, and for how long
//!
//! Handles that you hold keep an association: [`Association`], its [`Receiver`], or the [`Owner`]
//! that it went to. When the last one is dropped the association is shut down gracefully, in the
//! background, and aborted if that takes longer than [`LINGER`]. A supervised association
//! ([`Endpoint::supervise`]) lives until it is cancelled. What look-ups find ([`endpoints`],
//! [`find_association`]) keeps nothing. At the end of a process, [`close_all`] drains.
//!
//! # Slow readers
//!
//! What was received stays in its association, charged to its own receive window, until
//! [`Receiver::recv`] or [`Owner::recv`] takes it. Who does not read closes the window of that
//! association and nobody else's.
//!
//! # Busy tasks
//!
//! A task that always finds something to send or to receive yields now and then, as with tokio's own sockets
//! ([`tokio::task::coop`]), so that others on its thread get their turn.
#![forbid(unsafe_code)]

mod accept;
mod alarm;
mod association;
mod builder;
mod busy;
mod connect;
mod context;
mod crowd;
mod endpoint;
mod error;
mod events;
mod line;
mod link;
mod lint;
mod owner;
mod path;
mod receiver;
mod shard;
mod state;
mod supervisor;
mod task;

pub use association::{Association, WeakAssociation};
pub use builder::EndpointBuilder;
pub use connect::ConnectTo;
pub use context::{Context, close_all, endpoints, find_association, find_endpoint};
pub use endpoint::{Endpoint, WeakEndpoint};
pub use error::{AcceptError, ConnectError, OpenError};
pub use events::{EndpointEvent, EndpointEvents};
pub use owner::{Candidate, OnDrop, Owner, OwnerEvent, peer};
pub use path::Path;
pub use receiver::{Received, Receiver};
pub use shard::ShardStats;
pub use supervisor::Supervision;

use esock_io::DriverConfig;
pub use esock_io::{
    Backend, Chosen, Direction, ENCAPSULATION_PORT, Impairment, Protocol, TcpFraming, UdpPort, host_addresses,
    host_interfaces,
};
pub use esock_proto::{
    Address, AssociationStats, Capabilities, Capability, CloseReason, Config, ConfigError, CongestionAlgorithm,
    ConnectError as InvalidConnect, Counters, Encapsulation, Event, LossRecovery, Message, Negotiated, Part, PathError,
    PathId, PathParameters, PathState, PathStats, Pieces, Ppid, Preset, Rejected, SendError, SendOptions, Ssn, State,
    StreamId, Surroundings, Tsn, Undelivered, Waiting, Warning,
};

/// How long an association may take to shut down after its last handle was dropped, before it is aborted.
pub const LINGER: std::time::Duration = std::time::Duration::from_secs(5);

/// Tests the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Tests the program on the page for people who come from elsewhere.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/coming-from-elsewhere.md")]
struct ComingFromElsewhere;
