//! RACK and TLP (RFC 8985) for SCTP: a chunk is lost when one that left after it over the same path has arrived, and it
//! had its time. So copies that are lost again are found too, without a timeout. When the last chunks of a flight
//! are lost nothing arrives behind them: after about two round trips the last one is sent once more, to hear of them.
//!
//! What TCP's DSACK tells, the duplicate TSNs of a SACK tell here.

use super::{LossDetection, Tx};
use crate::assoc::path::{Path, Paths};
use crate::serial::Tsn;
use crate::time::Time;
use crate::wire::Sack;
use std::time::Duration;

/// RFC 8985 §7.2: the longest that a peer waits with a SACK (RFC 9260 §6.2 lets it be 500 ms; 200 ms is what they do).
const WORST_SACK_DELAY: Duration = Duration::from_millis(200);

/// A probe waits this long at least: timers of hosts are no finer, and a path without delay would be probed for ever.
const MIN_PROBE_WAIT: Duration = Duration::from_millis(1);

/// Gap-acked chunks that make a loss likely, though none was ever seen reordered (§6.2 step 4: RACK.dupthresh).
const LIKELY: usize = 3;

/// Most steps of the reordering window, of a quarter of the shortest round-trip time each.
const MAX_STEPS: u32 = 16;

/// Marks the chunks of a path that had their time, and sets the timer for those that have not.
pub fn find_lost(tx: &mut Tx, now: Time, index: usize, paths: &mut Paths) {
    let likely = tx.fast_recovery.is_some() || tx.gap_acked >= LIKELY;
    let path = &mut paths.list[index];
    let srtt = path.rto.srtt().unwrap_or_default();
    let Some(log) = &mut path.log else { return };
    log.rack.timer = None;
    let Some((newest_sent, newest_tsn, rtt)) = log.rack.newest else { return };
    // §6.2 step 4: no window where nothing was ever reordered and much is missing.
    let window = if !log.rack.reordered && likely {
        Duration::ZERO
    } else {
        let quarter = log.min_rtt().unwrap_or_default() / 4;
        (quarter * (1 + log.rack.steps)).min(srtt)
    };
    // In the order in which they left: the first that has time left ends the search.
    loop {
        let Some(log) = &mut paths.list[index].log else { return };
        log.trim();
        let Some(entry) = log.entries.front_mut() else { return };
        let before = entry.sent < newest_sent || (entry.sent == newest_sent && newest_tsn.follows(entry.tsn));
        if !before {
            return;
        }
        let overdue = entry.sent + (rtt + window);
        if overdue > now {
            log.rack.timer = Some(overdue);
            return;
        }
        entry.gone = true;
        let tsn = entry.tsn;
        lose(tx, tsn, index, paths);
    }
}

/// A chunk had its time.
fn lose(tx: &mut Tx, tsn: Tsn, index: usize, paths: &mut Paths) {
    if !tsn.follows(tx.cumulative) {
        return;
    }
    let offset = tsn.distance_from(tx.cumulative) as usize - 1;
    let in_flight = offset < tx.sent.len() && !tx.acked.get(offset) && !tx.lost.get(offset);
    if in_flight && usize::from(tx.sent[offset].path) == index {
        tx.mark_lost(offset, paths);
        paths.list[index].sack.lost = true;
        tx.counters.fast_retransmissions += 1;
    }
}

impl Tx {
    /// Looks at what a SACK says of probes and of chunks that arrived twice. Returns whether the loss of the probed
    /// chunk was made good by the probe itself, which nothing else tells (RFC 8985 §7.4.2).
    pub(in super::super) fn on_duplicates(&mut self, sack: &Sack<'_>, path: &mut Path) -> bool {
        if !matches!(self.loss_detection, LossDetection::Rack) {
            return false;
        }
        let Some(log) = &mut path.log else { return false };
        let twice = sack.has_duplicates();
        if twice && !sack.duplicates().any(|tsn| Some(tsn) == log.rack.probe) {
            // §6.2 step 4: what was sent again had only been late.
            log.rack.steps = (log.rack.steps + 1).min(MAX_STEPS);
            log.rack.reordered = true;
        }
        let Some(probe) = log.rack.probe else { return false };
        if twice && sack.duplicates().any(|tsn| tsn == probe) {
            log.rack.probe = None;
            return false;
        }
        let repaired = self.cumulative.follows(probe);
        if repaired {
            log.rack.probe = None;
        }
        repaired && self.fast_recovery.is_none()
    }

    /// The timer of a path: chunks that had their time by now.
    pub fn on_reorder_timer(&mut self, now: Time, index: usize, paths: &mut Paths) {
        paths.list[index].sack.lost = false;
        find_lost(self, now, index, paths);
    }

    /// Sets when the last chunk in flight over a path is sent once more (§7.2).
    pub fn schedule_probe(&self, now: Time, path: &mut Path) {
        if !matches!(self.loss_detection, LossDetection::Rack) {
            return;
        }
        let (flight, pmdcs, t3, srtt) = (path.flight, path.pmdcs(), path.t3, path.rto.srtt());
        let Some(log) = &mut path.log else { return };
        log.rack.probe_timer = None;
        let busy = flight == 0 || self.fast_recovery.is_some() || self.gap_acked > 0 || log.rack.probe.is_some();
        let Some(srtt) = srtt.filter(|_| !busy) else { return };
        let alone = if flight <= pmdcs { WORST_SACK_DELAY } else { Duration::ZERO };
        let at = now + ((srtt * 2).max(MIN_PROBE_WAIT) + alone);
        // A probe that comes no sooner than the timeout is none.
        log.rack.probe_timer = Some(at).filter(|at| t3.is_none_or(|t3| *at < t3));
    }

    /// Nothing was heard for two round trips: the last chunk in flight over the path goes once more (§7.3).
    pub fn probe_tail(&mut self, index: usize, paths: &mut Paths) -> bool {
        let is_last = |offset: &usize| {
            !self.acked.get(*offset) && !self.lost.get(*offset) && usize::from(self.sent[*offset].path) == index
        };
        let Some(offset) = (0..self.sent.len()).rev().find(is_last) else { return false };
        let tsn = self.tsn_at(offset);
        self.mark_lost(offset, paths);
        // It goes whatever the window says: it was in it.
        self.fast_retransmit_due = true;
        if let Some(log) = &mut paths.list[index].log {
            log.rack.probe = Some(tsn);
        }
        true
    }
}
