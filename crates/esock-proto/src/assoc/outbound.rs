//! What leaves: packets, control chunks first, then what was lost, then what is new (RFC 9260 §6.1, §6.10).

use super::control::{Control, Queued};
use super::path::congestion::CongestionControl;
use super::path::{BeatKind, Path};
use super::{Association, Cx, Phase};
use crate::faults::Fault;
use crate::time::Time;
use crate::transmit::Transmit;
use crate::types::VerificationTag;
use crate::wire::{CHUNK_HEADER_BYTES, HEADER_BYTES, Header, PacketBuilder, T_BIT, kind, padded, param_type};

/// A batch holds fewer bytes than one UDP datagram may have: it leaves in one send call.
const MAX_BATCH_BYTES: usize = 65_000;

/// A HEARTBEAT is bundled where there is this much room.
pub(super) const MIN_BEAT_ROOM: usize = 64;

/// What a packet took along.
#[derive(Debug, Default, Clone, Copy)]
struct Wrote {
    data: bool,
    /// It is larger than its path's MTU: the IP layer has to fragment it.
    oversized: bool,
}

impl Association {
    /// The next packets, all over one path; `None` when there is nothing to send now.
    pub fn poll_transmit(&mut self, cx: &mut Cx<'_>, max_segments: usize, buf: &mut [u8]) -> Option<Transmit> {
        if self.may_send_data() && self.tx.next_is_expired(cx.now) {
            self.tell_expired(cx);
        }
        if let Some(transmit) = self.poll_control(cx, buf) {
            return Some(transmit);
        }
        if self.is_closed() {
            return None;
        }
        match self.data_path() {
            Some(index) => self.poll_data(cx, index, max_segments, buf),
            None if self.ack.is_due() => self.poll_sack(buf),
            None => {
                self.come_to_rest();
                None
            }
        }
    }

    /// There is nothing to send now.
    fn come_to_rest(&mut self) {
        self.paths.list.iter_mut().for_each(|path| path.burst_limit = 0);
        let path = &mut self.paths.list[self.paths.current];
        if let Some(log) = &mut path.log
            && path.flight < path.congestion.cwnd()
            && !path.pacer.as_ref().is_some_and(|pacer| pacer.is_blocked())
        {
            log.on_app_limited(path.flight);
        }
    }

    /// Whether [`Association::poll_transmit`] would have something; may be wrong towards yes.
    pub fn wants_transmit(&self) -> bool {
        !self.control.is_empty() || (!self.is_closed() && (self.ack.is_due() || self.data_path().is_some()))
    }

    /// Whether a message that was taken can leave, or has to be looked after: with nothing in flight no SACK is going
    /// to. If not, the event is over.
    pub(super) fn begins_turn(&mut self) -> bool {
        let begins = self.tx.flight() == 0 || self.timers.probe.is_some() || self.data_path().is_some();
        if !begins {
            self.come_to_rest();
        }
        begins
    }

    fn header(&self, tag: VerificationTag) -> Header {
        Header { source: self.identity.local_port, destination: self.identity.peer_port, tag }
    }

    /// §6: data is sent, and acknowledged, in these states.
    pub(super) fn may_send_data(&self) -> bool {
        matches!(self.phase, Phase::Established | Phase::ShutdownPending | Phase::ShutdownReceived)
    }

    /// The path that data can leave over now: what was lost goes first (§6.1 C). Never one that is not
    /// confirmed (§5.4).
    fn data_path(&self) -> Option<usize> {
        if self.may_send_data() { self.sendable_path() } else { None }
    }

    /// The same in any state.
    fn sendable_path(&self) -> Option<usize> {
        let path = self.tx.lost_path(&self.paths).or_else(|| {
            let index = self.tx.next_path(&self.paths);
            self.tx.can_send_new(index, &self.paths).then_some(index)
        });
        path.filter(|index| self.paths.list[*index].confirmed)
    }

