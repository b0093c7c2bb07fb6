//! What the user is warned of: see [`Config::lint`].

use crate::{Address, Backend, Chosen, Config, Protocol, Surroundings};

/// What an endpoint is told of its backend: what will not work well with its own configuration is among the warnings.
pub(crate) fn chosen(backend: &Chosen, config: &Config, local: &[Address]) -> Chosen {
    let mut chosen = backend.clone();
    chosen.warnings.extend(warnings(config, backend, local, 0));
    chosen
}

/// What will not work well with this configuration, between these addresses and as many of a peer (0: not known yet).
pub(crate) fn warnings(config: &Config, chosen: &Chosen, local: &[Address], peer_addresses: usize) -> Vec<String> {
    if chosen.protocol != Protocol::Sctp {
        return Vec::new();
    }
    let interfaces = if local.len() > 1 { esock_io::host_interfaces() } else { Vec::new() };
    let interface_of = |address: &Address| {
        let found = interfaces.iter().find(|(known, _)| known.ip() == address.ip());
        (*address, found.map(|(_, interface)| interface.clone()))
    };
    let mut surroundings = Surroundings::default();
    surroundings.local = local.iter().map(interface_of).collect();
    surroundings.peer_addresses = peer_addresses;
    surroundings.in_udp = chosen.backend == Backend::Udp;
    config.lint(&surroundings).iter().map(ToString::to_string).collect()
}
