//! INIT and COOKIE ECHO (RFC 9260 §5.1, §5.2): no state before a valid cookie comes back.

use super::Stack;
use super::cookie::{Cookie, CookieError};
use super::incoming::IncomingFacts;
use super::tags::Retired;
use crate::api::{Incoming, State};
use crate::assoc::{CookieAction, Cx, check_init};
use crate::config::Config;
use crate::serial::Tsn;
use crate::time::Time;
use crate::transmit::Datagram;
use crate::types::{Address, AssocId, EndpointId, VerificationTag};
use crate::wire::{Cause, Chunk, HEADER_BYTES, Header, Init, InitParams, OutParams, kind, padded};
use rand::RngExt;
use std::time::Duration;

/// The longest life that a Cookie Preservative can add.
const MAX_EXTENSION: Duration = Duration::from_secs(60);

/// How long a cookie can live at most, that a peer with a Cookie Preservative has asked for.
pub(super) fn longest_life(config: &Config) -> Duration {
    config.cookie_life + MAX_EXTENSION
}

/// What an INIT ACK says of us, and what its cookie remembers of an association that exists.
struct Ours {
    fields: Init<'static>,
    ties: (VerificationTag, VerificationTag),
    /// Where INIT ACK goes, if not to where INIT came from.
    to: Option<Address>,
}

/// The address types that the sender of an INIT can use: those that it says, and those that it uses or lists
/// all the same (§5.1.2).
fn supported_types(remote: Address, params: &InitParams<'_>) -> Option<(bool, bool)> {
    let (v4, v6) = params.supported_types?;
    let mut used = params.addresses.iter().chain(std::iter::once(&remote));
    Some((v4 || used.clone().any(|address| address.is_ipv4()), v6 || used.any(|address| !address.is_ipv4())))
}

