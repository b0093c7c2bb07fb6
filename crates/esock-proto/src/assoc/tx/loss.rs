//! Finding losses in what SACKs report, behind one small interface: another way is another variant of
//! [`LossDetection`]. Timeouts are found elsewhere (`Tx::on_t3`).

use super::Tx;
use crate::assoc::path::{Paths, SackScratch};

/// §7.2.4: miss indications that make a chunk lost.
const MISSES: u8 = 3;

/// What a SACK said, as far as losses go.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// One past the highest offset reported as arrived. What was newly acknowledged on each path is in its scratch.
    pub highest: usize,
    /// Whether the cumulative TSN moved.
    pub moved: bool,
}

/// How losses are found.
#[derive(Debug, Clone, Copy, Default)]
pub enum LossDetection {
    /// RFC 9260 §7.2.4.
    #[default]
    MissIndications,
}

impl LossDetection {
    /// Marks what a SACK shows to be lost (`Tx::mark_lost`), and notes in the scratch of its path that something is.
    pub fn find_lost(self, tx: &mut Tx, reported: Reported, paths: &mut Paths) {
        match self {
            Self::MissIndications => count_misses(tx, reported, paths),
        }
    }
}

/// §7.2.4: every chunk that is missing below the highest newly acknowledged TSN of its path gets a
/// miss indication; in fast recovery, when the cumulative TSN moves, every missing one does.
/// A chunk is looked at at most three times, then it is lost.
fn count_misses(tx: &mut Tx, reported: Reported, paths: &mut Paths) {
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
