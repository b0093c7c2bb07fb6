//! Filling packets with DATA chunks (RFC 9260 §6.1, §6.9, §6.10).

use super::{Outgoing, SentChunk, Tx};
use crate::assoc::path::Paths;
use crate::assoc::path::congestion::CongestionControl;
use crate::faults::Fault;
use crate::serial::Ssn;
use crate::time::Time;
use crate::wire::{DATA_HEADER_BYTES, Data, DataFlags, PacketBuilder, padded};

/// Chunks that are sent and not covered by the cumulative TSN ack: more could not be told apart by SSNs
/// (RFC 9260 §6.1), nor reported by gap blocks.
const MAX_SENT_CHUNKS: usize = 65_535;

/// A fragment that merely fills the rest of a packet is at least this long.
const MIN_FILL_BYTES: usize = 128;
/// The same where a PAD chunk cannot fill it: even a short fragment is worth it that keeps packets equal in size.
const MIN_ODD_FILL_BYTES: usize = 16;

impl Tx {
    /// The path that the first chunk to be sent again goes over, if it may be sent now.
    pub fn lost_path(&self, paths: &Paths) -> Option<usize> {
        if self.lost_chunks == 0 {
            return None;
        }
        let first = self.lost.next_set(0)?;
        let chunk = &self.sent[first];
        let index = paths.select_for_retransmission(usize::from(chunk.path), chunk.timed_out);
        let path = &paths.list[index];
        // §6.1 C: limited by cwnd; §7.2.4 step 3: but for the first packet of a fast retransmit.
        (self.fast_retransmit_due || (path.has_window() && !path.is_held())).then_some(index)
    }

    /// The path for what is next: the one that its message names, if that can carry it, else the one in use.
    #[inline]
    pub fn next_path(&self, paths: &Paths) -> usize {
        if self.routed { self.named_path(paths) } else { paths.current }
    }

    #[cold]
    fn named_path(&self, paths: &Paths) -> usize {
        let named = if self.unsent_of_last > 0 {
            self.messages.back().and_then(|message| message.options.path)
        } else {
            self.queue.next_path()
        };
        named.map(|id| usize::from(id.0)).filter(|index| paths.is_usable(*index)).unwrap_or(paths.current)
    }

    /// Whether new data may be sent over path `index` now.
    pub fn can_send_new(&self, index: usize, paths: &Paths) -> bool {
        // §6.1 A: a window that is too small is probed with one chunk, when nothing else is in flight; one that is
        // shut is left alone for an RTO first.
        let next = self.next_len();
        let path = &paths.list[index];
        let may_probe =
            self.flight == 0 && (self.rwnd > 0 || self.probe_due) && !self.faults.has(Fault::WindowNotProbed);
        next > 0
            && self.sent.len() < MAX_SENT_CHUNKS
            && path.has_room()
            && (may_probe || self.rwnd >= next.min(path.max_payload()))
    }

    /// User bytes of the current or next message that are not in chunks yet.
    pub(super) fn next_len(&self) -> usize {
        if self.unsent_of_last > 0 { self.unsent_of_last } else { self.queue.next_len().unwrap_or(0) }
    }

    /// Whether the next chunk fits whole into `room` bytes of a packet.
    pub fn next_fits(&self, room: usize) -> bool {
        let waiting = if self.unsent_of_last > 0 { Some(self.unsent_of_last) } else { self.queue.next_len() };
        let lost = (self.lost_chunks > 0).then(|| self.lost.next_set(0)).flatten();
        let lost = lost.map(|offset| usize::from(self.sent[offset].len));
        lost.or(waiting).is_some_and(|len| DATA_HEADER_BYTES + padded(len) <= room)
    }

    /// Writes chunks that are to be sent again. Returns whether any was written; `Err` says how large a
    /// packet the first one needs, when it fits none of this path's.
    pub fn write_lost(
        &mut self,
        now: Time,
        packet: &mut PacketBuilder<'_>,
        index: usize,
        paths: &mut Paths,
    ) -> Result<bool, usize> {
        let mut any = false;
        let mut next = self.lost.next_set(0);
        while let Some(offset) = next {
            let size = DATA_HEADER_BYTES + padded(usize::from(self.sent[offset].len));
            if size > packet.room() {
                if !any && packet.is_empty() {
                    return Err(packet.len() + size);
                }
                break;
            }
            let path = &paths.list[index];
            if !self.fast_retransmit_due && path.flight >= path.cwnd() {
                break;
            }
            let Some(data) = self.data_at(offset) else { break };
            packet.data(&data);
            if !any && self.is_earliest(offset, index) {
                // §6.1, §7.2.4 step 4: the timer begins anew with the earliest chunk.
                paths.list[index].t3 = None;
            }
            self.forget_measurements(offset, paths);
            self.lost.clear(offset);
            self.lost_chunks -= 1;
            self.sent[offset].path = index as u16;
            self.sent[offset].sent_again = true;
            self.sent[offset].timed_out = false;
            let (tsn, size) = (self.tsn_at(offset), self.sent[offset].size());
            self.sent[offset].logged = paths.list[index].on_chunk_sent(now, tsn, size);
            if !self.faults.has(Fault::RetransmissionNotInFlight) {
                self.put_in_flight(offset, index, paths);
            }
            paths.list[index].bytes_sent += u64::from(self.sent[offset].len);
            self.counters.retransmissions += 1;
            self.counters.data_chunks += 1;
            any = true;
            next = self.lost.next_set(offset + 1);
        }
        if any {
            self.fast_retransmit_due = false;
        }
        Ok(any)
    }

