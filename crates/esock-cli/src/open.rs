//! Opens endpoints as the command line asks for them, and says what came of it.

use crate::args::CommonArgs;
use crate::console::say;
use crate::exit::{Exit, Failure};
use crate::words;
use esock::{Address, Backend, ConnectError, Endpoint, UdpPort};

/// Opens an endpoint on `local`, or on all addresses if that is empty.
pub async fn endpoint(
    local: &[Address],
    port: u16,
    udp_port: UdpPort,
    common: &CommonArgs,
) -> Result<Endpoint, Failure> {
    let builder =
        Endpoint::builder().port(port).backend(common.backend.into()).udp_port(udp_port).config(common.config());
    let builder = match local {
        [] => builder.any(),
        _ => builder.addresses(local.iter().copied()),
    };
    let endpoint = builder.open().await.map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    let chosen = endpoint.backend();
    for warning in &chosen.warnings {
        say(&format!("warning: {warning}"));
    }
    if common.verbose {
        say(&format!("backend {}: {}", chosen.backend, chosen.why));
    }
    Ok(endpoint)
}

/// Says where peers can reach us.
pub fn tell_listening(endpoint: &Endpoint) {
    let addresses: Vec<String> = endpoint.addresses().iter().map(Address::to_string).collect();
    let addresses = match addresses.as_slice() {
        [] => "all addresses".to_owned(),
        some => some.join(", "),
    };
    let chosen = endpoint.backend();
    let mut ways = Vec::new();
    if chosen.backend == Backend::Raw {
        ways.push("raw IP".to_owned());
    }
    if let Some(port) = chosen.udp_port {
        ways.push(format!("UDP port {port}"));
    }
    say(&format!("listening on SCTP port {}, {addresses}, {}", endpoint.port(), ways.join(" and ")));
}

/// Why `peer` could not be connected to.
pub fn connect_failure(peer: &str, error: &ConnectError) -> Failure {
    match error {
        ConnectError::Closed(reason) => {
            Failure::new(Exit::of(reason), format!("{peer}: {}", words::close_reason(reason)))
        }
        other => Failure::new(Exit::Other, format!("{peer}: {other}")),
    }
}
