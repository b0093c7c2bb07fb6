//! What holds of an association between any two calls: for fuzzing.

use super::{Association, Phase};

impl Association {
    /// Recounts what is kept incrementally, and checks bounds.
    pub fn check_invariants(&self) {
        let paths = &self.paths;
        assert!(!paths.list.is_empty() && paths.primary < paths.list.len() && paths.current < paths.list.len());
        for (at, path) in paths.list.iter().enumerate() {
            assert_eq!(usize::from(path.id.0), at, "a path's number is its place");
            assert!(paths.list[..at].iter().all(|other| other.remote != path.remote), "an address has two paths");
            assert!(path.cwnd() >= 1, "cwnd");
        }
        self.tx.recount(paths);
        self.rx.recount();
        assert!(self.rx.charged() <= self.receive_bound(), "received beyond the window: {}", self.rx.charged());
        let replies = self.control.iter().filter(|queued| queued.control.is_reply()).count();
        assert!(replies <= 16, "{replies} replies wait");
        if self.is_closed() {
            assert!(self.deadline().is_none() && self.tx.flight() == 0 && self.tx.is_drained(), "it is over");
        }
    }

    /// What holds when it has nothing to send.
    pub fn check_rest(&self) {
        assert!(self.control.is_empty(), "control chunks are left: {:?}", self.control);
        // What goes along with COOKIE ECHO is watched by T1-cookie.
        let echoed = matches!(self.phase, Phase::CookieEchoed(_)) && self.timers.t1.is_some();
        for path in &self.paths.list {
            assert!(path.flight == 0 || path.t3.is_some() || echoed, "{} bytes in flight without T3-rtx", path.flight);
        }
    }
}
