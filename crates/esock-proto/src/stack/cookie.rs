//! The State Cookie (RFC 9260 §5.1.3): all that we need to know of a peer that we have not kept,
//! authenticated with HMAC-SHA-256 under keys that rotate. The MAC is checked before anything is read.

use crate::serial::Tsn;
use crate::time::Time;
use crate::transmit::Local;
use crate::types::{Address, EndpointId, VerificationTag};
use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use sha2::Sha256;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const MAC_BYTES: usize = 32;
/// A key makes cookies for this long, and checks them for as long again: no cookie lives longer.
const ROTATE_AFTER: Duration = Duration::from_secs(600);
const VERSION: u8 = 1;

/// What a cookie says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    pub created: Time,
    pub life: Duration,
    pub endpoint: EndpointId,
    pub local_port: u16,
    pub peer_port: u16,
    pub local_tag: VerificationTag,
    pub peer_tag: VerificationTag,
    pub local_tsn: Tsn,
    pub peer_tsn: Tsn,
    pub peer_rwnd: u32,
    pub outbound_streams: u16,
    pub inbound_streams: u16,
    pub adaptation: Option<u32>,
    /// The tags of the association that existed when the INIT came (§5.2.2), else zero.
    pub tie_local: VerificationTag,
    pub tie_peer: VerificationTag,
    /// Our address that the INIT came to.
    pub local_address: Option<Address>,
    /// The peer's UDP port.
    pub encap_port: Option<u16>,
    /// The peer's addresses; the first is where the INIT came from.
    pub addresses: Vec<Address>,
}

/// Why a cookie is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieError {
    /// Not ours, or not as we made it.
    Forged,
    /// Too old by this much; the content is still true.
    Stale(Duration, Box<Cookie>),
}

/// The body of a cookie whose MAC was right. Nothing else is ever read.
struct Genuine<'a>(&'a [u8]);

/// A key that was taken in: half of the work on a small message is that, and it is done once.
type Key = Hmac<Sha256>;

/// The keys.
#[derive(Debug)]
pub struct CookieKeys {
    current: Key,
    previous: Option<Key>,
    rotated: Time,
}

fn new_key(rng: &mut impl Rng) -> Key {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    Key::new_from_slice(&bytes).expect("HMAC takes keys of every length")
}

impl CookieKeys {
    pub fn new(now: Time, rng: &mut impl Rng) -> Self {
        Self { current: new_key(rng), previous: None, rotated: now }
    }

    fn rotate(&mut self, now: Time, rng: &mut impl Rng) {
        let age = now.since(self.rotated);
        if age >= ROTATE_AFTER {
            // After two periods without a cookie the current key is as old as the previous one may get.
            let old = std::mem::replace(&mut self.current, new_key(rng));
            self.previous = (age < ROTATE_AFTER * 2).then_some(old);
            self.rotated = now;
        }
    }

    fn mac(key: &Key, body: &[u8]) -> Key {
        let mut mac = key.clone();
        mac.update(body);
        mac
    }

    /// Seals a cookie.
    pub fn seal(&mut self, now: Time, rng: &mut impl Rng, cookie: &Cookie) -> Vec<u8> {
        self.rotate(now, rng);
        let mut out = Vec::with_capacity(128 + MAC_BYTES);
        cookie.write(&mut out);
        let mac = Self::mac(&self.current, &out).finalize().into_bytes();
        out.extend_from_slice(&mac);
        out
    }

    /// Opens a cookie: ours, unaltered, and not too old.
    pub fn open(&mut self, now: Time, rng: &mut impl Rng, sealed: &[u8]) -> Result<Cookie, CookieError> {
        self.rotate(now, rng);
        let genuine = self.verify(sealed).ok_or(CookieError::Forged)?;
        let cookie = Cookie::read(genuine).ok_or(CookieError::Forged)?;
        let age = now.since(cookie.created);
        if age > cookie.life {
            return Err(CookieError::Stale(age - cookie.life, Box::new(cookie)));
        }
        Ok(cookie)
    }

