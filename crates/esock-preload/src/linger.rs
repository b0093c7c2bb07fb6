//! `close` that waits until the associations of a one-to-one socket have ended (SO_LINGER, RFC 6458 §8.1.4).
//!
//! The end of a socket is the end of its last descriptor, which only the broker sees: it is asked after each `close`,
//! in processes where somebody has set a time.

use crate::{channel, errno, real};
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

/// The broker is asked again after at most as long, in milliseconds.
const MOST: c_int = 20;

/// Somebody has set a time. Children have it too; programs that are executed, and those that a socket is passed to, set
/// it anew or do not wait.
static SET: AtomicBool = AtomicBool::new(false);

/// A socket was told to linger, or something else.
pub fn on_option(level: c_int, name: c_int, value: &[u8]) {
    let word =
        |at: usize| value.get(at..).and_then(|word| word.first_chunk()).map_or(0, |word| c_int::from_ne_bytes(*word));
    if level == libc::SOL_SOCKET && name == libc::SO_LINGER && word(0) != 0 && word(4) != 0 {
        SET.store(true, Ordering::Relaxed);
    }
}

/// Whether closing a socket may have to wait.
#[inline]
pub fn may_wait() -> bool {
    SET.load(Ordering::Relaxed)
}

/// Waits for a socket that a descriptor was closed of. A signal ends the wait (as `sctp_wait_for_close` of Linux).
pub fn wait(id: SocketId) {
    let before = errno::get();
    let mut pause = 1;
    while let Some(left) = left(id) {
        // SAFETY: there are no entries.
        if unsafe { real::poll(std::ptr::null_mut(), 0, left.min(pause)) } != 0 {
            break;
        }
        pause = (2 * pause).min(MOST);
    }
    errno::set(before);
}

/// How long a closed socket lingers at most, in milliseconds, if it does.
fn left(id: SocketId) -> Option<c_int> {
    let mut left = None;
    errno::caught(|| {
        let (head, _) = channel::ask(&Request::new(Op::Lingers, id), &[], &mut [])?;
        left = (head.result == 1).then(|| c_int::try_from(head.timeout_ms).unwrap_or(c_int::MAX));
        Ok(errno::Step::default())
    });
    left
}