    /// A packet that begins with a control chunk.
    fn poll_control(&mut self, cx: &mut Cx<'_>, buf: &mut [u8]) -> Option<Transmit> {
        let Queued { path: index, control } = self.control.pop_front()?;
        let index = index.min(self.paths.list.len().saturating_sub(1));
        let path = self.paths.list.get(index)?;
        let (mut encap_port, mut limit) = (path.encap_port, path.max_packet());
        let (mut alone, mut from) = (false, None);
        let mut tag = self.identity.peer_tag;
        let mut wrote = Wrote::default();
        match &control {
            Control::Init(udp) => {
                (alone, tag) = (true, VerificationTag::ZERO);
                encap_port = udp.or(encap_port);
            }
            Control::Heartbeat(BeatKind::Mtu(size)) => {
                alone = true;
                limit = usize::from(*size).saturating_sub(path.lower_headers()) & !3;
            }
            // A cookie, an echo or a report may be larger than the path carries in one piece.
            Control::Reply(_, value) => limit = limit.max(HEADER_BYTES + CHUNK_HEADER_BYTES + padded(value.len())),
            Control::AnswerFrom(answer) => {
                limit = limit.max(HEADER_BYTES + CHUNK_HEADER_BYTES + padded(answer.1.len()));
                from = Some(answer.0);
            }
            Control::CookieEcho => limit = limit.max(HEADER_BYTES + CHUNK_HEADER_BYTES + padded(self.cookie().len())),
            Control::Abort(_) | Control::ShutdownComplete => alone = true,
            Control::Refusal { tag: given, .. } => (alone, tag) = (true, *given),
            _ => {}
        }
        wrote.oversized = limit > path.max_packet() && !alone;
        let limit = limit.min(buf.len());
        let header = self.header(tag);
        let mut packet = PacketBuilder::new(&mut buf[..limit], header);
        self.write_control(&control, index, limit, &mut packet);
        if !alone && from.is_none() && !wrote.oversized && !self.is_closed() {
            self.bundle(cx, index, &mut packet, &mut wrote);
        }
        if let Control::CookieEcho = control {
            // §5.1 C: a report that did not fit beside it does not follow in a packet of its own.
            self.control.retain(|queued| !matches!(queued.control, Control::Reply(kind::ERROR, _)));
            if !wrote.oversized {
                wrote.data |= self.write_data_with_cookie(cx, index, &mut packet);
            }
        }
        let size = packet.finish();
        if let Control::ShutdownAck | Control::Shutdown = control {
            self.ack.deadline = None;
        }
        let transmit = self.transmit(cx, index, size, wrote);
        Some(Transmit { encap_port, local: from.unwrap_or(transmit.local), ..transmit })
    }

