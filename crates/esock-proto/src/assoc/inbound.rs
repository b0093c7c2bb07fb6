//! What arrives: chunks, one after the other.

use super::control::{Control, Reading};
use super::path::congestion::{Acked, CongestionControl};
use super::path::{BeatKind, Path};
use super::rx::ack::Arrival;
use super::rx::{Block, Received};
use super::tx::SackOutcome;
use super::{Association, Cx, Phase};
use crate::api::{CloseReason, Event};
use crate::faults::Fault;
use crate::transmit::{Datagram, Local};
use crate::types::{PathId, VerificationTag};
use crate::wire::{
    Cause, Chunk, Chunks, Data, HEADER_BYTES, Init, Sack, Tlvs, UnknownAction, abort_reason, code, kind, param_type,
    parse_cumulative_tsn,
};
use bytes::Bytes;

/// A HEARTBEAT is answered up to this size: the answer is as large as the question.
const MAX_HEARTBEAT_BYTES: usize = 65_000;
/// Error causes of one packet that the user is told of.
const MAX_CAUSES_TOLD: u8 = 8;

const BAD_INIT_ACK: &str = "INIT ACK that is too short, or not alone";
const BOGUS_ACK: &str = "a TSN was acknowledged that had not been sent";

/// What to do with the rest of a packet.
enum Next {
    Chunk,
    Stop,
}

impl Association {
    /// Takes a packet with our verification tag. `source` is the path of its sender; `None` for an
    /// address that is not known (only INIT ACK may come from one).
    pub fn handle_packet(
        &mut self,
        cx: &mut Cx<'_>,
        datagram: &Datagram<'_>,
        source: Option<usize>,
        local_for: &dyn Fn(crate::types::Address) -> crate::transmit::Local,
    ) {
        self.counters.packets_received += 1;
        if matches!(self.phase, Phase::ShutdownSent) {
            // §9.2: a peer that still sends has ample time for it.
            self.error_count = 0;
            self.restart_t2(cx);
        }
        self.handle_chunks(cx, &datagram.data[HEADER_BYTES..], datagram, source, local_for);
    }

    /// Takes the chunks of a packet, or those behind a COOKIE ECHO.
    pub fn handle_chunks(
        &mut self,
        cx: &mut Cx<'_>,
        chunks: &[u8],
        datagram: &Datagram<'_>,
        source: Option<usize>,
        local_for: &dyn Fn(crate::types::Address) -> crate::transmit::Local,
    ) {
        if let Some(source) = source {
            self.learn_path(datagram, source, chunks.first() == Some(&kind::HEARTBEAT));
        }
        let had_gaps = self.rx.map.has_gaps();
        let mut arrival = Arrival::default();
        let alone = chunks.len() + HEADER_BYTES == datagram.data.len() && Chunks::new(chunks).nth(1).is_none();
        self.reading = Reading { alone, ..Reading::default() };
        let (mut walk, mut block) = (Chunks::new(chunks), Block::default());
        while let Some(chunk) = walk.next() {
            let Ok(chunk) = chunk else {
                self.counters.packets_discarded += 1;
                break;
            };
            let next = match (chunk.kind, source) {
                (kind::INIT_ACK, _) => {
                    // Of these chunks, not of the packet: what was kept from behind a COOKIE ECHO has no common header.
                    let alone = crate::wire::padded(chunk.raw.len()) >= chunks.len();
                    self.handle_init_ack(cx, &chunk, datagram, alone, local_for)
                }
                (_, None) => Next::Stop,
                // §6.10: it comes alone, as INIT and INIT ACK do.
                (kind::SHUTDOWN_COMPLETE, _) if crate::wire::padded(chunk.raw.len()) < chunks.len() => {
                    let awaited = matches!(self.phase, Phase::ShutdownAckSent);
                    self.discard(cx, awaited, "SHUTDOWN COMPLETE that is not alone");
                    Next::Stop
                }
                (kind::DATA, Some(source)) => {
                    self.on_data(cx, &chunk, source, &mut arrival, &mut block, walk.rest_len())
                }
                (_, Some(source)) => self.on_control(cx, &chunk, source, datagram.local),
            };
            if self.is_closed() || matches!(next, Next::Stop) {
                break;
            }
        }
        if arrival.data && !self.is_closed() {
            arrival.gaps = had_gaps || self.rx.map.has_gaps();
            let source = source.unwrap_or(self.paths.current);
            self.ack.on_packet(cx.now, arrival, source, self.config.sack_frequency, self.config.sack_delay);
            if matches!(self.phase, Phase::ShutdownSent) {
                // §9.2: with SHUTDOWN and SACK at once, and T2 begins anew.
                self.ack.force();
                self.send_shutdown(cx, Control::Shutdown, self.paths.current);
            }
        }
        self.tell_readable(cx);
    }

