//! What happens when time has passed (RFC 9260 §6.3.3, §8, §9.2).

use super::control::Control;
use super::path::congestion::CongestionControl;
use super::path::{Beat, BeatKind, Path};
use super::{Association, Cx, Phase};
use crate::api::{CloseReason, PathState};
use crate::faults::Fault;
use crate::time::{Time, earliest};
use crate::types::AddressScope;
use rand::RngExt;
use std::time::Duration;

/// An MTU probe is answered within this, however short the RTO: it is larger than what it is compared with.
const MIN_PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// What has waited for its lifetime and this much longer is given up, and what is next can probe.
const EXPIRED: Duration = Duration::from_micros(1);

/// The timers of the association; those of its paths are with them.
#[derive(Debug, Default)]
pub struct Timers {
    /// T1-init or T1-cookie.
    pub t1: Option<Time>,
    /// T2-shutdown.
    pub t2: Option<Time>,
    pub t2_path: usize,
    /// T5-shutdown-guard.
    pub guard: Option<Time>,
    /// When the INIT goes out in UDP too.
    pub fallback: Option<Time>,
    /// Until then no other unconfirmed address is probed. No deadline: it only holds back.
    pub probe_after: Option<Time>,
    /// When the peer's closed window is probed (§6.1 A).
    pub probe: Option<Time>,
}

impl Timers {
    pub fn deadline(&self) -> Option<Time> {
        earliest([self.t1, self.t2, self.guard, self.fallback, self.probe])
    }

    pub fn stop(&mut self) {
        *self = Self::default();
    }
}

fn is_due(timer: &mut Option<Time>, now: Time) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