    /// Checks the MAC, and nothing else.
    fn verify<'a>(&self, sealed: &'a [u8]) -> Option<Genuine<'a>> {
        let (body, mac) = sealed.len().checked_sub(MAC_BYTES).and_then(|at| sealed.split_at_checked(at))?;
        // Constant time, as `verify_slice` does it.
        let genuine = |key: &Key| Self::mac(key, body).verify_slice(mac).is_ok();
        (genuine(&self.current) || self.previous.as_ref().is_some_and(genuine)).then_some(Genuine(body))
    }
}

impl Cookie {
    /// Our end as far as the cookie knows it.
    pub fn local(&self) -> Local {
        Local { address: self.local_address, ..Local::default() }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.created.as_nanos().to_be_bytes());
        out.extend_from_slice(&(self.life.as_nanos() as u64).to_be_bytes());
        for value in [
            self.endpoint.0,
            self.local_tag.0,
            self.peer_tag.0,
            self.local_tsn.0,
            self.peer_tsn.0,
            self.peer_rwnd,
            self.tie_local.0,
            self.tie_peer.0,
            self.adaptation.unwrap_or(0),
        ] {
            out.extend_from_slice(&value.to_be_bytes());
        }
        for value in
            [self.local_port, self.peer_port, self.outbound_streams, self.inbound_streams, self.encap_port.unwrap_or(0)]
        {
            out.extend_from_slice(&value.to_be_bytes());
        }
        let flags = u8::from(self.adaptation.is_some()) | u8::from(self.encap_port.is_some()) << 1;
        out.push(flags);
        let addresses = self.local_address.into_iter().chain(self.addresses.iter().copied());
        out.push(u8::from(self.local_address.is_some()));
        out.push(self.addresses.len() as u8);
        addresses.for_each(|address| write_address(out, address));
    }

    /// Reads what [`Cookie::write`] wrote; the MAC has vouched for it.
    fn read(Genuine(body): Genuine<'_>) -> Option<Self> {
        let mut rest = body;
        if take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let created = Time::from_nanos(u64::from_be_bytes(take(&mut rest)?));
        let life = Duration::from_nanos(u64::from_be_bytes(take(&mut rest)?));
        let mut word = || Some(u32::from_be_bytes(take(&mut rest)?));
        let (endpoint, local_tag, peer_tag) = (word()?, word()?, word()?);
        let (local_tsn, peer_tsn, peer_rwnd) = (word()?, word()?, word()?);
        let (tie_local, tie_peer, adaptation) = (word()?, word()?, word()?);
        let mut half = || Some(u16::from_be_bytes(take(&mut rest)?));
        let (local_port, peer_port, outbound_streams, inbound_streams, encap_port) =
            (half()?, half()?, half()?, half()?, half()?);
        let [flags, has_local, count] = take(&mut rest)?;
        let local_address = if has_local == 1 { Some(read_address(&mut rest)?) } else { None };
        let mut addresses = Vec::with_capacity(count.into());
        for _ in 0..count {
            addresses.push(read_address(&mut rest)?);
        }
        (!addresses.is_empty() && rest.is_empty()).then_some(Self {
            created,
            life,
            endpoint: EndpointId(endpoint),
            local_port,
            peer_port,
            local_tag: VerificationTag(local_tag),
            peer_tag: VerificationTag(peer_tag),
            local_tsn: Tsn(local_tsn),
            peer_tsn: Tsn(peer_tsn),
            peer_rwnd,
            outbound_streams,
            inbound_streams,
            adaptation: (flags & 1 != 0).then_some(adaptation),
            tie_local: VerificationTag(tie_local),
            tie_peer: VerificationTag(tie_peer),
            local_address,
            encap_port: (flags & 2 != 0).then_some(encap_port),
            addresses,
        })
    }
}

