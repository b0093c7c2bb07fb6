//! A COOKIE ECHO for an association that exists (RFC 9260 §5.2.4).

use super::control::Control;
use super::{Association, Cx, Phase};
use crate::api::{Event, State};
use crate::assoc::rx::Rx;
use crate::assoc::tx::Tx;
use crate::faults::Fault;
use crate::stack::cookie::Cookie;
use crate::transmit::Local;
use crate::types::{Address, VerificationTag};
use crate::wire::{Cause, kind};
use rand::{Rng, RngExt};

/// The row of the table of §5.2.4 that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieAction {
    /// A: the peer restarted.
    Restart,
    /// B: both ends set up at once, and the peer's tag has changed since.
    Collision,
    /// C, and all that is not in the table.
    Discard,
    /// D: a repetition.
    Repeated,
}

impl Association {
    /// Which action a cookie calls for.
    pub fn cookie_action(&self, cookie: &Cookie) -> CookieAction {
        let ours = &self.identity;
        let local = cookie.local_tag == ours.local_tag;
        let peer = cookie.peer_tag == ours.peer_tag;
        let ties = (cookie.tie_local, cookie.tie_peer) == self.ties && self.ties.0 != VerificationTag::ZERO;
        match (local, peer) {
            (true, true) => CookieAction::Repeated,
            (true, false) => CookieAction::Collision,
            (false, false) if ties => CookieAction::Restart,
            _ => CookieAction::Discard,
        }
    }

    /// The Tie-Tags (§1.3, §5.2.2): a random nonce that leads back to this association. They are not our tags:
    /// a cookie can be read by whoever sent the INIT.
    pub fn tie_tags(&mut self, rng: &mut impl Rng) -> (VerificationTag, VerificationTag) {
        if self.ties.0 == VerificationTag::ZERO {
            let mut nonce = || VerificationTag(rng.random_range(1..=u32::MAX));
            self.ties = (nonce(), nonce());
        }
        self.ties
    }

    /// Whether a cookie belongs to the very association that exists, so that it never becomes stale.
    pub fn is_same(&self, cookie: &Cookie) -> bool {
        self.cookie_action(cookie) == CookieAction::Repeated
    }

    /// Does what the table says. `source` is the path that COOKIE ECHO came over. Returns whether the cookie
    /// was taken: if not, the whole packet is discarded.
    pub fn on_cookie(
        &mut self,
        cx: &mut Cx<'_>,
        cookie: &Cookie,
        action: CookieAction,
        source: usize,
        local_for: impl Fn(Address) -> Local,
    ) -> bool {
        match action {
            CookieAction::Discard => return false,
            CookieAction::Repeated => self.on_repeated_cookie(cx, source),
            CookieAction::Collision => return self.on_collision(cx, cookie, local_for),
            CookieAction::Restart if self.state() == State::ShutdownAckSent => {
                // The peer has to finish the old association first.
                self.queue_once(source, Control::ShutdownAck);
                let causes = super::close::causes_bytes(&[Cause::CookieWhileShuttingDown]);
                self.reply(source, kind::ERROR, causes);
                return false;
            }
            CookieAction::Restart => self.on_restart(cx, cookie, local_for),
        }
        true
    }

    fn on_repeated_cookie(&mut self, cx: &mut Cx<'_>, source: usize) {
        if matches!(self.phase, Phase::CookieEchoed(_)) {
            self.queue_cookie_ack(source);
            self.establish(cx);
        } else if !matches!(self.phase, Phase::CookieWait(_) | Phase::Closed) {
            self.queue_cookie_ack(source);
        }
    }

    fn on_collision(&mut self, cx: &mut Cx<'_>, cookie: &Cookie, local_for: impl Fn(Address) -> Local) -> bool {
        let forming = matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_));
        // Only an association that has exchanged nothing can take the peer's new numbers.
        let untouched = self.tx.cumulative() == self.identity.local_tsn.minus(1)
            && self.rx.map.cumulative() == self.identity.peer_tsn.minus(1)
            && !self.rx.map.has_gaps();
        if !forming && !untouched {
            return false;
        }
        self.identity.peer_tag = cookie.peer_tag;
        self.identity.peer_tsn = cookie.peer_tsn;
        self.rx = Rx::new(cookie.peer_tsn, &self.config);
        if forming {
            self.control.clear();
            self.tx.recall(&mut self.paths);
            self.take_cookie(cx.now, cookie, local_for);
            self.queue_cookie_ack(0);
            self.establish(cx);
        } else {
            self.queue_cookie_ack(self.paths.current);
        }
        true
    }

    fn on_restart(&mut self, cx: &mut Cx<'_>, cookie: &Cookie, local_for: impl Fn(Address) -> Local) {
        // A user who has asked for the end still wants it.
        let ending = matches!(self.phase, Phase::ShutdownPending | Phase::ShutdownSent);
        self.tell_undelivered(cx);
        self.identity.local_tag = cookie.local_tag;
        self.identity.peer_tag = cookie.peer_tag;
        self.identity.local_tsn = cookie.local_tsn;
        self.identity.peer_tsn = cookie.peer_tsn;
        // Another cookie that was made before the restart must not restart it again.
        self.ties = Default::default();
        let counters = self.tx.counters;
        self.tx = Tx::new(cx.now, cookie.local_tsn, &self.negotiated, &self.config);
        self.tx.counters = counters;
        self.rx.restart(cookie.peer_tsn, self.config.faults().has(Fault::RestartKeepsStreams));
        // A message that was being read in pieces has got an end.
        self.tell_readable(cx);
        self.ack = Default::default();
        self.control.clear();
        self.timers.stop();
        self.counters.restarts += 1;
        self.take_cookie(cx.now, cookie, local_for);
        self.queue_cookie_ack(0);
        self.phase = Phase::Established;
        self.error_count = 0;
        self.tell(cx, Event::Restarted(self.negotiated));
        self.tell(cx, Event::Writable);
        for index in 0..self.paths.list.len() {
            if index == 0 {
                self.start_path(cx, index);
            } else {
                self.probe(cx, index);
            }
        }
        if ending {
            self.shutdown(cx);
        }
    }
}
