//! Acknowledgements (RFC 9260 §6.2.1) and fast recovery (§7.2.4). Work is bounded by the words of
//! the bitmaps, the number of blocks, and what changed.

use super::loss::Reported;
use super::sent::SentChunk;
use super::{Heard, MESSAGE_OVERHEAD, Tx};
use crate::assoc::path::{Paths, SackScratch};
use crate::faults::Fault;
use crate::serial::Tsn;
use crate::time::Time;
use crate::wire::{DataFlags, GapBlock, Sack};

/// What a SACK did, for the association to act on. Per-path figures are in each path's scratch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SackOutcome {
    /// Older than one that came before.
    Old,
    /// Acknowledges what was never sent.
    Bogus,
    /// Taken.
    Taken {
        /// Whether anything was newly acknowledged.
        acked: bool,
        /// Whether the cumulative TSN moved.
        moved: bool,
        /// Whether chunks that had been gap-acked are in flight again.
        reneged: bool,
    },
}

/// Each path gathers anew what is said about it.
fn begin_sack(paths: &mut Paths) {
    for path in &mut paths.list {
        path.sack = SackScratch { flight_before: path.flight, ..SackScratch::default() };
        if let Some(log) = &mut path.log {
            log.begin_sack();
        }
    }
}

impl Tx {
    /// Takes a SACK.
    pub fn on_sack(&mut self, now: Time, sack: &Sack<'_>, paths: &mut Paths) -> SackOutcome {
        // §6.2.1 D i: out of order.
        if sack.cumulative.precedes(self.cumulative) {
            if self.heard == Heard::Nothing {
                self.heard = Heard::Old;
                self.contradicted = self.contradicted.saturating_add(1);
            }
            return SackOutcome::Old;
        }
        let moved = sack.cumulative.distance_from(self.cumulative) as usize;
        if moved > self.sent.len() || self.reports_unsent(sack) {
            return SackOutcome::Bogus;
        }
        begin_sack(paths);
        let acked_before = self.counters.bytes_acked;
        let was_closed = self.window_is_closed();
        self.acknowledge_cumulative(now, moved, paths);
        let (mut highest, mut newly_gap_acked, mut reneged) = (0, false, false);
        if sack.has_gaps() || self.acked.next_set(0).is_some() {
            self.counters.gap_blocks += sack.gap_count();
            (highest, newly_gap_acked, reneged) = self.acknowledge_gaps(now, sack.gaps(), paths);
        }
        if self.fast_recovery.is_some_and(|exit| !exit.follows(self.cumulative)) {
            self.fast_recovery = None;
        }
        let acked = newly_gap_acked || self.counters.bytes_acked != acked_before || moved > 0;
        if acked {
            let reported = Reported { highest, moved: moved > 0, newly_gap_acked };
            self.loss_detection.find_lost(self, now, reported, paths);
        }
        for path in &mut paths.list {
            path.sack.repaired = self.on_duplicates(sack, path);
        }
        // §6.2.1 D ii: a_rwnd less what is still in flight.
        self.a_rwnd = sack.a_rwnd as usize;
        self.rwnd = self.a_rwnd.saturating_sub(self.flight);
        (self.heard, self.contradicted) = (Heard::New, 0);
        if was_closed && moved == 0 && !self.window_is_closed() {
            self.retry_dropped(paths);
        }
        SackOutcome::Taken { acked, moved: moved > 0, reneged }
    }

    /// Whether a gap block reports what was never sent. Reversed blocks report nothing.
    fn reports_unsent(&self, sack: &Sack<'_>) -> bool {
        let sent = self.next_tsn().distance_from(sack.cumulative.next()) as usize;
        sack.gaps().any(|block| block.start <= block.end && usize::from(block.end) > sent)
    }

    /// The window has opened, and what was sent while it was closed is not acknowledged: it was dropped. It
    /// goes again at once, not when a timeout that has backed off expires.
    fn retry_dropped(&mut self, paths: &mut Paths) {
        for offset in 0..self.sent.len() {
            if !self.acked.get(offset) && !self.lost.get(offset) {
                self.mark_lost(offset, paths);
            }
        }
        // §6.3.3: what did not fit into the one packet of T3-rtx goes when a SACK arrives, as far as cwnd allows.
        paths.list.iter_mut().for_each(|path| path.one_packet = false);
    }

