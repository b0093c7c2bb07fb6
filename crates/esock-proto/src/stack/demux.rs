//! Whose packet it is: by our verification tag, else by the peer's address (RFC 9260 §8.5).

use super::Stack;
use super::shard::{Stray, StrayKind};
use crate::api::State;
use crate::time::Time;
use crate::transmit::Datagram;
use crate::types::{Address, AssocId, VerificationTag};
use crate::wire::{Chunk, Chunks, HEADER_BYTES, Header, checksum_ok, kind, padded};

impl Stack {
    /// Takes a packet that has arrived.
    pub fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>) {
        // Whoever does not ask for what may be another shard's gets nothing back.
        let _ = self.take_datagram(now, datagram, true);
    }

    /// Takes a packet; not the `last` to be asked, gives back what may be another shard's.
    pub(super) fn take_datagram(&mut self, now: Time, datagram: Datagram<'_>, last: bool) -> Option<Stray> {
        self.stats.packets_received += 1;
        let Ok(header) = Header::parse(datagram.data) else {
            self.stats.malformed += 1;
            return None;
        };
        // RFC 9260 §8.4: nothing that comes from or went to a non-unicast address.
        if !datagram.remote.is_usable_peer() || datagram.local.address.is_some_and(|local| !local.is_usable_peer()) {
            self.stats.malformed += 1;
            return None;
        }
        let by_tag = if header.tag == VerificationTag::ZERO { None } else { self.find_by_tag(&header) };
        if !checksum_ok(datagram.data) {
            self.stats.malformed += 1;
            self.stats.bad_checksum += 1;
            return None;
        }
        let Some(Ok(first)) = Chunks::new(&datagram.data[HEADER_BYTES..]).next() else {
            self.stats.malformed += 1;
            return None;
        };
        if header.tag == VerificationTag::ZERO {
            // §8.5.1 A: only INIT has no tag.
            if first.kind == kind::INIT {
                if !last && let Some(stray) = self.stray_init(&datagram, &header, &first) {
                    return Some(stray);
                }
                self.handle_init(now, &datagram, &header, &first);
            } else {
                self.stats.malformed += 1;
            }
            return None;
        }
        match (by_tag, first.kind) {
            (existing, kind::COOKIE_ECHO) => {
                let existing = existing.or_else(|| self.find_by_peer(&datagram, &header));
                if !last && existing.is_none() {
                    let stray = self.stray(&datagram, &header, StrayKind::CookieEcho);
                    if stray.is_some() {
                        return stray;
                    }
                }
                self.handle_cookie_echo(now, &datagram, &header, &first, existing);
            }
            (Some(id), first_kind) => self.handle_own(now, &datagram, &header, id, first_kind),
            (None, _) => return self.handle_foreign(now, &datagram, &header, &first, last),
        }
        None
    }

    /// The association that has this tag, if the ports are its own too.
    fn find_by_tag(&self, header: &Header) -> Option<AssocId> {
        let id = self.table.by_tag(header.tag)?;
        let identity = &self.table.get(id)?.assoc.identity;
        (identity.local_port == header.destination && identity.peer_port == header.source).then_some(id)
    }

    fn find_by_peer(&self, datagram: &Datagram<'_>, header: &Header) -> Option<AssocId> {
        let endpoint = self.endpoints.find(datagram.local.address, header.destination)?;
        self.table.by_peer(endpoint, datagram.remote, header.source)
    }

    /// A packet with our tag.
    fn handle_own(&mut self, now: Time, datagram: &Datagram<'_>, header: &Header, id: AssocId, first: u8) {
        let forming = matches!(self.state(id), Some(State::CookieWait | State::CookieEchoed));
        if first == kind::SHUTDOWN_ACK && forming {
            // §8.5.1 E.
            return self.answer_shutdown_ack(now, datagram, header);
        }
        let Some(entry) = self.table.get(id) else { return };
        let source = entry.assoc.paths.by_remote(datagram.remote);
        // INIT ACK replaces the peer's addresses.
        let was_forming = entry.assoc.state() == State::CookieWait;
        let forming = if was_forming { entry.assoc.paths.list.as_slice() } else { &[] };
        let before: Vec<Address> = forming.iter().map(|path| path.remote).collect();
        let (endpoints, endpoint) = (&self.endpoints, entry_endpoint(&self.table, id));
        let local_for = |remote| {
            endpoint.and_then(|id| endpoints.get(id)).map(|endpoint| endpoint.local_for(remote)).unwrap_or_default()
        };
        let Some(entry) = self.table.get_mut(id) else { return };
        let was_closed = entry.assoc.is_closed();
        let mut cx = crate::assoc::Cx { now, rng: &mut self.rng, events: &mut self.events };
        entry.assoc.handle_packet(&mut cx, datagram, source, &local_for);
        let closed = entry.assoc.is_closed();
        if was_forming {
            self.table.relist_paths(id, &before);
        }
        if closed && !was_closed {
            self.on_closed(now, id);
        }
        // Its deadline is entered when it has sent what the packets of this batch brought about.
        self.table.activate(id);
    }

    /// A packet whose tag is none of ours.
    fn handle_foreign(
        &mut self,
        now: Time,
        datagram: &Datagram<'_>,
        header: &Header,
        first: &Chunk<'_>,
        last: bool,
    ) -> Option<Stray> {
        if first.kind == kind::ABORT && !first.has_t_bit() && self.undecided.remove(header.tag) {
            // The peer has given up while the user still thinks about it.
            return None;
        }
        let Some(id) = self.find_by_peer(datagram, header) else {
            let stray = if last { None } else { self.stray(datagram, header, StrayKind::Other) };
            if stray.is_none() {
                self.handle_out_of_the_blue(now, datagram, header);
            }
            return stray;
        };
        let entry = self.table.get(id)?;
        let forming = matches!(entry.assoc.state(), State::CookieWait | State::CookieEchoed);
        let alone = padded(first.raw.len()) >= datagram.data.len() - HEADER_BYTES;
        let reflected =
            first.has_t_bit() && header.tag == entry.assoc.identity.peer_tag && (first.kind == kind::ABORT || alone);
        match first.kind {
            kind::SHUTDOWN_ACK if forming => self.answer_shutdown_ack(now, datagram, header),
            // §8.5.1 B, C: with the T bit, the tag is the one that we put into packets to the peer.
            kind::ABORT | kind::SHUTDOWN_COMPLETE if reflected => {
                let _ = self.with(now, id, |assoc, cx| assoc.handle_reflected(cx, first));
            }
            // §8.5: silently discarded.
            _ => {}
        }
        None
    }
}

fn entry_endpoint(table: &super::table::Table, id: AssocId) -> Option<crate::types::EndpointId> {
    table.get(id).map(|entry| entry.assoc.endpoint)
}