    /// ABORT or SHUTDOWN COMPLETE with the T bit and the peer's own tag (§8.5.1 B, C).
    pub fn handle_reflected(&mut self, cx: &mut Cx<'_>, chunk: &Chunk<'_>) {
        // What the peer has ended with was our SHUTDOWN ACK, and something that we had sent before has found it gone: its
        // SHUTDOWN COMPLETE is late, or lost.
        let is_over = matches!(self.phase, Phase::ShutdownAckSent);
        if chunk.kind == kind::ABORT && !is_over {
            self.on_abort(cx, abort_reason(chunk));
        } else {
            self.on_shutdown_complete(cx);
        }
    }

    /// ICMP Packet Too Big: what was made for the old size is sent again (RFC 8899 §4.6).
    pub fn on_packet_too_big(&mut self, cx: &mut Cx<'_>, index: usize, mtu: u32) {
        let path = &mut self.paths.list[index];
        path.change_mtu(|pmtud| pmtud.on_too_big(cx.now, mtu));
        if path.pmtud.probe_size().is_some_and(|size| u32::from(size) <= mtu) {
            self.send_mtu_probe(cx, index);
        }
    }

    /// The path that a validated packet came over: its encapsulation (RFC 6951 §5.4), and which address
    /// of ours the peer uses, so that replies leave from there.
    fn learn_path(&mut self, datagram: &Datagram<'_>, source: usize, is_heartbeat: bool) {
        let path = &mut self.paths.list[source];
        path.packets_received += 1;
        if path.encap_port != datagram.encap_port {
            path.change_encapsulation(datagram.encap_port);
        }
        // HEARTBEATs go to each address of ours in turn (§8.3): what works is not left for the one that was last. Each is
        // answered from where it went.
        let is_trial = is_heartbeat && path.local.address.is_some() && path.error_count == 0;
        let moves = path.local.address != datagram.local.address;
        if path.local != datagram.local && datagram.local.address.is_some() && !(is_trial && moves) {
            path.local = datagram.local;
        }
    }

    fn on_control(&mut self, cx: &mut Cx<'_>, chunk: &Chunk<'_>, source: usize, local: Local) -> Next {
        self.counters.control_chunks_received += 1;
        match chunk.kind {
            kind::SACK => self.handle_sack(cx, chunk),
            kind::HEARTBEAT => self.on_heartbeat(chunk, source, local),
            kind::HEARTBEAT_ACK => self.on_heartbeat_ack(cx, chunk),
            // §8.5.1 B, C: with our own tag the T bit must not be set; else the packet is discarded.
            kind::ABORT | kind::SHUTDOWN_COMPLETE
                if chunk.has_t_bit() && self.identity.peer_tag != self.identity.local_tag =>
            {
                return Next::Stop;
            }
            kind::ABORT => self.on_abort(cx, abort_reason(chunk)),
            kind::ERROR => self.on_error(cx, chunk),
            kind::SHUTDOWN => match parse_cumulative_tsn(chunk) {
                Ok(cumulative) => self.on_shutdown(cx, cumulative),
                Err(_) => self.discard(cx, true, "SHUTDOWN chunk too short"),
            },
            kind::SHUTDOWN_ACK => self.on_shutdown_ack(cx, source),
            kind::SHUTDOWN_COMPLETE => self.on_shutdown_complete(cx),
            kind::COOKIE_ACK => self.on_cookie_ack(cx),
            // INIT must come alone and with tag 0; COOKIE ECHO first (the stack takes both); ECN is not negotiated.
            kind::INIT | kind::COOKIE_ECHO => return Next::Stop,
            kind::ECNE | kind::CWR | kind::PAD => {}
            unknown => return self.on_unknown(chunk, UnknownAction::of_chunk(unknown), source),
        }
        Next::Chunk
    }

