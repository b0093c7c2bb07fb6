//! Miss indications (RFC 9260 §7.2.4).

use super::{Reported, Tx};
use crate::assoc::path::{Paths, SackScratch};

/// Miss indications that make a chunk lost.
const MISSES: u8 = 3;

/// Every chunk that is missing below the highest newly acknowledged TSN of its path gets a
/// miss indication; in fast recovery, when the cumulative TSN moves, every missing one does.
/// A chunk is looked at at most three times, then it is lost.
pub fn count(tx: &mut Tx, reported: Reported, paths: &mut Paths) {
    let everywhere = tx.fast_recovery.is_some() && reported.moved;
    let bound = |path: &SackScratch| if everywhere { reported.highest } else { path.highest };
    let end = paths.list.iter().map(|path| bound(&path.sack)).max().unwrap_or(0);
    let mut next = tx.watched.next_set(0);
    while let Some(offset) = next.filter(|offset| *offset < end) {
        let index = usize::from(tx.sent[offset].path);
        if offset < bound(&paths.list[index].sack) {
            tx.sent[offset].misses += 1;
            if tx.sent[offset].misses >= MISSES {
                tx.mark_lost(offset, paths);
                paths.list[index].sack.lost = true;
                tx.counters.fast_retransmissions += 1;
            }
        }
        next = tx.watched.next_set(offset + 1);
    }
}