impl Stack {
    /// INIT.
    pub(super) fn handle_init(&mut self, now: Time, datagram: &Datagram<'_>, header: &Header, chunk: &Chunk<'_>) {
        // §5.1: it comes alone; §3.3.2: with a tag.
        let alone = padded(chunk.raw.len()) >= datagram.data.len() - HEADER_BYTES;
        let init = match Init::parse(chunk) {
            Ok(init) if alone && init.tag != VerificationTag::ZERO => init,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        let back = Header { source: header.destination, destination: header.source, tag: init.tag };
        let Some(endpoint) = self.endpoints.find(datagram.local.address, header.destination) else {
            return self.answer_init_to_nobody(now, datagram, &back, &[]);
        };
        if self.endpoints.get(endpoint).is_none_or(|endpoint| endpoint.is_self(datagram.remote, header.source)) {
            return;
        }
        let max = self.endpoints.get(endpoint).map_or(0, |endpoint| endpoint.config.max_peer_addresses);
        let params = match (check_init(&init), InitParams::parse(init.params, max)) {
            (Err(cause), _) => return self.answer_init_to_nobody(now, datagram, &back, &[cause]),
            (_, Err(_)) => {
                let cause = Cause::ProtocolViolation(b"malformed INIT");
                return self.answer_init_to_nobody(now, datagram, &back, &[cause]);
            }
            // §5.1.2 B.
            (_, Ok(InitParams { host_name: Some(name), .. })) => {
                return self.answer_init_to_nobody(now, datagram, &back, &[Cause::UnresolvableAddress(name)]);
            }
            (Ok(()), Ok(params)) => params,
        };
        let mut addresses = self.peer_addresses(endpoint, datagram.remote, header.source, &params);
        addresses.truncate(max);
        if self.undecided.has_peer(&(endpoint, datagram.remote, header.source)) {
            // The user still thinks about an earlier attempt of this peer. When there is an association its
            // tie-tags belong into the cookie (§5.2.2): the INIT comes again.
            return;
        }
        let existing = addresses.iter().find_map(|address| self.table.by_peer(endpoint, *address, header.source));
        let ours = match existing {
            Some(id) => self.ours_for_existing(now, datagram, &back, id, &addresses),
            None if self.config.refuse_when_not_accepting && !self.is_accepting(endpoint) => {
                return self.answer_init_to_nobody(now, datagram, &back, &[]);
            }
            None => self.ours_for_new(endpoint),
        };
        let Some(ours) = ours else { return };
        if !self.init_limit.allow(now) {
            self.stats.rate_limited += 1;
            return;
        }
        self.send_init_ack(now, datagram, &back, endpoint, &init, &params, &ours, addresses);
    }

    /// The peer's addresses: where the packet came from, and those it lists that it can have.
    pub(super) fn peer_addresses(
        &self,
        endpoint: EndpointId,
        remote: Address,
        port: u16,
        params: &InitParams<'_>,
    ) -> Vec<Address> {
        let is_self =
            |address: Address| self.endpoints.get(endpoint).is_some_and(|endpoint| endpoint.is_self(address, port));
        // A link-local address is meant on the link that the packet came over.
        let scoped = params.addresses.iter().map(|address| Address::new(address.ip(), remote.scope_id()));
        // §5.1.2: addresses of a type that we do not have are ignored.
        let (v4, v6) = self.endpoints.get(endpoint).map_or((true, true), |endpoint| endpoint.supported_types());
        let usable = |address: &Address| if address.is_ipv4() { v4 } else { v6 };
        let listed = scoped.filter(|address| *address != remote && !is_self(*address) && usable(address));
        let mut addresses = Vec::with_capacity(1 + params.addresses.len());
        addresses.push(remote);
        addresses.extend(listed);
        addresses
    }

    fn is_accepting(&self, endpoint: EndpointId) -> bool {
        self.endpoints.get(endpoint).is_some_and(|endpoint| endpoint.accepting)
    }

    /// A new association: fresh numbers; nobody is told of an endpoint that does not accept.
    fn ours_for_new(&mut self, endpoint: EndpointId) -> Option<Ours> {
        let endpoint = self.endpoints.get(endpoint).filter(|endpoint| endpoint.accepting)?;
        let fields = Init {
            tag: self.table.tags.choose(&mut self.rng),
            a_rwnd: endpoint.config.receive_window,
            outbound_streams: endpoint.config.outbound_streams,
            inbound_streams: endpoint.config.inbound_streams,
            initial_tsn: self.config.initial_tsn.unwrap_or(Tsn(self.rng.random())),
            params: &[],
        };
        Some(Ours { fields, ties: Default::default(), to: None })
    }

    /// An association with this peer exists (§5.2.1, §5.2.2). `None` when the INIT is not answered with INIT ACK.
    fn ours_for_existing(
        &mut self,
        now: Time,
        datagram: &Datagram<'_>,
        back: &Header,
        id: AssocId,
        addresses: &[Address],
    ) -> Option<Ours> {
        let assoc = &self.table.get(id)?.assoc;
        let fields = assoc.init_fields();
        let added = assoc.added_addresses(addresses);
        match assoc.state() {
            State::CookieWait => {
                // §5.2.1: only to an address that the user gave and the INIT names; its source, if it is one.
                let given = addresses.iter().copied().find(|address| !added.contains(address))?;
                let to = (given != datagram.remote).then_some(given);
                return Some(Ours { fields, ties: Default::default(), to });
            }
            State::ShutdownAckSent => {
                // §9.2: the peer has not seen our SHUTDOWN ACK.
                let _ = self.with(now, id, |assoc, _| assoc.repeat_shutdown_ack());
                return None;
            }
            _ => {}
        }
        if !added.is_empty() {
            // §5.2.2: an attacker could add its own address; the association is not touched.
            let mut list = Vec::new();
            for address in added.iter().take(16) {
                crate::wire::write_address_param(*address, &mut list);
            }
            self.answer_init_to_nobody(now, datagram, back, &[Cause::RestartWithNewAddresses(&list)]);
            return None;
        }
        let echoed = self.state(id) == Some(State::CookieEchoed);
        let fields = if echoed {
            fields
        } else {
            Init { tag: self.table.tags.choose(&mut self.rng), initial_tsn: Tsn(self.rng.random()), ..fields }
        };
        let ties = self.table.get_mut(id)?.assoc.tie_tags(&mut self.rng);
        Some(Ours { fields, ties, to: None })
    }

    #[expect(clippy::too_many_arguments, reason = "each is a fact of the INIT; they meet nowhere else")]
    fn send_init_ack(
        &mut self,
        now: Time,
        datagram: &Datagram<'_>,
        back: &Header,
        endpoint_id: EndpointId,
        init: &Init<'_>,
        params: &InitParams<'_>,
        ours: &Ours,
        mut addresses: Vec<Address>,
    ) {
        let Some(endpoint) = self.endpoints.get(endpoint_id) else { return };
        let mut datagram = *datagram;
        if let Some(to) = ours.to {
            (datagram.remote, datagram.local) = (to, endpoint.local_for(to));
            // §5.4: the address that INIT ACK is sent to is the one that COOKIE ECHO confirms.
            addresses.sort_by_key(|address| *address != to);
        }
        let extension = Duration::from_millis(params.preservative.unwrap_or(0).into()).min(MAX_EXTENSION);
        let cookie = Cookie {
            created: now,
            life: endpoint.config.cookie_life + extension,
            endpoint: endpoint_id,
            local_port: back.source,
            peer_port: back.destination,
            local_tag: ours.fields.tag,
            peer_tag: init.tag,
            local_tsn: ours.fields.initial_tsn,
            peer_tsn: init.initial_tsn,
            peer_rwnd: init.a_rwnd,
            outbound_streams: ours.fields.outbound_streams.min(init.inbound_streams),
            inbound_streams: ours.fields.inbound_streams.min(init.outbound_streams),
            adaptation: params.adaptation,
            tie_local: ours.ties.0,
            tie_peer: ours.ties.1,
            local_address: datagram.local.address,
            encap_port: datagram.encap_port,
            addresses,
        };
        let adaptation = endpoint.config.adaptation;
        let types = supported_types(datagram.remote, params);
        let told = endpoint.advertised(datagram.remote, types, self.config.tells_all_on_loopback);
        let sealed = self.keys.seal(now, &mut self.rng, &cookie);
        let out = OutParams {
            addresses: &told,
            cookie: Some(&sealed),
            unrecognized: &params.unrecognized,
            adaptation,
            ..OutParams::default()
        };
        // §3.3.3: no more streams than the INIT allows.
        let fields = Init { outbound_streams: cookie.outbound_streams, ..ours.fields };
        let size = HEADER_BYTES + 64 + 20 * told.len() + sealed.len() + 2 * params.unrecognized.len();
        self.stats.init_acks_sent += 1;
        self.reply(&datagram, *back, size, |packet| fields.write(kind::INIT_ACK, &out, packet));
    }

    /// COOKIE ECHO. `existing` is the association that its tag or sender belongs to.
    pub(super) fn handle_cookie_echo(
        &mut self,
        now: Time,
        datagram: &Datagram<'_>,
        header: &Header,
        chunk: &Chunk<'_>,
        existing: Option<AssocId>,
    ) {
        let opened = self.keys.open(now, &mut self.rng, chunk.value);
        let (cookie, stale) = match opened {
            Ok(cookie) => (cookie, None),
            Err(CookieError::Stale(by, cookie)) => (*cookie, Some(by)),
            Err(CookieError::Forged) => {
                self.stats.bad_cookies += 1;
                if self.config.refuse_when_not_accepting && !self.endpoints.has_port(header.destination) {
                    // Nobody is there whose secret could have made it; §8.4 has it looked at all the same, and dropped.
                    self.answer_out_of_the_blue(now, datagram, header);
                }
                return;
            }
        };
        // §5.1.5: it must be for these ports, this tag, and a peer at this address.
        let bound = cookie.local_port == header.destination
            && cookie.peer_port == header.source
            && cookie.local_tag == header.tag
            && cookie.addresses.contains(&datagram.remote);
        if bound && stale.is_none() && !self.endpoints.has_port(header.destination) {
            // §8.4 rule 8: who gave the cookie has closed in the meantime.
            return self.answer_out_of_the_blue(now, datagram, header);
        }
        if !bound || self.endpoints.get(cookie.endpoint).is_none_or(|endpoint| endpoint.port != header.destination) {
            self.stats.bad_cookies += 1;
            return;
        }
        // The peer may have an association under another of its addresses: it has no second one.
        let existing = existing.or_else(|| self.find_by_cookie(&cookie));
        let existing = existing.filter(|id| self.table.get(*id).is_some_and(|entry| !entry.assoc.is_closed()));
        let same = existing.and_then(|id| self.table.get(id)).is_some_and(|entry| entry.assoc.is_same(&cookie));
        if let Some(by) = stale.filter(|_| !same) {
            // §5.1.5 step 3, §5.2.4 step 3.
            self.stats.stale_cookies += 1;
            if !self.may_answer(now, datagram, header.destination) {
                return;
            }
            let back = Header { source: header.destination, destination: header.source, tag: cookie.peer_tag };
            let measure = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
            self.reply_causes(datagram, back, kind::ERROR, 0, &[Cause::StaleCookie(measure)]);
            return;
        }
        let rest = datagram.data.get(HEADER_BYTES + padded(chunk.raw.len())..).unwrap_or_default();
        match existing {
            Some(id) => self.cookie_for_existing(now, datagram, &cookie, id, rest),
            None => self.cookie_for_new(now, datagram, cookie, rest),
        }
    }

    /// The association that the peer of a cookie has, by whichever of its addresses. The tag shows that it is the
    /// same peer, and not one that lists another's address.
    fn find_by_cookie(&self, cookie: &Cookie) -> Option<AssocId> {
        let holder = |address: &Address| self.table.by_peer(cookie.endpoint, *address, cookie.peer_port);
        cookie.addresses.iter().filter_map(holder).find(|id| self.has_tag_of(*id, cookie))
    }

    /// Whether an association is one with the peer of a cookie.
    pub(super) fn has_tag_of(&self, id: AssocId, cookie: &Cookie) -> bool {
        self.table.get(id).is_some_and(|entry| entry.assoc.identity.peer_tag == cookie.peer_tag)
    }

    fn cookie_for_new(&mut self, now: Time, datagram: &Datagram<'_>, cookie: Cookie, rest: &[u8]) {
        let accepting = self.is_accepting(cookie.endpoint);
        match self.table.tags.retired(now, cookie.local_tag) {
            Some(Retired::Ended) => return,
            // It has not heard the answer; the user is not asked again.
            Some(Retired::Refused) => {
                let back = Header { source: cookie.local_port, destination: cookie.peer_port, tag: cookie.peer_tag };
                return self.answer_init_to_nobody(now, datagram, &back, &[]);
            }
            None => {}
        }
        if !accepting && self.config.refuse_when_not_accepting {
            let back = Header { source: cookie.local_port, destination: cookie.peer_port, tag: cookie.peer_tag };
            return self.answer_init_to_nobody(now, datagram, &back, &[]);
        }
        if !accepting || self.undecided.len() >= self.config.max_incoming {
            return;
        }
        // A repetition while the user still thinks about the first.
        if !self.undecided.insert(cookie.local_tag, (cookie.endpoint, datagram.remote, cookie.peer_port)) {
            return;
        }
        let rest = self.undecided.hold(cookie.local_tag, rest);
        let facts = IncomingFacts {
            local: datagram.local,
            remote: datagram.remote,
            encap_port: datagram.encap_port,
            rest,
            cookie,
        };
        self.incoming.push_back(Incoming { endpoint: facts.cookie.endpoint, facts: Box::new(facts) });
    }

    fn cookie_for_existing(&mut self, now: Time, datagram: &Datagram<'_>, cookie: &Cookie, id: AssocId, rest: &[u8]) {
        let Some(entry) = self.table.get(id) else { return };
        let action = entry.assoc.cookie_action(cookie);
        if action == CookieAction::Discard {
            return;
        }
        let (endpoint_id, life) = (entry.assoc.endpoint, longest_life(entry.assoc.config()));
        let old_tag = entry.assoc.identity.local_tag;
        self.table.unlist_paths(id);
        let endpoints = &self.endpoints;
        let local_for =
            |remote| endpoints.get(endpoint_id).map(|endpoint| endpoint.local_for(remote)).unwrap_or_default();
        let Some(entry) = self.table.get_mut(id) else { return };
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let source = entry.assoc.paths.by_remote(datagram.remote).unwrap_or(0);
        if entry.assoc.on_cookie(&mut cx, cookie, action, source, local_for) {
            let source = entry.assoc.paths.by_remote(datagram.remote);
            entry.assoc.handle_chunks(&mut cx, rest, datagram, source, &local_for);
        }
        let (new_tag, closed) = (entry.assoc.identity.local_tag, entry.assoc.is_closed());
        if new_tag != old_tag {
            self.table.tags.retire(now, old_tag, Retired::Ended, now + life);
            self.table.tags.insert(new_tag, id);
        }
        self.table.list_paths(id);
        if closed {
            self.on_closed(now, id);
        }
        self.table.settle(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Encapsulation, Peer};
    use crate::config::{Config, EndpointConfig, StackConfig};
    use crate::stack::output::FITS_ANY_PATH;
    use crate::transmit::Local;
    use crate::wire::{Chunks, PacketBuilder};

    const NOW: Time = Time::ZERO;

    fn address(last: u8) -> Address {
        std::net::Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn init_fields() -> Init<'static> {
        let tag = VerificationTag(77);
        Init { tag, a_rwnd: 9000, outbound_streams: 5, inbound_streams: 5, initial_tsn: Tsn(1), params: &[] }
    }

    fn deliver(stack: &mut Stack, tag: VerificationTag, kind: u8, cookie: Option<&[u8]>) {
        let mut buf = [0; 512];
        let mut packet = PacketBuilder::new(&mut buf, Header { source: 6, destination: 5, tag });
        init_fields().write(kind, &OutParams { cookie, ..OutParams::default() }, &mut packet);
        let size = packet.finish();
        let local = Local { address: Some(address(1)), ..Local::default() };
        let remote = address(2);
        stack.handle_datagram(NOW, Datagram { local, remote, encap_port: Some(9899), ecn: None, data: &buf[..size] });
    }

    /// The Tie-Tags in the cookie of the INIT ACK that an INIT gets now.
    fn ties(stack: &mut Stack) -> (u32, u32) {
        let mut buf = vec![0; 1 << 16];
        while stack.poll_transmit(NOW, 1, &mut buf).is_some() {}
        deliver(stack, VerificationTag::ZERO, kind::INIT, None);
        let size = stack.poll_transmit(NOW, 1, &mut buf).map(|transmit| transmit.size).unwrap();
        let chunk = Chunks::new(&buf[HEADER_BYTES..size]).next().unwrap().unwrap();
        let params = InitParams::parse(Init::parse(&chunk).unwrap().params, 9).unwrap();
        let cookie = stack.keys.open(NOW, &mut stack.rng, params.cookie.unwrap()).unwrap();
        (cookie.tie_local.0, cookie.tie_peer.0)
    }

    // covers: RFC 9260 §5.2.1-15, §5.2.2-5, §5.2.2-11
    #[test]
    fn cookies_have_tie_tags_when_there_is_an_association_beyond_cookie_wait() {
        let mut stack = Stack::new(StackConfig::default(), [3; 32], NOW);
        let config = EndpointConfig {
            port: 5,
            addresses: vec![address(1)],
            host_addresses: Vec::new(),
            config: Config::default(),
        };
        let endpoint = stack.open(config).unwrap();
        stack.set_accepting(endpoint, true);
        assert_eq!(ties(&mut stack), (0, 0), "no association");
        let peer = Peer { addresses: vec![address(2)], port: 6, encapsulation: Encapsulation::Default };
        let id = stack.connect(NOW, endpoint, &peer, None).unwrap();
        assert_eq!(ties(&mut stack), (0, 0), "COOKIE-WAIT");
        let tag = stack.table.get(id).unwrap().assoc.identity.local_tag;
        deliver(&mut stack, tag, kind::INIT_ACK, Some(b"cookie"));
        assert_eq!(stack.state(id), Some(State::CookieEchoed));
        let echoed = ties(&mut stack);
        assert!(echoed.0 != 0 && echoed.1 != 0, "COOKIE-ECHOED");
        assert_eq!(ties(&mut stack), echoed, "they are those of the TCB");
    }

    #[test]
    fn a_small_init_ack_is_not_fragmented_and_a_large_one_may_be() {
        let mut stack = Stack::new(StackConfig::default(), [3; 32], NOW);
        let v6 = |last: u16| Address::from(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let config = EndpointConfig {
            port: 5,
            addresses: vec![address(1), v6(1)],
            host_addresses: Vec::new(),
            config: Config::default(),
        };
        let endpoint = stack.open(config).unwrap();
        stack.set_accepting(endpoint, true);
        let mut buf = vec![0; 1 << 16];
        // The cookie remembers the peer's addresses.
        for (count, whole) in [(0, true), (30, false)] {
            let addresses: Vec<Address> = (0..count).map(|n| v6(2 + n)).collect();
            let mut data = [0; 1024];
            let mut packet =
                PacketBuilder::new(&mut data, Header { source: 6, destination: 5, tag: VerificationTag::ZERO });
            init_fields().write(kind::INIT, &OutParams { addresses: &addresses, ..OutParams::default() }, &mut packet);
            let size = packet.finish();
            let local = Local { address: Some(address(1)), ..Local::default() };
            let data = &data[..size];
            stack.handle_datagram(NOW, Datagram { local, remote: address(2), encap_port: Some(9899), ecn: None, data });
            let transmit = stack.poll_transmit(NOW, 1, &mut buf).unwrap();
            assert_eq!((transmit.size <= FITS_ANY_PATH, transmit.dont_fragment), (whole, whole), "{}", transmit.size);
        }
    }

    #[test]
    fn an_endpoint_that_does_not_accept_is_silent_or_refuses_as_it_is_told() {
        for refuses in [false, true] {
            let stack_config = StackConfig { refuse_when_not_accepting: refuses, ..StackConfig::default() };
            let mut stack = Stack::new(stack_config, [3; 32], NOW);
            let config = EndpointConfig {
                port: 5,
                addresses: vec![address(1)],
                host_addresses: Vec::new(),
                config: Config::default(),
            };
            let endpoint = stack.open(config).unwrap();
            let answer = |stack: &mut Stack| {
                let mut buf = vec![0; 1 << 16];
                deliver(stack, VerificationTag::ZERO, kind::INIT, None);
                let size = stack.poll_transmit(NOW, 1, &mut buf).map(|transmit| transmit.size)?;
                Some(Chunks::new(&buf[HEADER_BYTES..size]).next().unwrap().unwrap().kind)
            };
            assert_eq!(answer(&mut stack), refuses.then_some(kind::ABORT));
            stack.set_accepting(endpoint, true);
            assert_eq!(answer(&mut stack), Some(kind::INIT_ACK));
        }
    }
}
