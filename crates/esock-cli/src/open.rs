//! Opens endpoints as the command line asks for them, and says what came of it.

use crate::args::CommonArgs;
use crate::console::say;
use crate::exit::{Exit, Failure};
use crate::words;
use esock::{Address, Backend, ConnectError, Endpoint, EndpointBuilder, Protocol, UdpPort};

/// Opens an endpoint on `local`, or on all addresses if that is empty.
pub async fn endpoint(
    local: &[Address],
    port: u16,
    udp_port: UdpPort,
    common: &CommonArgs,
) -> Result<Endpoint, Failure> {
    let config = common.config();
    config.validate().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let builder = Endpoint::builder().port(port).protocol(common.protocol.into()).backend(common.backend.into());
    let builder = builder.tcp_framing(common.tcp_framing.into()).udp_port(udp_port).config(config);
    open(builder, local, common.verbose).await
}

/// Opens an endpoint on `local`, or on all addresses if that is empty, and warns.
pub async fn open(builder: EndpointBuilder, local: &[Address], verbose: bool) -> Result<Endpoint, Failure> {
    let builder = match local {
        [] => builder.any(),
        _ => builder.addresses(local.iter().copied()),
    };
    let endpoint = builder.open().await.map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
    let chosen = endpoint.backend();
    for warning in &chosen.warnings {
        say(&format!("warning: {warning}"));
    }
    if verbose {
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
    match (chosen.protocol, chosen.backend) {
        (Protocol::Sctp, Backend::Kernel) => ways.push("the kernel's SCTP".to_owned()),
        (Protocol::Sctp, Backend::Raw) => ways.push("raw IP".to_owned()),
        _ => {}
    }
    if let Some(port) = chosen.udp_port {
        ways.push(format!("UDP port {port}"));
    }
    let ways = if ways.is_empty() { String::new() } else { format!(", {}", ways.join(" and ")) };
    let protocol = words::protocol(chosen.protocol);
    say(&format!("listening on {protocol} port {}, {addresses}{ways}", endpoint.port()));
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
