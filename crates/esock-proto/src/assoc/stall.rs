//! Whether something waits that nothing will ever move. That must not happen; so it is looked for whenever
//! an association has come to rest, with nothing to send.

use super::{Association, Phase};
use crate::api::PathState;
use crate::stats::Waiting;

impl Association {
    /// Why an association that has nothing to send will never go on; `None`, as it should be.
    pub fn stall(&self) -> Option<&'static str> {
        match self.phase {
            Phase::Closed => None,
            Phase::CookieWait(_) | Phase::CookieEchoed(_) => {
                // RFC 9260 §5.1 C, §5.1.6.
                self.timers.t1.is_none().then_some("it is being set up, and no T1 runs")
            }
            // §9.2.
            Phase::ShutdownSent | Phase::ShutdownAckSent => {
                self.timers.t2.is_none().then_some("it is being shut down, and no T2-shutdown runs")
            }
            Phase::Established | Phase::ShutdownPending | Phase::ShutdownReceived => self.data_stall(),
        }
    }

    fn data_stall(&self) -> Option<&'static str> {
        let mut watched = self.timers.probe.is_some();
        for path in &self.paths.list {
            watched |= path.t3.is_some() || path.is_held();
            // §6.3.2 R1.
            if path.flight > 0 && path.t3.is_none() {
                return Some("data is in flight over a path, and no T3-rtx runs");
            }
            // §5.4, RFC 7829 §3.2: such a path comes back by HEARTBEATs alone, unless nobody wants any.
            let failing = path.state == PathState::PotentiallyFailed && path.heartbeat_interval.is_some();
            let in_doubt = !path.confirmed || failing;
            if in_doubt && path.beats.next.is_none() && path.beats.alive.is_none() {
                return Some("a path in doubt is not probed");
            }
        }
        if !self.tx.is_drained() {
            // §5.4: data waits for the first address to be confirmed, and all are probed.
            let unproven = self.paths.list.iter().all(|path| !path.confirmed);
            return (!watched && !unproven).then_some("data waits, and nothing is in flight");
        }
        if !matches!(self.phase, Phase::Established) {
            return Some("everything is acknowledged, and the shutdown does not go on");
        }
        // §6.2: within 500 ms.
        self.ack.is_forgotten().then_some("data is to be acknowledged, and no timer runs")
    }

    /// Called when it has nothing to send: notes a stall.
    pub fn on_rest(&mut self) {
        let stall = self.stall();
        debug_assert!(stall.is_none(), "{}: {self:#?}", stall.unwrap_or_default());
        let was_stalled = std::mem::replace(&mut self.stalled, stall.is_some());
        self.counters.stalls += u64::from(self.stalled && !was_stalled);
    }

    /// What outstanding data waits for.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        if self.tx.is_drained() {
            return None;
        }
        let path = self.paths.list.get(self.paths.current)?;
        Some(match self.phase {
            Phase::CookieWait(_) | Phase::CookieEchoed(_) => Waiting::Setup,
            _ if self.paths.list.iter().all(|path| path.state != PathState::Active) => Waiting::Path,
            _ if self.tx.is_held_by_window(path.max_payload()) => Waiting::PeerWindow,
            _ if self.tx.queued() > 0 && !path.has_window() => Waiting::CongestionWindow,
            _ => Waiting::Acknowledgement,
        })
    }
}