impl Association {
    /// Does what is due.
    pub fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.is_closed() {
            return;
        }
        if self.deadline().is_some_and(|at| cx.now.since(at) > self.config.rto_max) {
            self.on_suspended(cx);
        }
        self.ack.on_timer(cx.now);
        if is_due(&mut self.timers.fallback, cx.now) {
            self.send_fallback_init(cx);
        }
        if is_due(&mut self.timers.t1, cx.now) {
            self.on_t1(cx);
        }
        if is_due(&mut self.timers.probe, cx.now) {
            self.tx.probe_due = self.tx.waits_for_window();
        }
        if is_due(&mut self.timers.t2, cx.now) {
            self.on_t2(cx);
        }
        if is_due(&mut self.timers.guard, cx.now) {
            self.close_with_abort(cx, &[], CloseReason::TimedOut);
        }
        for index in 0..self.paths.list.len() {
            if self.is_closed() {
                return;
            }
            if is_due(&mut self.paths.list[index].t3, cx.now) {
                self.on_t3(cx, index);
            }
            self.on_loss_timers(cx, index);
            if let Some(pacer) = &mut self.paths.list[index].pacer {
                pacer.on_timer(cx.now);
            }
            self.on_beat_timers(cx, index);
            self.on_mtu_timers(cx, index);
        }
    }

    /// Timers are later than any timeout: the process or the host slept. What went unanswered says nothing
    /// of the paths; they are asked before errors are counted.
    fn on_suspended(&mut self, cx: &mut Cx<'_>) {
        let forming = matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_));
        for index in 0..self.paths.list.len() {
            let path = &mut self.paths.list[index];
            if path.t3.is_some() {
                path.t3 = Some(cx.now + path.rto.current());
            }
            path.beats.mtu = None;
            if path.beats.alive.take().is_some() || (!forming && path.heartbeat_interval.is_some()) {
                self.send_heartbeat(cx, index, BeatKind::Alive);
            }
        }
    }

    /// T1-init, T1-cookie: again, over the next address; at last give up.
    fn on_t1(&mut self, cx: &mut Cx<'_>) {
        let count = self.paths.list.len();
        let max = self.config.max_init_retransmits;
        let (Phase::CookieWait(setup) | Phase::CookieEchoed(setup)) = &mut self.phase else { return };
        setup.attempts += 1;
        if setup.attempts > max {
            return self.close(cx, CloseReason::TimedOut);
        }
        self.paths.list[setup.target].rto.back_off();
        // §5.4: of the addresses that the peer listed itself, none gets our COOKIE ECHO.
        let mut others = (1..count).map(|step| (setup.target + step) % count);
        setup.target = others.find(|index| self.paths.list[*index].confirmed).unwrap_or(setup.target);
        // §5.1: each address has its own timeout; a new target's has not backed off yet.
        match self.phase {
            Phase::CookieWait(_) => self.send_init(cx),
            _ => self.send_cookie_echo(cx),
        }
    }

    /// §6.1 A: a closed window is probed an RTO after it was found closed; from then on T3-rtx repeats the probe.
    pub(super) fn watch_window(&mut self, now: Time) {
        if !self.tx.waits_for_window() {
            self.timers.probe = None;
            self.tx.probe_due = false;
        } else if self.timers.probe.is_none() && !self.tx.probe_due {
            let wait = self.probe_wait(now);
            self.timers.probe = Some(now + wait).filter(|_| !wait.is_zero());
            self.tx.probe_due = wait.is_zero();
        }
    }

    /// How long a window that was found closed is left alone.
    #[cold]
    fn probe_wait(&self, now: Time) -> Duration {
        match (self.config.probe_at_once, self.tx.next_expiry()) {
            (false, _) => self.paths.list[self.paths.current].rto.current(),
            (true, None) => Duration::ZERO,
            // What is worth sending for a while only is no good probe: once it has left it is never given up.
            (true, Some(expiry)) => (expiry.since(now) + EXPIRED).min(self.config.rto_max),
        }
    }

    /// T2-shutdown: again, over another address if there is one.
    fn on_t2(&mut self, cx: &mut Cx<'_>) {
        let path = self.timers.t2_path;
        self.paths.list[path].rto.back_off();
        if self.count_error(cx, path) {
            return;
        }
        let next = self.paths.select_for_retransmission(path, true);
        match self.phase {
            Phase::ShutdownSent => self.send_shutdown(cx, Control::Shutdown, next),
            Phase::ShutdownAckSent => self.send_shutdown(cx, Control::ShutdownAck, next),
            _ => {}
        }
    }

    /// T3-rtx (§6.3.3).
    fn on_t3(&mut self, cx: &mut Cx<'_>, index: usize) {
        if self.paths.list[index].flight == 0 {
            return;
        }
        self.counters.t3_timeouts += 1;
        // §6.1 A: a probe of a closed window that the peer answers says that it is there.
        let answered_probe = self.tx.is_held_off();
        let path = &mut self.paths.list[index];
        if !answered_probe {
            let pmdcs = path.pmdcs();
            path.congestion.on_timeout(cx.now, pmdcs);
        }
        // E3: a single packet, whatever the congestion window: of what a shut window has dropped too.
        let was_alone = std::mem::replace(&mut path.one_packet, true);
        // A packet that was alone and was answered has arrived. Of several, what is missing may be what is too large for
        // the path, shut window or not.
        let arrived = answered_probe && was_alone;
        if !arrived
            && !self.config.faults().has(Fault::MtuNeverFalls)
            && path.change_mtu(|pmtud| pmtud.on_timeout(cx.now))
        {
            self.send_mtu_probe(cx, index);
        }
        let path = &mut self.paths.list[index];
        path.rto.back_off();
        path.rtt_probe = None;
        self.tx.on_t3(index, &mut self.paths);
        if !answered_probe && self.count_error(cx, index) {
            return;
        }
        // The data that went unanswered has asked, and so do those that go again: a HEARTBEAT that is due by now as well,
        // because the timers are late, would ask twice.
        if self.paths.list[index].beats.next.is_some_and(|at| at <= cx.now) {
            self.schedule_heartbeat(cx, index);
        }
    }

    /// RFC 8985: a chunk that may have been late had its time; or nothing was heard of the last one.
    fn on_loss_timers(&mut self, cx: &mut Cx<'_>, index: usize) {
        let path = &mut self.paths.list[index];
        let Some(log) = &mut path.log else { return };
        let (late, silent) = (is_due(&mut log.rack.timer, cx.now), is_due(&mut log.rack.probe_timer, cx.now));
        if late {
            self.tx.on_reorder_timer(cx.now, index, &mut self.paths);
            let path = &mut self.paths.list[index];
            if path.sack.lost && self.tx.enter_fast_recovery() {
                let pmdcs = path.pmdcs();
                path.congestion.on_fast_retransmit(cx.now, pmdcs);
            }
        }
        if silent && !self.tx.in_fast_recovery() && self.tx.probe_tail(index, &mut self.paths) {
            // §7.3: the timeout counts from the probe. What else is in flight may be all, if that takes another path.
            self.paths.list[index].update_t3(cx.now, true);
        }
    }

    /// A retransmission over a path (§8.1, §8.2). Returns whether it ended the association.
    fn count_error(&mut self, cx: &mut Cx<'_>, index: usize) -> bool {
        let ended = self.count_association_error(cx);
        if !ended {
            self.count_path_error(cx, index);
        }
        ended
    }

    /// §8.1. Returns whether it ended the association.
    fn count_association_error(&mut self, cx: &mut Cx<'_>) -> bool {
        self.error_count += 1;
        let ended = self.error_count > self.config.assoc_max_retrans;
        if ended {
            self.close_with_abort(cx, &[], CloseReason::TimedOut);
        }
        ended
    }

    /// §8.2.
    fn count_path_error(&mut self, cx: &mut Cx<'_>, index: usize) {
        let changed = self.paths.list[index].on_error();
        self.tell_path(cx, index, changed);
    }

    fn on_beat_timers(&mut self, cx: &mut Cx<'_>, index: usize) {
        let path = &mut self.paths.list[index];
        if path.beats.alive.take_if(|beat| beat.expires <= cx.now).is_some() {
            // §8.3: unanswered; the timeout backs off. An unconfirmed address says nothing of the association
            // (§5.4), nor does one that data does not use (§8.1).
            path.rto.back_off();
            let counts = path.confirmed && index == self.paths.current;
            if counts && self.count_association_error(cx) {
                return;
            }
            // Once it is inactive, it goes on being asked, but not counted.
            if self.paths.list[index].state != PathState::Inactive {
                self.count_path_error(cx, index);
            }
            let path = &self.paths.list[index];
            // A path in doubt is asked again an RTO from now; an inactive one keeps to its interval.
            let in_doubt = matches!(path.state, PathState::Unconfirmed | PathState::PotentiallyFailed);
            if path.beats.next.is_some_and(|at| at <= cx.now) || in_doubt {
                self.schedule_heartbeat(cx, index);
            }
        }
        let path = &mut self.paths.list[index];
        if is_due(&mut path.beats.next, cx.now) {
            if path.is_busy(cx.now) || path.beats.alive.is_some() {
                self.schedule_heartbeat(cx, index);
            } else {
                self.probe(cx, index);
                self.on_idle();
            }
        }
    }

    /// A path is idle. If there is nothing to do at all, the room that the last burst needed is given back.
    fn on_idle(&mut self) {
        self.tx.compact();
        self.rx.compact();
        if self.control.len() <= 1 {
            self.control.shrink_to(4);
        }
    }

    /// Asks whether a path works. Of unconfirmed addresses only one is asked in each RTO, or when another has
    /// answered: HB.Max.Burst is 1 (§5.4), or a peer could have us send to all whom it lists at once.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>, index: usize) {
        if !self.paths.list[index].confirmed {
            if let Some(at) = self.timers.probe_after.filter(|at| *at > cx.now) {
                self.paths.list[index].beats.next = Some(at);
                return;
            }
            self.timers.probe_after = Some(cx.now + self.paths.list[self.paths.current].rto.current());
        }
        self.send_heartbeat(cx, index, BeatKind::Alive);
    }

    /// Whether an address is asked as soon as there is an association. Of a peer on this host, those beyond the loopback are
    /// not, because the host will not lose the one and keep the other: they are asked some RTO later, and news of them does
    /// not come between a program and its first messages. Linux asks all so late.
    pub(super) fn is_asked_at_once(&self, index: usize) -> bool {
        let is_home = |path: &Path| path.remote.scope() == AddressScope::Loopback;
        is_home(&self.paths.list[index]) || !is_home(&self.paths.list[self.paths.current])
    }

    /// An unconfirmed address has answered: the next one is asked.
    pub(super) fn probe_next(&mut self, cx: &mut Cx<'_>) {
        self.timers.probe_after = None;
        let waits = |index: &usize| {
            let path = &self.paths.list[*index];
            path.state == PathState::Unconfirmed && path.beats.alive.is_none() && self.is_asked_at_once(*index)
        };
        if let Some(index) = (0..self.paths.list.len()).find(waits) {
            self.probe(cx, index);
        }
    }

    fn on_mtu_timers(&mut self, cx: &mut Cx<'_>, index: usize) {
        let path = &mut self.paths.list[index];
        let lost = path.beats.mtu.take_if(|beat| beat.expires <= cx.now);
        if let Some(BeatKind::Mtu(size)) = lost.map(|beat| beat.kind) {
            path.pmtud.on_probe_lost(cx.now, size);
        }
        path.pmtud.on_timer(cx.now);
        if path.beats.mtu.is_none() && path.pmtud.wants_probe() && path.state == PathState::Active {
            self.send_mtu_probe(cx, index);
        }
    }

    /// §8.3: heartbeats are sent from ESTABLISHED on, and no more behind SHUTDOWN or SHUTDOWN ACK.
    fn may_send_heartbeats(&self) -> bool {
        matches!(self.phase, Phase::Established | Phase::ShutdownPending | Phase::ShutdownReceived)
    }

    /// Sets the time of the next HEARTBEAT over a path.
    pub(super) fn schedule_heartbeat(&mut self, cx: &mut Cx<'_>, index: usize) {
        if !self.may_send_heartbeats() {
            return;
        }
        let jitter = cx.rng.random::<f64>();
        self.paths.list[index].schedule_heartbeat(cx.now, jitter);
    }

    /// Sends a HEARTBEAT over a path.
    pub(super) fn send_heartbeat(&mut self, cx: &mut Cx<'_>, index: usize, kind: BeatKind) {
        if self.may_send_heartbeats() {
            self.queue_heartbeat(cx, index, kind);
        }
    }

    /// The same in any state: one goes with a COOKIE ECHO to an address that is not confirmed (§5.4).
    pub(super) fn queue_heartbeat(&mut self, cx: &mut Cx<'_>, index: usize, kind: BeatKind) {
        let nonce = cx.rng.random();
        let path = &mut self.paths.list[index];
        let timeout = match kind {
            BeatKind::Alive => path.beat_timeout(),
            BeatKind::Mtu(_) => path.beat_timeout().max(MIN_PROBE_TIMEOUT),
        };
        path.beats.on_sent(Beat { kind, nonce, sent: cx.now, expires: cx.now + timeout });
        self.counters.heartbeats_sent += 1;
        self.queue(index, Control::Heartbeat(kind));
        if kind == BeatKind::Alive {
            self.schedule_heartbeat(cx, index);
        }
    }

    /// There is more data than one packet takes. What is cut has to fit all paths: all are searched, once.
    #[cold]
    pub(super) fn on_full_packet(&mut self, cx: &mut Cx<'_>) {
        self.tx.fills_packets = true;
        for index in 0..self.paths.list.len() {
            self.start_mtu_search(cx, index);
        }
    }

    /// Begins the MTU search over a path, if it may and has not.
    pub(super) fn start_mtu_search(&mut self, cx: &mut Cx<'_>, index: usize) {
        if self.paths.list[index].pmtud.start(cx.now) {
            self.send_mtu_probe(cx, index);
        }
    }

    /// Sends the next probe of the MTU search, if it wants one.
    pub(super) fn send_mtu_probe(&mut self, cx: &mut Cx<'_>, index: usize) {
        let path = &self.paths.list[index];
        if let Some(size) = path.pmtud.probe_size().filter(|_| path.beats.mtu.is_none()) {
            self.send_heartbeat(cx, index, BeatKind::Mtu(size));
        }
    }
}
