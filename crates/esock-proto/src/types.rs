//! The small vocabulary: identifiers and addresses.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A stream identifier (RFC 9260 §3.3.1), valid in one direction of one association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId(pub u16);

/// A payload protocol identifier (RFC 9260 §3.3.1), in host byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ppid(pub u32);

impl Ppid {
    const NAMES: &[(&str, u32)] = &[
        ("iua", 1),
        ("m2ua", 2),
        ("m3ua", 3),
        ("sua", 4),
        ("m2pa", 5),
        ("v5ua", 6),
        ("h248", 7),
        ("bicc", 8),
        ("tali", 9),
        ("dua", 10),
        ("asap", 11),
        ("enrp", 12),
        ("h323", 13),
        ("qipc", 14),
        ("s1ap", 18),
        ("rua", 19),
        ("hnbap", 20),
        ("sbcap", 24),
        ("nbap", 25),
        ("x2ap", 27),
        ("lcsap", 29),
        ("sabp", 31),
        ("diameter", 46),
        ("diameter-dtls", 47),
        ("webrtc-dcep", 50),
        ("webrtc-string", 51),
        ("webrtc-binary-partial", 52),
        ("webrtc-binary", 53),
        ("webrtc-string-partial", 54),
        ("webrtc-string-empty", 56),
        ("webrtc-binary-empty", 57),
        ("m2ap", 43),
        ("m3ap", 44),
        ("ngap", 60),
        ("xnap", 61),
        ("f1ap", 62),
        ("e1ap", 64),
        ("ngap-dtls", 66),
        ("e2ap", 70),
    ];

    /// The registered name of this identifier, as used on the command line.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, value)| *value == self.0).map(|(name, _)| *name)
    }

    /// The identifier registered under `name`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| Self(*value))
    }
}

impl fmt::Display for Ppid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// A path of one association: its index, stable for the life of the association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PathId(pub u16);

/// An association of one [`Stack`](crate::Stack). Never reused: the generation differs when a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssocId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl AssocId {
    /// For other tables than a stack's: the association in `slot`, which had `generation` others before.
    pub fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// How many associations had its slot before.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The slot in the stack's slab: small and dense, for side tables of the caller.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

impl fmt::Display for AssocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// An endpoint of one [`Stack`](crate::Stack).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub(crate) u32);

impl EndpointId {
    /// For other tables than a stack's.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A verification tag (RFC 9260 §8.5). Zero only in a packet that carries INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VerificationTag(pub u32);

impl VerificationTag {
    /// The tag of a packet that carries an INIT (RFC 9260 §8.5.1 A).
    pub const ZERO: Self = Self(0);
}

/// An IP address with the scope that a link-local IPv6 address needs.
///
/// Made with [`Address::new`], which folds v4-mapped IPv6 addresses into IPv4 and drops the scope
/// of addresses that have none, so that equal addresses compare equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    ip: IpAddr,
    scope_id: u32,
}

/// How far an address reaches: an address is told to a peer only where the peer can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressScope {
    /// 127/8 and ::1.
    Loopback,
    /// 169.254/16 and fe80::/10.
    Link,
    /// 10/8, 172.16/12, 192.168/16, 100.64/10 and fc00::/7.
    Private,
    /// Everything else.
    Global,
}

impl Address {
    /// An address in its normal form. `scope_id` (an interface index) is kept for link-local IPv6 only.
    pub fn new(ip: IpAddr, scope_id: u32) -> Self {
        let ip = ip.to_canonical();
        let scoped = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        Self { ip, scope_id: if scoped { scope_id } else { 0 } }
    }

    /// The address without its scope.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// The interface index of a link-local IPv6 address, else 0.
    pub fn scope_id(self) -> u32 {
        self.scope_id
    }

    /// Whether this is an IPv4 address.
    pub fn is_ipv4(self) -> bool {
        self.ip.is_ipv4()
    }

    /// Whether this is the wildcard of its family.
    pub fn is_unspecified(self) -> bool {
        self.ip.is_unspecified()
    }

    /// Whether an association can have this address as a peer's: unicast and specified
    /// (RFC 9260 §11.2.4.1 and §3.3.2.1: no broadcast, multicast or unspecified address).
    pub fn is_usable_peer(self) -> bool {
        match self.ip {
            IpAddr::V4(v4) => {
                !(v4.is_unspecified()
                    || v4.is_multicast()
                    || v4.is_broadcast()
                    || v4.octets()[0] == 0
                    || v4.octets()[0] >= 240)
            }
            IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
        }
    }

    /// The reach of this address.
    pub fn scope(self) -> AddressScope {
        match self.ip {
            IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Loopback,
            IpAddr::V4(v4) if v4.is_link_local() => AddressScope::Link,
            IpAddr::V4(v4) if v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64) => {
                AddressScope::Private
            }
            IpAddr::V6(v6) if v6.is_loopback() => AddressScope::Loopback,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => AddressScope::Link,
            IpAddr::V6(v6) if v6.is_unique_local() => AddressScope::Private,
            _ => AddressScope::Global,
        }
    }

    /// The size of the IP header in front of a packet to this address, in bytes, without options.
    pub fn ip_header_bytes(self) -> usize {
        if self.is_ipv4() { 20 } else { 40 }
    }
}

// The numbers alone: the derived one hashes a tag and a length besides, which is most of the work.
impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.ip {
            IpAddr::V4(v4) => state.write_u32(v4.to_bits()),
            IpAddr::V6(v6) => {
                state.write_u128(v6.to_bits());
                state.write_u32(self.scope_id);
            }
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::new(ip, 0)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(ip: Ipv4Addr) -> Self {
        Self::new(ip.into(), 0)
    }
}

impl From<Ipv6Addr> for Address {
    fn from(ip: Ipv6Addr) -> Self {
        Self::new(ip.into(), 0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)?;
        if self.scope_id != 0 {
            write!(f, "%{}", self.scope_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_become_ipv4_and_global_ones_lose_their_scope() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(Address::new(mapped, 7), Address::from(Ipv4Addr::new(10, 0, 0, 1)));
        let link: IpAddr = "fe80::1".parse().unwrap();
        assert_ne!(Address::new(link, 1), Address::new(link, 2));
    }

    #[test]
    fn no_association_is_made_with_multicast_broadcast_or_unspecified_addresses() {
        for bad in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "240.0.0.1", "0.1.2.3"] {
            assert!(!Address::from(bad.parse::<IpAddr>().unwrap()).is_usable_peer(), "{bad}");
        }
        assert!(Address::from(Ipv4Addr::LOCALHOST).is_usable_peer());
    }

    #[test]
    fn payload_protocol_names_go_both_ways() {
        assert_eq!(Ppid::from_name("NGAP"), Some(Ppid(60)));
        assert_eq!(Ppid(46).to_string(), "diameter");
        assert_eq!(Ppid(4711).to_string(), "4711");
    }
}
