//! Endpoints: an SCTP port and its addresses; what a peer is told of them, and which one a path uses.

use crate::config::{Config, EndpointConfig};
use crate::error::OpenError;
use crate::transmit::Local;
use crate::types::{Address, AddressScope, EndpointId};
use rand::{Rng, RngExt};
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    pub port: u16,
    /// Empty: all of the host's.
    pub addresses: Vec<Address>,
    host_addresses: Vec<Address>,
    /// The address types of both, IPv4 and IPv6: asked for each packet, and there may be many addresses.
    types: (bool, bool),
    pub config: Arc<Config>,
    pub accepting: bool,
    pub associations: usize,
}

/// All endpoints of a stack.
#[derive(Debug, Default)]
pub struct Endpoints {
    by_id: FxHashMap<u32, Endpoint>,
    by_port: FxHashMap<u16, Vec<EndpointId>>,
    last_id: u32,
}

/// The addresses of an endpoint: those that it names, else all of the types that the host's are of.
#[derive(Debug, Clone, Copy)]
struct Reach<'a> {
    named: &'a [Address],
    types: (bool, bool),
}

impl Reach<'_> {
    fn includes(self, address: Address) -> bool {
        match self.named {
            [] if address.is_ipv4() => self.types.0,
            [] => self.types.1,
            named => named.contains(&address),
        }
    }

    /// Whether two endpoints on one port would have an address in common.
    fn overlaps(self, other: Reach<'_>) -> bool {
        match (self.named, other.named) {
            ([], []) => (self.types.0 && other.types.0) || (self.types.1 && other.types.1),
            ([], named) => named.iter().any(|address| self.includes(*address)),
            (named, _) => named.iter().any(|address| other.includes(*address)),
        }
    }
}

/// The address types, IPv4 and IPv6, of an endpoint with these addresses; both where none is known.
fn types_of(named: &[Address], of_host: &[Address]) -> (bool, bool) {
    let known = if named.is_empty() { of_host } else { named };
    let has = |v4: bool| known.is_empty() || known.iter().any(|address| address.is_ipv4() == v4);
    (has(true), has(false))
}

impl Endpoint {
    /// Whether a packet to `local` is for this endpoint.
    fn serves(&self, local: Option<Address>) -> bool {
        local.is_none_or(|local| self.reach().includes(local))
    }

    /// The host has other addresses now.
    pub fn set_host_addresses(&mut self, addresses: &[Address]) {
        self.host_addresses = addresses.to_vec();
        self.types = types_of(&self.addresses, &self.host_addresses);
    }

    fn reach(&self) -> Reach<'_> {
        Reach { named: &self.addresses, types: self.types }
    }

    /// Our end of a path to `remote`: of explicit addresses the one nearest to it; else the host's routes choose.
    pub fn local_for(&self, remote: Address) -> Local {
        let same_family = self.addresses.iter().filter(|address| address.is_ipv4() == remote.is_ipv4());
        let address = same_family
            .copied()
            .reduce(|best, next| if common_prefix(next, remote) > common_prefix(best, remote) { next } else { best });
        Local { address, ..Local::default() }
    }

    /// Whether `remote` and `port` name this very endpoint.
    pub fn is_self(&self, remote: Address, port: u16) -> bool {
        port == self.port
            && if self.addresses.is_empty() {
                self.host_addresses.contains(&remote)
            } else {
                self.addresses.contains(&remote)
            }
    }

    /// The address types that we can use.
    pub fn supported_types(&self) -> (bool, bool) {
        self.types
    }

    /// The addresses that a peer at `remote` is told (RFC 9260 §3.3.2): explicit ones, else the host's;
    /// only those that it can reach, and of types that it supports. None where there is only one: the
    /// packet's source says it, and a NAT on the way may change it (RFC 6951 §5.2). `all_on_loopback`: see
    /// [`StackConfig::tells_all_on_loopback`](crate::StackConfig::tells_all_on_loopback).
    pub fn advertised(&self, remote: Address, supported: Option<(bool, bool)>, all_on_loopback: bool) -> Vec<Address> {
        let explicit = !self.addresses.is_empty();
        let all = if explicit { &self.addresses } else { &self.host_addresses };
        if all.len() < 2 {
            return Vec::new();
        }
        let (v4, v6) = supported.unwrap_or((true, true));
        let told: Vec<Address> = all
            .iter()
            .copied()
            .filter(|address| if address.is_ipv4() { v4 } else { v6 })
            .filter(|address| match (address.scope(), remote.scope()) {
                // What stays on this host is told to this host alone; a peer on it needs nothing else.
                (AddressScope::Loopback, peer) => peer == AddressScope::Loopback,
                (AddressScope::Private | AddressScope::Global, AddressScope::Loopback) => explicit || all_on_loopback,
                (_, AddressScope::Loopback) => explicit,
                // Link-local addresses mean something on one link only.
                (AddressScope::Link, peer) => explicit && peer == AddressScope::Link,
                (_, AddressScope::Link) => explicit,
                // A peer with a global address cannot reach private ones, unless the user says so.
                (AddressScope::Private, AddressScope::Global) => explicit,
                _ => true,
            })
            .collect();
        if told.len() == 1 { Vec::new() } else { told }
    }
}

