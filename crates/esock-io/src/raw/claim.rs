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
        match bind(&format!("esock/sctp/{port}")) {
            Ok(name) => Ok(Self { _name: name }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::InUse { port }),
            Err(error) => Err(ClaimError::System { port, error }),
        }
    }

    /// Claims to answer for all ports that nobody has.
    pub(crate) fn of_rest() -> io::Result<Self> {
        Ok(Self { _name: bind("esock/sctp/rest")? })
    }
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}
