//! The ring of sent chunks, indexed by TSN offset: 20 bytes each, no copy of user data.

use super::{Heard, Tx};
use crate::assoc::path::{Path, Paths};
use crate::serial::Tsn;
use crate::time::Time;
use crate::wire::{DATA_HEADER_BYTES, Data, DataFlags, padded};

/// A chunk that was sent at least once and is not covered by the cumulative TSN ack.
#[derive(Debug, Clone, Copy)]
pub struct SentChunk {
    /// Serial of its message.
    pub message: u32,
    /// Where in the message it begins.
    pub offset: u32,
    /// Serial in the log of its path, of when it last left; 0 without one.
    pub logged: u32,
    pub len: u16,
    /// Index of the path it was last sent over.
    pub path: u16,
    pub flags: DataFlags,
    /// Miss indications (§7.2.4).
    pub misses: u8,
    pub sent_again: bool,
    /// T3-rtx expired since it was last sent.
    pub timed_out: bool,
}

impl SentChunk {
    /// Its bytes on the wire, header and padding included.
    pub fn size(&self) -> usize {
        DATA_HEADER_BYTES + padded(usize::from(self.len))
    }
}

impl Tx {
    pub(super) fn tsn_at(&self, offset: usize) -> Tsn {
        self.cumulative.plus(offset as u32 + 1)
    }

    /// The DATA chunk at `offset`, to be written.
    pub(super) fn data_at(&self, offset: usize) -> Option<Data<'_>> {
        let chunk = self.sent.get(offset)?;
        let message = self.messages.get(chunk.message.wrapping_sub(self.first_message) as usize)?;
        let from = chunk.offset as usize;
        Some(Data {
            flags: chunk.flags,
            tsn: self.tsn_at(offset),
            stream: message.options.stream,
            ssn: message.ssn,
            ppid: message.options.ppid,
            payload: message.payload.get(from..from + usize::from(chunk.len))?,
        })
    }

    /// Marks a chunk in flight for retransmission.
    pub(super) fn mark_lost(&mut self, offset: usize, paths: &mut Paths) {
        debug_assert!(!self.acked.get(offset) && !self.lost.get(offset), "only what is in flight can be lost");
        let chunk = self.sent[offset];
        self.lost.set(offset);
        self.watched.clear(offset);
        self.lost_chunks += 1;
        let len = usize::from(chunk.len);
        self.flight -= len;
        // §6.2.1: what is marked no longer fills the peer's window.
        self.rwnd += len;
        let path = &mut paths.list[usize::from(chunk.path)];
        path.flight -= chunk.size();
        if let Some(log) = &mut path.log {
            log.forget(chunk.logged);
        }
        if path.rtt_probe.is_some_and(|(tsn, _)| tsn == self.tsn_at(offset)) {
            path.rtt_probe = None;
        }
    }

    /// Notes that a chunk leaves over a path, again.
    pub(super) fn put_in_flight(&mut self, offset: usize, path_index: usize, paths: &mut Paths) {
        let chunk = self.sent[offset];
        self.count_in_flight(&chunk, &mut paths.list[path_index]);
    }

    pub(super) fn count_in_flight(&mut self, chunk: &SentChunk, path: &mut Path) {
        let len = usize::from(chunk.len);
        self.heard = Heard::Nothing;
        self.flight += len;
        self.rwnd = self.rwnd.saturating_sub(len);
        path.flight += chunk.size();
    }

    /// §6.3.3 E3: everything in flight over a path whose T3-rtx expired is lost.
    pub fn on_t3(&mut self, path_index: usize, paths: &mut Paths) -> usize {
        let mut marked = 0;
        for offset in 0..self.sent.len() {
            let in_flight = !self.acked.get(offset) && !self.lost.get(offset);
            if in_flight && usize::from(self.sent[offset].path) == path_index {
                self.mark_lost(offset, paths);
                // §7.2.4: counting begins anew, but nothing is fast retransmitted twice.
                self.sent[offset].misses = 0;
                self.sent[offset].timed_out = true;
                marked += 1;
            }
        }
        // §7.2.3: T3-rtx ends fast recovery.
        self.fast_recovery = None;
        self.fast_retransmit_due = false;
        marked
    }

    /// What went along with COOKIE ECHO in vain is sent again, over whichever path there is by then: none has failed.
    pub fn recall(&mut self, paths: &mut Paths) {
        for offset in 0..self.sent.len() {
            if !self.acked.get(offset) && !self.lost.get(offset) {
                self.mark_lost(offset, paths);
            }
            self.sent[offset].path = 0;
        }
    }

    /// How long data in flight has waited for the cumulative TSN to move.
    pub fn stalled_for(&self, now: Time) -> std::time::Duration {
        if self.sent.is_empty() { std::time::Duration::ZERO } else { now.since(self.progress) }
    }
}