impl Endpoints {
    /// Opens an endpoint.
    pub fn open(&mut self, mut config: EndpointConfig, rng: &mut impl Rng) -> Result<EndpointId, OpenError> {
        config.config.validate().map_err(OpenError::Config)?;
        // The wildcard of either family stands for all addresses.
        if config.addresses.iter().any(|address| address.is_unspecified()) {
            config.addresses.clear();
        }
        let port = if config.port == 0 { self.free_port(rng)? } else { config.port };
        let types = types_of(&config.addresses, &config.host_addresses);
        let wanted = Reach { named: &config.addresses, types };
        for holder in self.on_port(port) {
            if self.by_id.get(&holder.0).is_some_and(|endpoint| endpoint.reach().overlaps(wanted)) {
                return Err(OpenError::InUse { by: holder, port });
            }
        }
        self.last_id += 1;
        let id = EndpointId(self.last_id);
        self.by_port.entry(port).or_default().push(id);
        let endpoint = Endpoint {
            port,
            types,
            addresses: config.addresses,
            host_addresses: config.host_addresses,
            config: Arc::new(config.config),
            accepting: false,
            associations: 0,
        };
        self.by_id.insert(id.0, endpoint);
        Ok(id)
    }

    /// Gives an endpoint other addresses, unless another one has any of them on its port.
    pub fn set_addresses(&mut self, id: EndpointId, addresses: &[Address]) -> Result<(), OpenError> {
        let Some(endpoint) = self.get(id) else { return Ok(()) };
        let (port, types) = (endpoint.port, types_of(addresses, &endpoint.host_addresses));
        let wanted = Reach { named: addresses, types };
        let others = self.on_port(port).filter(|holder| *holder != id);
        for by in others {
            if self.get(by).is_some_and(|other| other.reach().overlaps(wanted)) {
                return Err(OpenError::InUse { by, port });
            }
        }
        if let Some(endpoint) = self.get_mut(id) {
            endpoint.addresses = addresses.to_vec();
            endpoint.types = types;
        }
        Ok(())
    }

    /// A random port of the ephemeral range (RFC 6335) that no endpoint has.
    fn free_port(&self, rng: &mut impl Rng) -> Result<u16, OpenError> {
        let start: u16 = rng.random_range(49152..=65535);
        let range = (start..=65535).chain(49152..start);
        let free = |port: &u16| self.by_port.get(port).is_none_or(Vec::is_empty);
        range.into_iter().find(free).ok_or(OpenError::NoFreePort)
    }

    pub fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.by_id.get(&id.0)
    }

    pub fn get_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        self.by_id.get_mut(&id.0)
    }

    /// The endpoint that a packet to `local` and `port` is for.
    pub fn find(&self, local: Option<Address>, port: u16) -> Option<EndpointId> {
        let holders = self.by_port.get(&port)?;
        holders.iter().copied().find(|id| self.get(*id).is_some_and(|endpoint| endpoint.serves(local)))
    }

    /// Whether any endpoint has the port.
    pub fn has_port(&self, port: u16) -> bool {
        self.by_port.contains_key(&port)
    }

    /// The endpoints that have the port.
    pub fn on_port(&self, port: u16) -> impl Iterator<Item = EndpointId> + '_ {
        self.by_port.get(&port).into_iter().flatten().copied()
    }

    /// `open` counts the associations of an endpoint.
    #[cfg(feature = "fuzzing")]
    pub fn check_invariants(&self, open: impl Fn(EndpointId) -> usize) {
        for (id, endpoint) in &self.by_id {
            assert_eq!(open(EndpointId(*id)), endpoint.associations, "associations of endpoint {id}");
            assert!(self.by_port.get(&endpoint.port).is_some_and(|holders| holders.contains(&EndpointId(*id))));
        }
        assert_eq!(self.by_port.values().map(Vec::len).sum::<usize>(), self.by_id.len(), "ports of nobody");
    }

    /// Closes an endpoint.
    pub fn remove(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.by_id.remove(&id.0)
            && let Some(holders) = self.by_port.get_mut(&endpoint.port)
        {
            holders.retain(|holder| *holder != id);
            if holders.is_empty() {
                self.by_port.remove(&endpoint.port);
            }
        }
    }
}