    /// Adds to a packet what else goes over its path: control chunks, SACK, data.
    fn bundle(&mut self, cx: &mut Cx<'_>, index: usize, packet: &mut PacketBuilder<'_>, wrote: &mut Wrote) {
        while let Some(next) = self.control.front() {
            let fits = match &next.control {
                Control::Reply(_, value) => CHUNK_HEADER_BYTES + padded(value.len()) <= packet.room(),
                Control::Heartbeat(BeatKind::Alive) => packet.room() >= MIN_BEAT_ROOM,
                Control::Shutdown | Control::ShutdownAck => packet.room() >= 16,
                _ => false,
            };
            if !fits || next.path != index {
                break;
            }
            if let Some(queued) = self.control.pop_front() {
                self.write_control(&queued.control, index, 0, packet);
            }
        }
        if !matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_)) && self.ack.is_due() {
            self.ack.write(&mut self.rx, packet, 0);
        }
        if self.data_path() == Some(index) {
            wrote.data |= self.write_data(cx, index, packet).unwrap_or(false);
        }
    }

    fn write_control(&mut self, control: &Control, index: usize, limit: usize, packet: &mut PacketBuilder<'_>) {
        self.counters.control_chunks_sent += 1;
        match control {
            Control::Init(_) => self.write_init(packet),
            Control::CookieEcho => packet.chunk(kind::COOKIE_ECHO, 0, self.cookie()),
            Control::CookieAck => packet.chunk(kind::COOKIE_ACK, 0, &[]),
            Control::Shutdown => {
                packet.chunk(kind::SHUTDOWN, 0, &self.rx.map.cumulative().0.to_be_bytes());
            }
            Control::ShutdownAck => packet.chunk(kind::SHUTDOWN_ACK, 0, &[]),
            Control::ShutdownComplete => packet.chunk(kind::SHUTDOWN_COMPLETE, 0, &[]),
            Control::Abort(causes) => packet.chunk(kind::ABORT, 0, causes),
            Control::Refusal { reflected, causes, .. } => {
                packet.chunk(kind::ABORT, if *reflected { T_BIT } else { 0 }, causes);
            }
            Control::Reply(kind, value) => packet.chunk(*kind, 0, value),
            Control::AnswerFrom(answer) => packet.chunk(kind::HEARTBEAT_ACK, 0, &answer.1),
            Control::Heartbeat(beat) => {
                let path = &self.paths.list[index];
                let sent = match beat {
                    BeatKind::Alive => path.beats.alive.as_ref(),
                    BeatKind::Mtu(_) => path.beats.mtu.as_deref(),
                };
                let nonce = sent.map_or(0, |beat| beat.nonce);
                packet.open(kind::HEARTBEAT, 0);
                packet.tlv(param_type::HEARTBEAT_INFO, &Path::beat_info(path.id, nonce));
                packet.close();
                if let BeatKind::Mtu(_) = beat {
                    packet.pad_to(limit);
                }
            }
        }
    }

    /// Data packets over a path, as many as fit into one batch of equal sizes.
    fn poll_data(&mut self, cx: &mut Cx<'_>, index: usize, max_segments: usize, buf: &mut [u8]) -> Option<Transmit> {
        let limit = self.paths.list[index].max_packet().min(buf.len());
        let header = self.header(self.identity.peer_tag);
        let mut wrote = Wrote::default();
        let mut packet = PacketBuilder::new(&mut buf[..limit], header);
        if self.ack.is_pending() {
            // Half a packet is left for data whatever the gaps are.
            self.ack.write(&mut self.rx, &mut packet, limit / 2);
        }
        match self.write_data(cx, index, &mut packet) {
            Ok(data) => wrote.data = data,
            Err(needed) => {
                return self.poll_oversized(cx, index, needed, buf);
            }
        }
        if packet.is_empty() {
            return None;
        }
        let segment = packet.finish();
        let batch_limit = buf.len().min(MAX_BATCH_BYTES);
        let (mut size, mut segments) = (segment, 1);
        // A batch goes on while its packets are (nearly) full: a short first one would make all short.
        let worthwhile = segment >= limit - limit / 8;
        while wrote.data && segments < max_segments && size + segment <= batch_limit && self.control.is_empty() {
            if self.data_path() != Some(index) || !(worthwhile || self.tx.next_fits(segment - HEADER_BYTES)) {
                break;
            }
            let mut packet = PacketBuilder::new(&mut buf[size..size + segment], header);
            if !self.write_data(cx, index, &mut packet).unwrap_or(false) {
                break;
            }
            let more = self.data_path() == Some(index) && segments + 1 < max_segments;
            if more && self.tx.peer_reads_pad && segment - packet.len() <= segment / 8 {
                // RFC 4820: packets of a batch are equal in size. Some peers discard a whole packet for a chunk that
                // they do not know, against RFC 9260 §3.2: data is padded for those only that have answered a probe.
                packet.pad_to(segment);
            }
            let wrote_bytes = packet.finish();
            self.count_data_packet(cx, index);
            size += wrote_bytes;
            segments += 1;
            if wrote_bytes < segment {
                break;
            }
        }
        let transmit = self.transmit(cx, index, size, wrote);
        self.counters.packets_sent += segments as u64 - 1;
        if !self.tx.fills_packets && (segments > 1 || self.tx.queued() > 0) {
            self.on_full_packet(cx);
        }
        Some(Transmit { segment_size: (segments > 1).then_some(segment), ..transmit })
    }

    /// A chunk that was made for a larger MTU: it goes alone, and routers may fragment it.
    fn poll_oversized(&mut self, cx: &mut Cx<'_>, index: usize, needed: usize, buf: &mut [u8]) -> Option<Transmit> {
        let header = self.header(self.identity.peer_tag);
        let limit = needed.min(buf.len());
        let mut packet = PacketBuilder::new(&mut buf[..limit], header);
        let data = self.write_data(cx, index, &mut packet).ok().filter(|data| *data)?;
        let size = packet.finish();
        Some(self.transmit(cx, index, size, Wrote { data, oversized: true }))
    }

    fn write_data(&mut self, cx: &mut Cx<'_>, index: usize, packet: &mut PacketBuilder<'_>) -> Result<bool, usize> {
        self.tx.decay_idle(cx.now, index, &mut self.paths);
        let mut any = false;
        if self.tx.lost_path(&self.paths) == Some(index) {
            any = self.tx.write_lost(cx.now, packet, index, &mut self.paths)?;
        }
        if index == self.tx.next_path(&self.paths)
            && self.tx.lost_path(&self.paths).is_none()
            && self.tx.can_send_new(index, &self.paths)
        {
            any |= self.tx.write_new(cx.now, packet, index, &mut self.paths);
        }
        Ok(any)
    }

    /// §5.1 C: data that waits goes along with COOKIE ECHO, once. What is in vain may have been too large for the path:
    /// then COOKIE ECHO goes alone.
    fn write_data_with_cookie(&mut self, cx: &mut Cx<'_>, index: usize, packet: &mut PacketBuilder<'_>) -> bool {
        if !matches!(&self.phase, Phase::CookieEchoed(setup) if setup.attempts == 0) {
            return false;
        }
        if self.tx.next_is_expired(cx.now) {
            self.tell_expired(cx);
        }
        self.sendable_path() == Some(index) && self.write_data(cx, index, packet).unwrap_or(false)
    }

    fn count_data_packet(&mut self, cx: &mut Cx<'_>, index: usize) {
        let path = &mut self.paths.list[index];
        path.data_packets_sent += 1;
        path.last_data = cx.now;
    }

    /// A packet with nothing but SACK: back over the path that the data came over (§6.4).
    fn poll_sack(&mut self, buf: &mut [u8]) -> Option<Transmit> {
        let index = self.paths.select_for_reply(self.ack.source.into(), self.ack.avoid_source);
        let limit = self.paths.list[index].max_packet().min(buf.len());
        let mut packet = PacketBuilder::new(&mut buf[..limit], self.header(self.identity.peer_tag));
        self.ack.write(&mut self.rx, &mut packet, 0);
        let size = packet.finish();
        self.counters.packets_sent += 1;
        Some(self.envelope(index, size, false))
    }

    /// Accounts for packets that leave over a path.
    fn transmit(&mut self, cx: &mut Cx<'_>, index: usize, size: usize, wrote: Wrote) -> Transmit {
        self.counters.packets_sent += 1;
        if wrote.data {
            self.count_data_packet(cx, index);
            // What goes along with COOKIE ECHO is watched by T1-cookie.
            if self.may_send_data() {
                self.watch_data(cx.now, index);
            }
        }
        self.envelope(index, size, wrote.oversized)
    }

    /// Data is in flight over a path.
    pub(super) fn watch_data(&mut self, now: Time, index: usize) {
        // §6.3.2 R1.
        if !self.config.faults().has(Fault::T3NotStarted) {
            self.paths.list[index].update_t3(now, false);
        }
        self.tx.schedule_probe(now, &mut self.paths.list[index]);
    }

    fn envelope(&self, index: usize, size: usize, oversized: bool) -> Transmit {
        let path = &self.paths.list[index];
        Transmit {
            local: path.local,
            remote: path.remote,
            encap_port: path.encap_port,
            ecn: None,
            size,
            segment_size: None,
            dont_fragment: !oversized,
        }
    }
}
