//! Choosing a backend and opening its sockets.

use super::Sockets;
use crate::config::{Backend, DriverConfig, ENCAPSULATION_PORT, Protocol, UdpPort};
use crate::driver::Chosen;
use crate::error::DriverError;
#[cfg(target_os = "linux")]
use crate::raw::{RawSocket, kernel_sctp};
#[cfg(target_os = "linux")]
use crate::shards::Seat;
use crate::udp::UdpSocket;
use esock_proto::{Address, SocketId};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
#[cfg(target_os = "linux")]
use std::sync::Arc;

/// How often a port that is free for IPv4 and taken for IPv6 is given up for another.
const PORT_ATTEMPTS: usize = 32;

/// The native half: none where it is not used, with the reason.
struct Native {
    #[cfg(target_os = "linux")]
    sockets: Vec<RawSocket>,
    used: bool,
    why: String,
}

/// Opens what `config` asks for.
pub(crate) fn open(config: &DriverConfig) -> Result<(Sockets, Chosen), DriverError> {
    let native = open_native(config)?;
    let mut warnings = Vec::new();
    let udp = match open_udp(config, config.udp_port) {
        Ok(udp) => udp,
        // Beside raw IP, encapsulation is an extra: its peers find us by native SCTP.
        Err(error @ DriverError::UdpPortInUse { .. }) if native.used => {
            warnings.push(error.to_string());
            open_udp(config, UdpPort::Ephemeral)?
        }
        Err(error) => return Err(error),
    };
    let sockets = Sockets::new(
        udp,
        #[cfg(target_os = "linux")]
        (native.sockets, config.seat.as_ref().map_or_else(Arc::default, Seat::claims)),
    );
    let chosen = Chosen {
        protocol: Protocol::Sctp,
        backend: if native.used { Backend::Raw } else { Backend::Udp },
        why: native.why,
        udp_port: sockets.udp_port(),
        warnings,
    };
    Ok((sockets, chosen))
}

/// The addresses to bind: those given, or the wildcards of both families.
fn bindings(config: &DriverConfig) -> Vec<Address> {
    if config.addresses.is_empty() {
        vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
    } else {
        config.addresses.clone()
    }
}

/// Whether a failure means that this host has no IPv6; it then does with IPv4.
fn no_ipv6(config: &DriverConfig, address: Address, error: &io::Error) -> bool {
    config.addresses.is_empty()
        && !address.is_ipv4()
        && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// Opens the UDP sockets, all with one port.
fn open_udp(config: &DriverConfig, port: UdpPort) -> Result<Vec<UdpSocket>, DriverError> {
    let (wanted, else_ephemeral) = match port {
        UdpPort::Auto => (ENCAPSULATION_PORT, true),
        UdpPort::Prefer(port) => (port, true),
        UdpPort::Listen(port) => (port, false),
        UdpPort::Ephemeral => (0, true),
    };
    if wanted != 0 {
        match open_udp_at(config, wanted) {
            Err(DriverError::UdpPortInUse { .. }) if else_ephemeral => {}
            result => return result,
        }
    }
    let mut result = open_udp_at(config, 0);
    for _ in 1..PORT_ATTEMPTS {
        // The system chose a port that is free for the first address and taken for another.
        if !matches!(result, Err(DriverError::UdpPortInUse { .. })) {
            break;
        }
        result = open_udp_at(config, 0);
    }
    result
}

/// Opens a UDP socket for each address, at one port; 0 takes what the first gets.
fn open_udp_at(config: &DriverConfig, port: u16) -> Result<Vec<UdpSocket>, DriverError> {
    match &config.seat {
        None => bind_udp(config, port, false),
        Some(seat) => seat.bind(port, &|port, shared| bind_udp(config, port, shared)),
    }
}

fn bind_udp(config: &DriverConfig, mut port: u16, shared: bool) -> Result<Vec<UdpSocket>, DriverError> {
    let mut sockets: Vec<UdpSocket> = Vec::new();
    for address in bindings(config) {
        let id = SocketId(sockets.len() as u16);
        let buffers = (config.receive_buffer_bytes, config.send_buffer_bytes);
        let bound = UdpSocket::bind(id, address, port, shared, buffers);
        let socket = match bound {
            Ok(socket) => socket,
            Err(error) if no_ipv6(config, address, &error) => continue,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(DriverError::UdpPortInUse { port, address });
            }
            Err(error) => return Err(DriverError::Bind { address, udp_port: Some(port), error }),
        };
        if port == 0 {
            let doing = "asking for the UDP port";
            port = socket.port().map_err(|error| DriverError::Socket { doing, error })?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Opens raw IP where it is asked for, or possible under `Auto`.
#[cfg(target_os = "linux")]
fn open_native(config: &DriverConfig) -> Result<Native, DriverError> {
    let without = |why: String| Native { sockets: Vec::new(), used: false, why };
    if config.backend == Backend::Udp {
        return Ok(without("UDP encapsulation, as asked for".into()));
    }
    let opened = match kernel_sctp(std::path::Path::new("/proc")) {
        Some(seen_in) => Err(DriverError::KernelSctp { seen_in }),
        None => open_raw(config),
    };
    match (opened, config.backend) {
        (Ok(sockets), Backend::Raw) => Ok(Native { sockets, used: true, why: "raw IP, as asked for".into() }),
        (Ok(sockets), _) => Ok(Native {
            sockets,
            used: true,
            why: "raw IP: it is permitted, and the kernel has no SCTP of its own".into(),
        }),
        (Err(error @ (DriverError::RawNotPermitted(_) | DriverError::KernelSctp { .. })), Backend::Auto) => {
            Ok(without(match error {
                DriverError::KernelSctp { seen_in } => {
                    format!("UDP encapsulation: the kernel's own SCTP is loaded ({seen_in}) and would disturb raw IP")
                }
                error => format!("UDP encapsulation: {error}"),
            }))
        }
        (Err(error), _) => Err(error),
    }
}

/// Raw IP is only known to work on Linux.
#[cfg(not(target_os = "linux"))]
fn open_native(config: &DriverConfig) -> Result<Native, DriverError> {
    match config.backend {
        Backend::Raw => Err(DriverError::RawUnsupported),
        Backend::Udp => Ok(Native { used: false, why: "UDP encapsulation, as asked for".into() }),
        Backend::Auto => Ok(Native { used: false, why: "UDP encapsulation: raw IP is supported on Linux only".into() }),
    }
}

#[cfg(target_os = "linux")]
fn open_raw(config: &DriverConfig) -> Result<Vec<RawSocket>, DriverError> {
    let mut sockets: Vec<RawSocket> = Vec::new();
    // Numbers count on from the UDP sockets, of which there is at most one for each address.
    let first = bindings(config).len();
    let shard = config.seat.as_ref().map(Seat::shard).unwrap_or_default();
    let buffers = (config.receive_buffer_bytes, config.send_buffer_bytes);
    for address in bindings(config) {
        let id = SocketId((first + sockets.len()) as u16);
        let opened = RawSocket::open(id, address, shard, buffers);
        match opened {
            Ok(socket) => sockets.push(socket),
            Err(error) if no_ipv6(config, address, &error) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => {
                return Err(DriverError::RawNotPermitted(error));
            }
            Err(error) => return Err(DriverError::Bind { address, udp_port: None, error }),
        }
    }
    Ok(sockets)
}
