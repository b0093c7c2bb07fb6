//! Telling the user, and only of what is news.

use super::{Association, Cx, Phase};
use crate::api::{Event, PathState};

impl Association {
    pub(super) fn tell(&self, cx: &mut Cx<'_>, event: Event) {
        cx.events.push_back((self.id, event));
    }

    /// Messages may have become ready.
    pub(super) fn tell_readable(&mut self, cx: &mut Cx<'_>) {
        if !self.is_closed() && !self.readable_told && self.rx.is_readable() {
            self.readable_told = true;
            self.tell(cx, Event::Readable);
        }
    }

    /// The send buffer may have room again.
    pub(super) fn tell_writable(&mut self, cx: &mut Cx<'_>) {
        if self.tx.take_writable() {
            self.tell(cx, Event::Writable);
        }
    }

    /// Everything taken may have been acknowledged.
    pub(super) fn tell_drained(&mut self, cx: &mut Cx<'_>) {
        if self.tx.take_drained() {
            self.tell(cx, Event::Drained);
        }
    }

    /// Asks to be told when everything taken has been acknowledged; at once if it has.
    pub fn tell_when_drained(&mut self, cx: &mut Cx<'_>) {
        self.tx.drained_asked = true;
        self.tell_drained(cx);
    }

    /// Messages that are next and have waited for too long go back.
    pub(super) fn tell_expired(&mut self, cx: &mut Cx<'_>) {
        while let Some(message) = self.tx.take_expired(cx.now) {
            self.tell(cx, Event::Expired(message));
        }
        self.tell_writable(cx);
        self.tell_drained(cx);
        self.advance_shutdown(cx);
    }

    /// A path may have changed its state; data goes where it is best.
    pub(super) fn tell_path(&mut self, cx: &mut Cx<'_>, index: usize, changed: Option<PathState>) {
        let Some(state) = changed else { return };
        let path = &self.paths.list[index];
        let event = Event::Path { path: path.id, remote: path.remote, state };
        self.tell(cx, event);
        self.choose_path(cx);
        // Before ESTABLISHED, INIT and COOKIE ECHO are what watches it; then all paths are probed.
        if !matches!(self.phase, Phase::CookieWait(_) | Phase::CookieEchoed(_)) {
            self.schedule_heartbeat(cx, index);
        }
    }

    /// Everything that was not acknowledged goes back to its sender.
    pub(super) fn tell_undelivered(&mut self, cx: &mut Cx<'_>) {
        for message in self.tx.take_undelivered() {
            self.tell(cx, Event::Undelivered(message));
        }
    }
}
