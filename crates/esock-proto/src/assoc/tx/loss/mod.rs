//! Finding losses in what SACKs report, behind one small interface: another way is another variant of
//! [`LossDetection`]. Timeouts are found elsewhere (`Tx::on_t3`).

mod misses;
mod rack;

use super::Tx;
use crate::assoc::path::Paths;
use crate::config::LossRecovery;
use crate::time::Time;

/// What a SACK said, as far as losses go.
#[derive(Debug, Clone, Copy)]
pub struct Reported {
    /// One past the highest offset reported as arrived. What was newly acknowledged on each path is in its scratch.
    pub highest: usize,
    /// Whether the cumulative TSN moved.
    pub moved: bool,
    /// Whether a gap block acknowledged something new.
    pub newly_gap_acked: bool,
}

/// How losses are found.
#[derive(Debug, Clone, Copy, Default)]
pub enum LossDetection {
    /// RFC 9260 §7.2.4.
    #[default]
    MissIndications,
    /// The ideas of RFC 8985, on each path by its own log.
    Rack,
}

impl LossDetection {
    pub fn new(recovery: LossRecovery) -> Self {
        match recovery {
            LossRecovery::Rfc9260 => Self::MissIndications,
            LossRecovery::Rack => Self::Rack,
        }
    }

    /// Marks what a SACK shows to be lost (`Tx::mark_lost`), and notes in the scratch of its path that something is.
    pub fn find_lost(self, tx: &mut Tx, now: Time, reported: Reported, paths: &mut Paths) {
        match self {
            Self::MissIndications if reported.newly_gap_acked || (reported.moved && reported.highest > 0) => {
                misses::count(tx, reported, paths);
            }
            Self::MissIndications => {}
            Self::Rack => (0..paths.list.len()).for_each(|index| rack::find_lost(tx, now, index, paths)),
        }
    }
}