    /// A cumulative TSN ack without gaps and window (SHUTDOWN, §6.2.1 and §9.2).
    pub fn on_cumulative(&mut self, now: Time, cumulative: Tsn, paths: &mut Paths) -> SackOutcome {
        if cumulative.precedes(self.cumulative) {
            return SackOutcome::Old;
        }
        let moved = cumulative.distance_from(self.cumulative) as usize;
        if moved > self.sent.len() {
            return SackOutcome::Bogus;
        }
        begin_sack(paths);
        self.acknowledge_cumulative(now, moved, paths);
        // What lies right behind it has not arrived, whatever a gap report said before.
        let reneged = self.take_back(0, self.acked.next_clear(0), paths);
        // §6.2.1 D: there is no window in it; what the last SACK announced still holds.
        self.rwnd = self.a_rwnd.saturating_sub(self.flight);
        if self.fast_recovery.is_some_and(|exit| !exit.follows(self.cumulative)) {
            self.fast_recovery = None;
        }
        SackOutcome::Taken { acked: moved > 0, moved: moved > 0, reneged }
    }

    fn acknowledge_cumulative(&mut self, now: Time, count: usize, paths: &mut Paths) {
        if count == 0 {
            return;
        }
        // Nothing below is gap-acked or marked: each is a plain chunk in flight.
        let plain = self.gap_acked == 0 && self.lost_chunks == 0 && !self.faults.has(Fault::FlightNotReduced);
        let (mut bytes, mut ended) = (0, 0);
        for offset in 0..count {
            let was_acked = !plain && self.acked.get(offset);
            let chunk = self.sent[offset];
            if was_acked {
                self.gap_acked -= 1;
            } else if plain {
                self.acknowledge_in_flight(now, offset, &chunk, paths);
            } else {
                self.acknowledge(now, offset, paths);
            }
            paths.list[usize::from(chunk.path)].sack.earliest |= !was_acked;
            bytes += usize::from(chunk.len);
            // A chunk with the E bit is the last of its message; messages begin in TSN order.
            ended += usize::from(chunk.flags.0 & DataFlags::END != 0);
        }
        self.counters.bytes_acked += bytes as u64;
        self.buffered -= bytes;
        self.charged -= bytes + ended * MESSAGE_OVERHEAD;
        self.messages.drain(..ended.min(self.messages.len()));
        self.first_message = self.first_message.wrapping_add(ended as u32);
        self.sent.drain(..count);
        self.acked.advance(count);
        self.lost.advance(count);
        self.watched.advance(count);
        self.cumulative = self.cumulative.plus(count as u32);
        self.progress = now;
    }

    /// A chunk that was in flight or marked is acknowledged.
    fn acknowledge(&mut self, now: Time, offset: usize, paths: &mut Paths) {
        let chunk = self.sent[offset];
        let was_lost = self.lost.get(offset);
        if was_lost {
            self.lost.clear(offset);
            self.lost_chunks -= 1;
        } else if !self.faults.has(Fault::FlightNotReduced) {
            self.flight -= usize::from(chunk.len);
            paths.list[usize::from(chunk.path)].flight -= chunk.size();
        }
        self.watched.clear(offset);
        self.note_acked(now, offset, &chunk, was_lost, paths);
    }

    /// The same of a chunk that was in flight, where no mark has to be looked at or cleared.
    #[inline]
    fn acknowledge_in_flight(&mut self, now: Time, offset: usize, chunk: &SentChunk, paths: &mut Paths) {
        self.flight -= usize::from(chunk.len);
        paths.list[usize::from(chunk.path)].flight -= chunk.size();
        self.note_acked(now, offset, chunk, false, paths);
    }

    /// What an acknowledgement says about the path.
    #[inline]
    fn note_acked(&self, now: Time, offset: usize, chunk: &SentChunk, was_lost: bool, paths: &mut Paths) {
        let path = &mut paths.list[usize::from(chunk.path)];
        if let Some(log) = &mut path.log {
            log.on_acked(now, chunk.logged, chunk.size(), chunk.sent_again);
        }
        path.sack.acked_bytes += chunk.size();
        path.sack.acked_chunks += 1;
        // §8.3: it clears the path's errors if it is clear which copy arrived; a chunk that was given up
        // arrived before the path went quiet, which says nothing of now.
        path.sack.unambiguous |= !chunk.sent_again && !was_lost;
        // §6.3.1 C4, C5: one measurement per round trip, never of a chunk sent again.
        if let Some((probe, sent)) = path.rtt_probe
            && probe == self.tsn_at(offset)
        {
            path.rtt_probe = None;
            if !chunk.sent_again {
                path.rto.on_measurement(now.since(sent));
            }
        }
    }