/// How many leading bits two addresses of one family share.
fn common_prefix(one: Address, other: Address) -> u32 {
    match (one.ip(), other.ip()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn config(port: u16, addresses: &[&str]) -> EndpointConfig {
        EndpointConfig {
            port,
            addresses: addresses.iter().map(|text| address(text)).collect(),
            host_addresses: ["127.0.0.1", "::1", "10.0.0.5", "192.0.2.7", "fe80::1", "2001:db8::7"]
                .map(address)
                .to_vec(),
            config: Config::default(),
        }
    }

    // covers: RFC 9260 §1.3-3
    #[test]
    fn a_port_is_taken_once_per_address_and_wildcards_overlap_with_all() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut endpoints = Endpoints::default();
        let first = endpoints.open(config(7, &["10.0.0.1"]), &mut rng).unwrap();
        let second = endpoints.open(config(7, &["10.0.0.2"]), &mut rng).unwrap();
        let taken = OpenError::InUse { by: first, port: 7 };
        assert_eq!(endpoints.open(config(7, &[]), &mut rng), Err(taken.clone()));
        assert_eq!(endpoints.open(config(7, &["::"]), &mut rng), Err(taken.clone()));
        assert_eq!(endpoints.open(config(7, &["10.0.0.3", "10.0.0.1"]), &mut rng), Err(taken));
        assert_eq!(endpoints.find(Some(address("10.0.0.2")), 7), Some(second));
        assert_eq!(endpoints.find(Some(address("10.0.0.9")), 7), None);
        endpoints.remove(first);
        endpoints.remove(second);
        endpoints.open(config(7, &[]), &mut rng).unwrap();
    }

    #[test]
    fn a_wildcard_is_of_the_types_that_its_hosts_addresses_are_of() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut endpoints = Endpoints::default();
        let of = |v4: bool, v6: bool| {
            let mut config = config(7, &[]);
            config.host_addresses.retain(|address| if address.is_ipv4() { v4 } else { v6 });
            config
        };
        let v4 = endpoints.open(of(true, false), &mut rng).unwrap();
        assert_eq!(endpoints.find(Some(address("10.0.0.9")), 7), Some(v4));
        assert_eq!(endpoints.find(Some(address("::1")), 7), None);
        assert_eq!(endpoints.open(of(true, true), &mut rng), Err(OpenError::InUse { by: v4, port: 7 }));
        let v6 = endpoints.open(of(false, true), &mut rng).unwrap();
        assert_eq!(endpoints.find(Some(address("::1")), 7), Some(v6));
        let taken = OpenError::InUse { by: v6, port: 7 };
        assert_eq!(endpoints.open(config(7, &["2001:db8::7"]), &mut rng), Err(taken));
        endpoints.remove(v4);
        endpoints.open(config(7, &["10.0.0.5"]), &mut rng).unwrap();
        assert!(endpoints.set_addresses(v6, &[address("10.0.0.5")]).is_err());
        // They follow the host's.
        assert_eq!(endpoints.find(Some(address("10.0.0.9")), 7), None);
        endpoints.get_mut(v6).unwrap().set_host_addresses(&[address("192.0.2.7")]);
        assert_eq!(endpoints.find(Some(address("10.0.0.9")), 7), Some(v6));
        assert_eq!(endpoints.find(Some(address("::1")), 7), None);
        // A host without addresses has any.
        assert!(endpoints.open(of(false, false), &mut rng).is_err());
    }

    #[test]
    fn a_wildcard_tells_a_peer_only_what_it_can_reach() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut endpoints = Endpoints::default();
        let id = endpoints.open(config(7, &[]), &mut rng).unwrap();
        let told = |peer, types| endpoints.get(id).unwrap().advertised(address(peer), types, false);
        let list = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        assert_eq!(told("127.0.0.1", None), list(&["127.0.0.1", "::1"]));
        assert_eq!(told("10.0.0.9", None), list(&["10.0.0.5", "192.0.2.7", "2001:db8::7"]));
        assert_eq!(told("198.51.100.1", None), list(&["192.0.2.7", "2001:db8::7"]));
        // One address needs no list.
        assert_eq!(told("198.51.100.1", Some((true, false))), []);
    }

    #[test]
    fn a_peer_on_this_host_can_be_told_of_all_of_its_addresses() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut endpoints = Endpoints::default();
        let id = endpoints.open(config(7, &[]), &mut rng).unwrap();
        let told = |types| endpoints.get(id).unwrap().advertised(address("127.0.0.1"), types, true);
        let list = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        assert_eq!(told(Some((true, false))), list(&["127.0.0.1", "10.0.0.5", "192.0.2.7"]));
        // Link-local ones mean nothing without their link.
        assert_eq!(told(Some((false, true))), list(&["::1", "2001:db8::7"]));
    }

    #[test]
    fn an_explicit_list_wins_and_each_path_uses_the_nearest_address() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut endpoints = Endpoints::default();
        let id = endpoints.open(config(7, &["10.0.1.1", "10.0.2.1"]), &mut rng).unwrap();
        let endpoint = endpoints.get(id).unwrap();
        assert_eq!(endpoint.advertised(address("198.51.100.1"), None, false).len(), 2);
        assert_eq!(endpoint.local_for(address("10.0.2.9")).address, Some(address("10.0.2.1")));
        assert_eq!(endpoint.local_for(address("2001:db8::1")).address, None);
    }
}
