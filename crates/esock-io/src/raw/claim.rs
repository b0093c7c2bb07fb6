//! Who holds an SCTP port on raw IP.
//!
//! The kernel knows no SCTP ports here, so two processes could both answer for one. Each port is
//! claimed by binding an abstract `AF_UNIX` name, `esock/sctp/PORT`: one holder per network
//! namespace, and freed by the kernel when the holder dies.

use crate::error::ClaimError;
use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A port that is ours while this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    _name: UnixDatagram,
}

impl Claim {
    /// Claims `port`.
    pub(crate) fn new(port: u16) -> Result<Self, ClaimError> {
        match bind(&name(port)) {
            Ok(name) => Ok(Self { _name: name }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(ClaimError::InUse { port }),
            Err(error) => Err(ClaimError::System { port, error }),
        }
    }

    /// Whether somebody has claimed `port`. Asking claims nothing: a name that is bound can be connected to. Who cannot ask,
    /// for want of a descriptor, takes it for held: what it refused would be another's.
    pub(crate) fn is_held(port: u16) -> bool {
        let ask = || UnixDatagram::unbound()?.connect_addr(&SocketAddr::from_abstract_name(name(port))?);
        !ask().is_err_and(|error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Claims to answer for all ports that nobody has.
    pub(crate) fn of_rest() -> io::Result<Self> {
        Ok(Self { _name: bind("esock/sctp/rest")? })
    }
}

/// The claims of drivers that share them: all shards of a port hold it, and the last one frees it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    ports: Mutex<BTreeMap<u16, Weak<Claim>>>,
    rest: Mutex<Weak<Claim>>,
}

impl Claims {
    /// As [`Claim::new`], or the claim that one of them holds.
    pub(crate) fn claim(&self, port: u16) -> Result<Arc<Claim>, ClaimError> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = ports.get(&port).and_then(Weak::upgrade) {
            return Ok(held);
        }
        let claim = Arc::new(Claim::new(port)?);
        ports.retain(|_, held| held.strong_count() > 0);
        ports.insert(port, Arc::downgrade(&claim));
        Ok(claim)
    }

    /// As [`Claim::of_rest`], or the claim that one of them holds.
    pub(crate) fn claim_rest(&self) -> io::Result<Arc<Claim>> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = rest.upgrade() {
            return Ok(held);
        }
        let claim = Arc::new(Claim::of_rest()?);
        *rest = Arc::downgrade(&claim);
        Ok(claim)
    }
}

fn name(port: u16) -> String {
    format!("esock/sctp/{port}")
}

fn bind(name: &str) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}