/// What is read and written again reads equal, whatever the bytes.
#[cfg(feature = "fuzzing")]
pub fn round_trip(body: &[u8]) -> bool {
    let Some(cookie) = Cookie::read(Genuine(body)) else { return false };
    let mut written = Vec::new();
    cookie.write(&mut written);
    assert_eq!(Cookie::read(Genuine(&written)), Some(cookie));
    true
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn write_address(out: &mut Vec<u8>, address: Address) {
    match address.ip() {
        IpAddr::V4(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            out.push(6);
            out.extend_from_slice(&v6.octets());
            out.extend_from_slice(&address.scope_id().to_be_bytes());
        }
    }
}

fn read_address(rest: &mut &[u8]) -> Option<Address> {
    match take(rest)? {
        [4] => Some(Ipv4Addr::from(take::<4>(rest)?).into()),
        [6] => {
            let ip = Ipv6Addr::from(take::<16>(rest)?);
            Some(Address::new(ip.into(), u32::from_be_bytes(take(rest)?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn cookie() -> Cookie {
        Cookie {
            created: Time::from_millis(5000),
            life: Duration::from_secs(60),
            endpoint: EndpointId(3),
            local_port: 30400,
            peer_port: 5,
            local_tag: VerificationTag(0x1111_1111),
            peer_tag: VerificationTag(0x2222_2222),
            local_tsn: Tsn(7),
            peer_tsn: Tsn(8),
            peer_rwnd: 9,
            outbound_streams: 10,
            inbound_streams: 11,
            adaptation: Some(0),
            tie_local: VerificationTag(1),
            tie_peer: VerificationTag(2),
            local_address: Some(Ipv4Addr::LOCALHOST.into()),
            encap_port: Some(9899),
            addresses: vec![Ipv4Addr::new(10, 0, 0, 1).into(), Address::new("fe80::1".parse().unwrap(), 4)],
        }
    }

    // covers: RFC 9260 §5.1.3-1, §5.1.3-2, §5.1.3-3, §5.1.3-4, §5.1.5-2
    #[test]
    fn a_cookie_comes_back_as_it_was_and_every_altered_byte_is_noticed() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Time::from_millis(6000);
        let mut keys = CookieKeys::new(now, &mut rng);
        let mut sealed = keys.seal(now, &mut rng, &cookie());
        assert_eq!(keys.open(now, &mut rng, &sealed), Ok(cookie()));
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert_eq!(keys.open(now, &mut rng, &sealed), Err(CookieError::Forged), "byte {at}");
            sealed[at] ^= 1;
        }
        for len in 0..sealed.len() {
            assert_eq!(keys.open(now, &mut rng, &sealed[..len]), Err(CookieError::Forged));
        }
        let mut others = CookieKeys::new(now, &mut rng);
        assert_eq!(others.open(now, &mut rng, &sealed), Err(CookieError::Forged));
    }

    // covers: RFC 9260 §5.1.3-5, §5.1.5-1, §5.1.5-4
    #[test]
    fn a_stale_cookie_is_told_from_a_forged_one_and_keys_rotate() {
        let mut rng = StdRng::seed_from_u64(1);
        let start = Time::from_millis(5000);
        let mut keys = CookieKeys::new(start, &mut rng);
        let sealed = keys.seal(start, &mut rng, &cookie());
        let late = start + Duration::from_secs(63);
        assert!(
            matches!(keys.open(late, &mut rng, &sealed), Err(CookieError::Stale(by, _)) if by == Duration::from_secs(3))
        );
        // One rotation on, the old key still vouches; two, it is gone.
        assert!(matches!(keys.open(start + ROTATE_AFTER, &mut rng, &sealed), Err(CookieError::Stale(..))));
        assert_eq!(keys.open(start + ROTATE_AFTER * 2, &mut rng, &sealed), Err(CookieError::Forged));
        // §5.1.3: "reasonably frequently (e.g. hourly)": no key vouches for longer than an hour.
        let mut keys = CookieKeys::new(start, &mut rng);
        let sealed = keys.seal(start, &mut rng, &cookie());
        assert!(keys.open(start + Duration::from_secs(900), &mut rng, &sealed) != Err(CookieError::Forged));
        assert_eq!(keys.open(start + Duration::from_secs(3600), &mut rng, &sealed), Err(CookieError::Forged));
    }
}
