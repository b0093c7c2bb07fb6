//! Opening the backend that was asked for.

use crate::config::{Backend, DriverConfig, Protocol};
use crate::driver::Driver;
use crate::error::DriverError;
use crate::session::{Carrier, SocketTransport};
use crate::transport::Transport;

/// Opens a transport: `protocol` over `config.backend`.
///
/// [`Backend::Auto`] takes the kernel's SCTP where it is loaded, else raw IP where that is permitted, else UDP;
/// [`Transport::backend`] says which and why. Whether it is loaded is seen in /proc: asking for a socket would load it.
pub fn open(protocol: Protocol, config: DriverConfig) -> Result<Box<dyn Transport>, DriverError> {
    if config.seat.is_some() {
        return match (protocol, config.backend) {
            (Protocol::Sctp, Backend::Auto | Backend::Udp | Backend::Raw) => Ok(Box::new(Driver::open(config)?)),
            (protocol, backend) => Err(DriverError::NoShards { protocol, backend }),
        };
    }
    match (protocol, config.backend) {
        #[cfg(target_os = "linux")]
        (Protocol::Sctp, Backend::Kernel) => kernel("the kernel's SCTP, as asked for".into()),
        #[cfg(target_os = "linux")]
        (Protocol::Sctp, Backend::Auto) => {
            let loaded = crate::raw::kernel_sctp(std::path::Path::new("/proc"));
            let why = loaded.map(|seen_in| format!("the kernel's SCTP: it is loaded ({seen_in})"));
            match why.map(kernel) {
                Some(Ok(transport)) => Ok(transport),
                // It is loaded and gives no socket: our own stack says what stands in its way.
                Some(Err(_)) | None => Ok(Box::new(Driver::open(config)?)),
            }
        }
        #[cfg(not(target_os = "linux"))]
        (Protocol::Sctp, Backend::Kernel) => Err(DriverError::Unsupported { protocol, backend: config.backend }),
        (Protocol::Sctp, _) => Ok(Box::new(Driver::open(config)?)),
        (Protocol::Tcp, Backend::Auto | Backend::Kernel) => {
            let chosen = crate::Chosen {
                protocol,
                backend: Backend::Kernel,
                why: "the operating system's TCP: there is no other".into(),
                udp_port: None,
                warnings: Vec::new(),
            };
            over_sockets(crate::tcp::Tcp::new(config.tcp_framing), chosen)
        }
        (Protocol::Tcp, backend) => Err(DriverError::Unsupported { protocol, backend }),
    }
}

#[cfg(target_os = "linux")]
fn kernel(why: String) -> Result<Box<dyn Transport>, DriverError> {
    let carrier = crate::kernel::Kernel::new()?;
    // RFC 6951: the kernel has one UDP port for all, which the administrator chooses.
    let udp_port = std::fs::read_to_string("/proc/sys/net/sctp/udp_port").ok();
    let udp_port = udp_port.and_then(|port| port.trim().parse().ok()).filter(|port| *port != 0);
    let chosen =
        crate::Chosen { protocol: Protocol::Sctp, backend: Backend::Kernel, why, udp_port, warnings: Vec::new() };
    over_sockets(carrier, chosen)
}

fn over_sockets<C: Carrier + 'static>(carrier: C, chosen: crate::Chosen) -> Result<Box<dyn Transport>, DriverError> {
    let transport = SocketTransport::new(carrier, chosen);
    let doing = "asking for a poll";
    Ok(Box::new(transport.map_err(|error| DriverError::Socket { doing, error })?))
}
