//! Path failure and recovery (RFC 9260 §8.2, RFC 7829).

use super::Path;
use crate::api::PathState;

impl Path {
    /// T3-rtx or a HEARTBEAT went unanswered. Returns the new state if it changed.
    pub fn on_error(&mut self) -> Option<PathState> {
        self.error_count = self.error_count.saturating_add(1);
        let exceeds = |limit: Option<u32>| limit.is_some_and(|limit| self.error_count > limit);
        let next = if exceeds(self.path_max_retrans) {
            PathState::Inactive
        } else if self.state == PathState::Active && exceeds(self.pf_threshold) {
            // RFC 7829 §3.2: only an active path becomes potentially failed.
            PathState::PotentiallyFailed
        } else {
            self.state
        };
        self.change_state(next)
    }

    /// The peer answered over this path: data acknowledged, or HEARTBEAT ACK.
    /// An unconfirmed path is confirmed by HEARTBEAT ACK alone (RFC 9260 §5.4).
    pub fn on_answer(&mut self, confirms: bool) -> Option<PathState> {
        self.confirmed |= confirms;
        if !self.confirmed {
            return None;
        }
        self.error_count = 0;
        self.change_state(PathState::Active)
    }

    /// The user named it, or its cookie came back (RFC 9260 §5.4, rules 1 and 2).
    pub fn confirm(&mut self) {
        self.confirmed = true;
        self.state = PathState::Active;
    }

    fn change_state(&mut self, state: PathState) -> Option<PathState> {
        (self.state != state).then(|| {
            self.state = state;
            state
        })
    }
}
