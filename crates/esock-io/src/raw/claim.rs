//! Who holds an SCTP port on raw IP.
//!
//! The kernel knows no SCTP ports here, so two processes could both answer for one. Each port is
//! claimed by binding an abstract `AF_UNIX` name, `esock/sctp/PORT`: one holder per network
//! namespace, and freed by the kernel when the holder dies.

use crate::error::ClaimError;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A port that is ours while this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _name: UnixDatagram,
}

impl Claim {
    /// Claims `port`.
    pub(crate) fn new(port: u16) -> Result<Self, ClaimError> {
        let bind = || {
            let name = SocketAddr::from_abstract_name(format!("esock/sctp/{port}"))?;
            UnixDatagram::bind_addr(&name)
        };
        match bind() {
            Ok(name) => Ok(Self { _name: name }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::InUse { port }),
            Err(error) => Err(ClaimError::System { port, error }),
        }
    }
}
