//! Graceful end (RFC 9260 §9.2).

use super::control::Control;
use super::{Association, Cx, Phase};
use crate::api::{CloseReason, Event};
use crate::assoc::tx::SackOutcome;
use crate::faults::Fault;
use crate::serial::Tsn;

/// T5-shutdown-guard is this many times RTO.Max (RFC 9260 §9.2).
const GUARD_FACTOR: u32 = 5;

impl Association {
    /// SHUTDOWN (§11.1.3): nothing more is taken; it ends when everything taken is acknowledged.
    pub fn shutdown(&mut self, cx: &mut Cx<'_>) {
        match self.phase {
            // There is nothing to end gracefully yet.
            Phase::CookieWait(_) | Phase::CookieEchoed(_) => self.close_with_abort(cx, &[], CloseReason::LocalAbort),
            Phase::Established => {
                self.phase = Phase::ShutdownPending;
                self.advance_shutdown(cx);
            }
            Phase::ShutdownPending
            | Phase::ShutdownSent
            | Phase::ShutdownReceived
            | Phase::ShutdownAckSent
            | Phase::Closed => {}
        }
    }

    /// Goes on with an end that has begun, once everything taken is acknowledged.
    pub(super) fn advance_shutdown(&mut self, cx: &mut Cx<'_>) {
        if !self.tx.is_drained() && !self.config.faults().has(Fault::ShutdownTooEarly) {
            return;
        }
        let control = match self.phase {
            Phase::ShutdownPending => {
                self.phase = Phase::ShutdownSent;
                Control::Shutdown
            }
            Phase::ShutdownReceived => {
                self.phase = Phase::ShutdownAckSent;
                Control::ShutdownAck
            }
            _ => return,
        };
        self.timers.guard = Some(cx.now + self.config.rto_max * GUARD_FACTOR);
        self.send_shutdown(cx, control, self.paths.current);
    }

    /// SHUTDOWN ACK again: the peer has not seen it.
    pub fn repeat_shutdown_ack(&mut self) {
        self.queue_once(self.paths.current, Control::ShutdownAck);
    }

    /// Sends SHUTDOWN or SHUTDOWN ACK and starts T2-shutdown.
    pub(super) fn send_shutdown(&mut self, cx: &mut Cx<'_>, control: Control, path: usize) {
        self.queue_once(path, control);
        self.timers.t2_path = path;
        self.restart_t2(cx);
        // §8.3: no heartbeats from here on.
        self.paths.list.iter_mut().for_each(|path| path.beats.stop());
    }

    pub(super) fn restart_t2(&mut self, cx: &mut Cx<'_>) {
        self.timers.t2 = Some(cx.now + self.paths.list[self.timers.t2_path].rto.current());
    }

    /// The peer's SHUTDOWN, which also acknowledges.
    pub(super) fn on_shutdown(&mut self, cx: &mut Cx<'_>, cumulative: Tsn) {
        match self.phase {
            Phase::Established | Phase::ShutdownPending => {
                let pending = matches!(self.phase, Phase::ShutdownPending);
                self.phase = Phase::ShutdownReceived;
                if !pending {
                    self.tell(cx, Event::ShutdownReceived);
                }
            }
            // Its data went over before ours was acknowledged.
            Phase::ShutdownReceived => {}
            // Both at once.
            Phase::ShutdownSent => {
                self.phase = Phase::ShutdownAckSent;
                self.control.retain(|queued| !matches!(queued.control, Control::Shutdown));
                self.send_shutdown(cx, Control::ShutdownAck, self.paths.current);
                return;
            }
            // The peer has not seen our SHUTDOWN ACK: SHUTDOWN goes on being answered.
            Phase::ShutdownAckSent => return self.repeat_shutdown_ack(),
            Phase::CookieWait(_) | Phase::CookieEchoed(_) | Phase::Closed => return,
        }
        let before = cx.now;
        let outcome = self.tx.on_cumulative(before, cumulative, &mut self.paths);
        match outcome {
            SackOutcome::Taken { .. } => self.after_sack(cx, outcome),
            // §12.4 wants an ABORT for a SACK of what was not sent; of SHUTDOWN it does not speak. The stacks that descend
            // from pion's put a TSN of their own there: they may shut down all the same.
            SackOutcome::Old | SackOutcome::Bogus => {}
        }
        self.advance_shutdown(cx);
    }

    /// The peer's SHUTDOWN ACK. While the association is being set up it is out of the blue (§8.5.1 E);
    /// the stack sees to that.
    pub(super) fn on_shutdown_ack(&mut self, cx: &mut Cx<'_>, source: usize) {
        if matches!(self.phase, Phase::ShutdownSent | Phase::ShutdownAckSent) {
            self.close(cx, CloseReason::Shutdown);
            self.queue(source, Control::ShutdownComplete);
        }
    }

    /// The peer's SHUTDOWN COMPLETE (§8.5.1 C: ignored elsewhere).
    pub(super) fn on_shutdown_complete(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.phase, Phase::ShutdownAckSent) {
            self.close(cx, CloseReason::Shutdown);
        }
    }
}