    /// Walks the gap ack blocks. Returns one past the highest TSN reported, whether anything is newly
    /// acknowledged, and whether anything was taken back.
    fn acknowledge_gaps(
        &mut self,
        now: Time,
        blocks: impl Iterator<Item = GapBlock>,
        paths: &mut Paths,
    ) -> (usize, bool, bool) {
        // `done`: everything below has been dealt with. The chunk right behind the cumulative TSN cannot be in a gap block.
        let (mut done, mut newly, mut reneged) = (0, false, false);
        for block in blocks {
            // Offset k of a block is TSN cumulative + k, index k - 1 here. Reversed, overlapping and
            // out-of-range blocks are cut down to what makes sense.
            // §3.3.4: none begins right behind the cumulative TSN: that one would be higher then. A peer that
            // says so all the same has not acknowledged it; taken for acknowledged, it would never be sent again.
            let start = usize::from(block.start.max(2)) - 1;
            let start = start + usize::from(self.faults.has(Fault::GapBlocksOffByOne));
            let end = usize::from(block.end) + usize::from(self.faults.has(Fault::GapBlocksOffByOne));
            let end = end.min(self.sent.len());
            let start = start.max(done);
            if start >= end {
                continue;
            }
            reneged |= self.take_back(done, start, paths);
            let mut offset = self.acked.next_clear(start);
            while offset < end {
                self.acknowledge(now, offset, paths);
                self.acked.set(offset);
                self.gap_acked += 1;
                let scratch = &mut paths.list[usize::from(self.sent[offset].path)].sack;
                scratch.highest = offset + 1;
                scratch.lowest_gap.get_or_insert(offset);
                newly = true;
                offset = self.acked.next_clear(offset + 1);
            }
            done = end;
        }
        reneged |= self.take_back(done, self.sent.len(), paths);
        if newly && paths.list.len() > 1 {
            self.find_earliest(paths);
        }
        (done, newly, reneged)
    }

    /// With several paths, a gap block can acknowledge the earliest chunk outstanding on one of them
    /// while the cumulative TSN waits for another path.
    fn find_earliest(&self, paths: &mut Paths) {
        for index in 0..paths.list.len() {
            let Some(lowest) = paths.list[index].sack.lowest_gap else { continue };
            let mut offset = self.acked.next_clear(0);
            while offset < lowest && (self.lost.get(offset) || usize::from(self.sent[offset].path) != index) {
                offset = self.acked.next_clear(offset + 1);
            }
            paths.list[index].sack.earliest |= offset >= lowest;
        }
    }

    /// §6.2.1 D iii: what was gap-acked and is not any more is in flight again.
    fn take_back(&mut self, from: usize, to: usize, paths: &mut Paths) -> bool {
        let mut any = false;
        if self.faults.has(Fault::RenegingIgnored) {
            return false;
        }
        let mut next = self.acked.next_set(from);
        while let Some(offset) = next.filter(|offset| *offset < to) {
            self.acked.clear(offset);
            self.gap_acked -= 1;
            let path = usize::from(self.sent[offset].path);
            self.put_in_flight(offset, path, paths);
            if !self.sent[offset].sent_again {
                self.watched.set(offset);
            }
            self.counters.reneged += 1;
            any = true;
            next = self.acked.next_set(offset + 1);
        }
        any
    }

    /// Whether fast recovery lasts.
    pub fn in_fast_recovery(&self) -> bool {
        self.fast_recovery.is_some()
    }

    /// §7.2.4: chunks were found missing. Returns whether fast recovery begins: until its exit point
    /// is acknowledged, windows are not reduced again.
    pub fn enter_fast_recovery(&mut self) -> bool {
        let begins = self.fast_recovery.is_none();
        if begins {
            self.fast_recovery = Some(self.next_tsn().minus(1));
            self.fast_retransmit_due = true;
        }
        begins
    }
}