    /// RFC 9260 §3.2: by the high bits.
    fn on_unknown(&mut self, chunk: &Chunk<'_>, action: UnknownAction, source: usize) -> Next {
        // §5.1 C: until COOKIE ACK nothing else is sent; in COOKIE-WAIT there is no tag to send it with.
        let forming = matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_));
        if action.report && !forming {
            let causes = super::close::causes_bytes(&[Cause::UnrecognizedChunk(chunk.raw)]);
            self.reply(source, kind::ERROR, causes);
        }
        if action.skip { Next::Chunk } else { Next::Stop }
    }

    fn handle_init_ack(
        &mut self,
        cx: &mut Cx<'_>,
        chunk: &Chunk<'_>,
        datagram: &Datagram<'_>,
        // §5.1: it must be the only chunk of its packet.
        alone: bool,
        local_for: &dyn Fn(crate::types::Address) -> crate::transmit::Local,
    ) -> Next {
        self.counters.control_chunks_received += 1;
        match Init::parse(chunk) {
            Ok(init) if alone => {
                self.on_init_ack(cx, &init, datagram.remote, (datagram.local, datagram.encap_port), local_for);
            }
            // §5.1, §3.3.3: with the tag that it gave, or reflected if it is too short for one.
            given if self.config.strict && matches!(self.phase, Phase::CookieWait(_)) => {
                let tag = given.ok().map(|init| init.tag).filter(|tag| *tag != VerificationTag::ZERO);
                let path = self.paths.by_remote(datagram.remote).unwrap_or(0);
                self.refuse_init_ack(cx, path, tag, &Cause::ProtocolViolation(BAD_INIT_ACK.as_bytes()), BAD_INIT_ACK);
            }
            _ => self.counters.packets_discarded += 1,
        }
        Next::Stop
    }

    /// Discards what breaks the protocol; if that is how it is to be, and the state asks for it, with an ABORT.
    fn discard(&mut self, cx: &mut Cx<'_>, matters: bool, what: &'static str) {
        self.counters.packets_discarded += 1;
        if self.config.strict && matters {
            self.violate(cx, &Cause::ProtocolViolation(what.as_bytes()), what);
        }
    }

    /// `behind`: bytes of the packet behind the chunk, and `block`, where its small messages go.
    fn on_data(
        &mut self,
        cx: &mut Cx<'_>,
        chunk: &Chunk<'_>,
        source: usize,
        arrival: &mut Arrival,
        block: &mut Block,
        behind: usize,
    ) -> Next {
        // §4, §9.2: data is taken from ESTABLISHED until the peer has said that there is no more.
        if !matches!(self.phase, Phase::Established | Phase::ShutdownPending | Phase::ShutdownSent) {
            return Next::Chunk;
        }
        let Ok(data) = Data::parse(chunk) else {
            self.violate(cx, &Cause::ProtocolViolation(b"DATA chunk too short"), "DATA chunk too short");
            return Next::Stop;
        };
        if data.payload.is_empty() {
            // §6.2: ABORT with "No User Data".
            self.violate(cx, &Cause::NoUserData(data.tsn.0), "DATA chunk without data");
            return Next::Stop;
        }
        if data.stream.0 >= self.negotiated.inbound_streams {
            // §6.5: acknowledged, reported, dropped.
            arrival.data = true;
            return self.on_bad_stream(cx, &data, source, arrival);
        }
        arrival.immediate |= data.flags.is_immediate();
        match self.rx.on_data(&data, PathId(source as u16), block, data.payload.len() + behind) {
            Received::New => (arrival.data, self.data_came) = (true, cx.now),
            Received::Duplicate => (arrival.data, arrival.duplicates) = (true, true),
            Received::Dropped => (arrival.data, arrival.dropped) = (true, true),
            Received::Violation(what) => {
                self.violate(cx, &Cause::ProtocolViolation(what.as_bytes()), what);
                return Next::Stop;
            }
            Received::TooLarge => {
                self.close_with_abort(cx, &[Cause::OutOfResource], CloseReason::MessageTooLarge);
                return Next::Stop;
            }
        }
        Next::Chunk
    }

    fn on_bad_stream(&mut self, cx: &mut Cx<'_>, data: &Data<'_>, source: usize, arrival: &mut Arrival) -> Next {
        match self.rx.on_unusable(data.tsn) {
            Received::New => {
                let causes = super::close::causes_bytes(&[Cause::InvalidStream(data.stream.0)]);
                self.reply(source, kind::ERROR, causes);
                Next::Chunk
            }
            Received::Violation(what) => {
                self.violate(cx, &Cause::ProtocolViolation(what.as_bytes()), what);
                Next::Stop
            }
            _ => {
                arrival.duplicates = true;
                Next::Chunk
            }
        }
    }

    fn handle_sack(&mut self, cx: &mut Cx<'_>, chunk: &Chunk<'_>) {
        self.counters.sacks_received += 1;
        // §6: where nothing can be outstanding it is discarded.
        if !self.may_send_data() {
            return;
        }
        let Ok(sack) = Sack::parse(chunk) else {
            return self.discard(cx, true, "SACK chunk that does not fit its counts");
        };
        match self.tx.on_sack(cx.now, &sack, &mut self.paths) {
            SackOutcome::Old => {}
            SackOutcome::Bogus => self.on_bogus_ack(cx),
            outcome @ SackOutcome::Taken { .. } => self.after_sack(cx, outcome),
        }
    }

    /// §12.4: what was never sent cannot be acknowledged; a peer that does it drives us to flood the network.
    fn on_bogus_ack(&mut self, cx: &mut Cx<'_>) {
        self.violate(cx, &Cause::ProtocolViolation(BOGUS_ACK.as_bytes()), BOGUS_ACK);
    }

    /// Congestion control, timers and error counts of each path, after a SACK was taken.
    pub(super) fn after_sack(&mut self, cx: &mut Cx<'_>, outcome: SackOutcome) {
        let SackOutcome::Taken { acked, .. } = outcome else { return };
        let recovering = self.tx.in_fast_recovery();
        let lost = self.paths.list.iter().any(|path| path.sack.lost);
        let begins = lost && self.tx.enter_fast_recovery();
        if (acked || self.tx.is_held_off()) && !self.config.faults().has(Fault::ErrorsNotCleared) {
            // §8.1; and an answer to a window probe shows that the peer is there.
            self.error_count = 0;
        }
        let max_burst = self.config.max_burst;
        for index in 0..self.paths.list.len() {
            let path = &mut self.paths.list[index];
            let scratch = path.sack;
            let pmdcs = path.pmdcs();
            if scratch.acked_bytes > 0 {
                let acked = Acked {
                    srtt: path.rto.srtt(),
                    sample: path.log.as_mut().and_then(|log| log.sample(cx.now)),
                    bytes: scratch.acked_bytes,
                    flight_before: scratch.flight_before,
                    flight_after: path.flight,
                    in_fast_recovery: recovering,
                    pmdcs,
                };
                path.congestion.on_ack(cx.now, &acked);
                path.pmtud.on_progress();
                path.one_packet = false;
            }
            if (begins && scratch.lost) || scratch.repaired {
                path.congestion.on_fast_retransmit(cx.now, pmdcs);
            }
            // §6.1 D: one event sends no more than it acknowledged and Max.Burst.
            path.allow_burst(scratch.flight_before, max_burst);
            if !self.config.faults().has(Fault::T3NotStarted) {
                path.update_t3(cx.now, scratch.earliest);
            }
            if acked {
                self.tx.schedule_probe(cx.now, path);
            }
            if scratch.unambiguous {
                let changed = path.on_answer(false);
                self.tell_path(cx, index, changed);
            }
        }
        self.watch_window(cx.now);
        self.tx.check_invariants();
        self.tell_writable(cx);
        self.tell_drained(cx);
        self.advance_shutdown(cx);
    }

    fn on_heartbeat(&mut self, chunk: &Chunk<'_>, source: usize, local: Local) {
        // §8.3: the information comes back as it is, to where it came from. Not before we know the peer's tag.
        if matches!(self.phase, Phase::CookieWait(_)) || chunk.value.len() > MAX_HEARTBEAT_BYTES {
            return;
        }
        self.answer_heartbeat(source, chunk.value.to_vec(), local);
    }

    fn on_heartbeat_ack(&mut self, cx: &mut Cx<'_>, chunk: &Chunk<'_>) {
        let info = Tlvs::new(chunk.value).map_while(Result::ok).find(|param| param.kind == param_type::HEARTBEAT_INFO);
        let Some((id, nonce)) = info.and_then(|info| Path::parse_beat_info(info.value)) else { return };
        let index = usize::from(id.0);
        let Some(path) = self.paths.list.get_mut(index) else { return };
        // §5.4: only the nonce that we sent over that path, and only once.
        let Some(beat) = path.beats.take(nonce) else { return };
        self.counters.heartbeat_acks += 1;
        let was_confirmed = path.confirmed;
        // §8.3: it measures the round trip, clears the errors, and confirms the path.
        path.rto.on_measurement(cx.now.since(beat.sent));
        let changed = path.on_answer(true);
        // §8.1: an answer clears the association's count too, but MAY not while data is outstanding. It does not:
        // a peer that answers HEARTBEATs and never acknowledges would keep the association for ever. Unless its window
        // is closed: some drop a probe of it without the SACK that §6.2 demands, and are there all the same.
        let waits = matches!(self.phase, Phase::Established) && self.tx.may_be_held_off();
        if (waits || !self.tx.has_outstanding()) && !self.config.faults().has(Fault::ErrorsNotCleared) {
            self.error_count = 0;
        }
        if let BeatKind::Mtu(size) = beat.kind {
            self.tx.peer_reads_pad = true;
            path.change_mtu(|pmtud| pmtud.on_probe_acked(cx.now, size));
            self.send_mtu_probe(cx, index);
        }
        self.tell_path(cx, index, changed);
        if !was_confirmed {
            self.start_path(cx, index);
            self.probe_next(cx);
        }
    }

    fn on_error(&mut self, cx: &mut Cx<'_>, chunk: &Chunk<'_>) {
        for cause in Tlvs::new(chunk.value).map_while(Result::ok) {
            if cause.kind == code::STALE_COOKIE {
                return self.on_stale_cookie(cx);
            }
            if matches!(self.phase, Phase::CookieWait(_)) {
                return;
            }
            if self.reading.causes_told == MAX_CAUSES_TOLD {
                return;
            }
            self.reading.causes_told += 1;
            let info = Bytes::copy_from_slice(&cause.value[..cause.value.len().min(256)]);
            self.tell(cx, Event::PeerError { cause: cause.kind, info });
        }
    }
}