    /// Whether nothing older than the chunk at `offset` is in flight over the path.
    fn is_earliest(&self, offset: usize, index: usize) -> bool {
        let mut older = self.acked.next_clear(0);
        while older < offset && (self.lost.get(older) || usize::from(self.sent[older].path) != index) {
            older = self.acked.next_clear(older + 1);
        }
        older >= offset
    }

    /// §6.3.1 C5: what was sent after a chunk that goes out again measures nothing.
    fn forget_measurements(&self, offset: usize, paths: &mut Paths) {
        let again = self.tsn_at(offset);
        for path in &mut paths.list {
            path.rtt_probe.take_if(|(tsn, _)| !tsn.precedes(again));
        }
    }

    /// Writes new chunks while the path, the peer's window and the packet have room. Returns whether any was written.
    pub fn write_new(&mut self, now: Time, packet: &mut PacketBuilder<'_>, index: usize, paths: &mut Paths) -> bool {
        let largest = (paths.amdcs().min(paths.list[index].pmdcs()) - DATA_HEADER_BYTES).min(self.max_segment);
        let min_fill = if self.peer_reads_pad { MIN_FILL_BYTES } else { MIN_ODD_FILL_BYTES };
        let mut any = false;
        loop {
            let path = &paths.list[index];
            if path.flight >= path.cwnd() || self.sent.len() >= MAX_SENT_CHUNKS {
                break;
            }
            let starts = self.unsent_of_last == 0;
            if starts && self.queue.next_is_expired(now) {
                break;
            }
            if self.routed && self.next_path(paths) != index {
                break;
            }
            let waiting = if starts { self.queue.next_len().unwrap_or(0) } else { self.unsent_of_last };
            let Some(room) = packet.room().checked_sub(DATA_HEADER_BYTES).filter(|_| waiting > 0) else { break };
            let mut len = waiting;
            if padded(waiting) > room.min(largest) {
                // §6.9: only what fits no packet is fragmented; such a message may begin in what another left.
                let fits_alone = starts && waiting <= largest;
                if fits_alone || (room < min_fill && !packet.is_empty()) {
                    break;
                }
                len = room.min(largest) & !3;
            }
            // §6.1 A: never beyond the peer's window, but for a probe; a small rest of it is not worth a chunk.
            let probe = len > self.rwnd;
            if probe && self.flight > 0 {
                break;
            }
            if starts && !self.start_message() {
                break;
            }
            self.write_chunk(now, packet, index, paths, len);
            any = true;
            if probe {
                self.probe_due = false;
                self.counters.window_probes += 1;
                break;
            }
        }
        any
    }

    /// Moves the next message from the queue to the ring, where its chunks find it.
    fn start_message(&mut self) -> bool {
        let Some((options, payload)) = self.queue.pop() else { return false };
        // §6.5: unordered messages have no sequence number.
        let ssn = if options.unordered { Ssn(0) } else { self.ssns.take(options.stream) };
        self.unsent_of_last = payload.len();
        self.messages.push_back(Outgoing { options, ssn, payload });
        true
    }

    fn write_chunk(&mut self, now: Time, packet: &mut PacketBuilder<'_>, index: usize, paths: &mut Paths, len: usize) {
        let Some(message) = self.messages.back() else { return };
        let offset = message.payload.len() - self.unsent_of_last;
        let Some(payload) = message.payload.get(offset..offset + len) else { return };
        let mut flags = 0;
        if offset == 0 {
            flags |= DataFlags::BEGIN;
        }
        if len == self.unsent_of_last {
            if offset == 0 || !self.faults.has(Fault::EndFlagMissing) {
                flags |= DataFlags::END;
            }
            if message.options.sack_immediately {
                flags |= DataFlags::IMMEDIATE;
            }
        }
        if message.options.unordered || self.faults.has(Fault::OrderForgotten) {
            flags |= DataFlags::UNORDERED;
        }
        let (flags, tsn, ssn) = (DataFlags(flags), self.next_tsn(), message.ssn);
        packet.data(&Data { flags, tsn, stream: message.options.stream, ssn, ppid: message.options.ppid, payload });
        let at = self.sent.len();
        if at == 0 {
            self.progress = now;
        }
        let path = &mut paths.list[index];
        let chunk = SentChunk {
            logged: path.on_chunk_sent(now, tsn, DATA_HEADER_BYTES + padded(len)),
            message: self.first_message.wrapping_add(self.messages.len() as u32 - 1),
            offset: offset as u32,
            len: len as u16,
            path: index as u16,
            flags,
            misses: 0,
            sent_again: false,
            timed_out: false,
        };
        self.unsent_of_last -= len;
        self.counters.unordered_chunks += u64::from(flags.is_unordered());
        self.watched.set(at);
        self.sent.push_back(chunk);
        self.count_in_flight(&chunk, path);
        path.rtt_probe.get_or_insert((tsn, now));
        path.bytes_sent += len as u64;
        path.last_data = now;
        self.counters.data_chunks += 1;
    }

    /// §7.2.1: a path that was idle does not keep its whole window.
    pub fn decay_idle(&self, now: Time, index: usize, paths: &mut Paths) {
        let path = &mut paths.list[index];
        if path.flight == 0 && path.data_packets_sent > 0 {
            let (idle, rto, pmdcs) = (now.since(path.last_data), path.rto.current(), path.pmdcs());
            path.congestion.on_idle(idle, rto, pmdcs);
        }
    }
}
