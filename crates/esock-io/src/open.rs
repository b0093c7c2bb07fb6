//! Opening the backend that was asked for.

use crate::config::{Backend, DriverConfig, Protocol};
use crate::driver::Driver;
use crate::error::DriverError;
use crate::transport::Transport;

/// Opens a transport: `protocol` over `config.backend`.
///
/// [`Backend::Auto`] takes the kernel's SCTP where it is loaded, else raw IP where that is permitted, else UDP;
/// [`Transport::backend`] says which and why.
pub fn open(protocol: Protocol, config: DriverConfig) -> Result<Box<dyn Transport>, DriverError> {
    match (protocol, config.backend) {
        (Protocol::Sctp, Backend::Kernel) => Err(DriverError::Unsupported { protocol, backend: config.backend }),
        (Protocol::Sctp, _) => Ok(Box::new(Driver::open(config)?)),
        (Protocol::Tcp, backend) => Err(DriverError::Unsupported { protocol, backend }),
    }
}
