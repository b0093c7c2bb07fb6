//! Control chunks that wait to be sent.

use super::{Association, Cx};
use crate::assoc::path::BeatKind;
use crate::types::VerificationTag;

/// Replies that wait at most; a peer that asks faster than we send is answered less often.
const MAX_REPLIES: usize = 16;

/// A control chunk, and the path it goes over.
#[derive(Debug)]
pub struct Queued {
    pub path: usize,
    pub control: Control,
}

/// See [`Queued`].
#[derive(Debug)]
pub enum Control {
    /// INIT; in UDP to this port, whatever the path says.
    Init(Option<u16>),
    CookieEcho,
    CookieAck,
    Shutdown,
    ShutdownAck,
    ShutdownComplete,
    /// With its causes as they go on the wire.
    Abort(Vec<u8>),
    /// ABORT in answer to an INIT ACK that is not taken: with the tag that it gave, else our own reflected.
    Refusal {
        tag: VerificationTag,
        reflected: bool,
        causes: Vec<u8>,
    },
    Heartbeat(BeatKind),
    /// HEARTBEAT ACK or ERROR, with its value.
    Reply(u8, Vec<u8>),
}

impl Association {
    pub(super) fn queue(&mut self, path: usize, control: Control) {
        self.control.push_back(Queued { path, control });
    }

    /// Queues a chunk of which one is enough, unless it waits already.
    pub(super) fn queue_once(&mut self, path: usize, control: Control) {
        let same = |queued: &&mut Queued| std::mem::discriminant(&queued.control) == std::mem::discriminant(&control);
        match self.control.iter_mut().find(same) {
            Some(queued) => queued.path = path,
            None => self.queue(path, control),
        }
    }

    /// Queues COOKIE ACK before all that waits: it is the first chunk of its packet (RFC 9260 §5.1 D).
    pub(super) fn queue_cookie_ack(&mut self, path: usize) {
        self.control.retain(|queued| !matches!(queued.control, Control::CookieAck));
        self.control.push_front(Queued { path, control: Control::CookieAck });
    }

    /// Queues an answer to something that the peer sent.
    pub(super) fn reply(&mut self, path: usize, kind: u8, value: Vec<u8>) {
        let waiting = self.control.iter().filter(|queued| matches!(queued.control, Control::Reply(..))).count();
        if waiting < MAX_REPLIES {
            self.queue(path, Control::Reply(kind, value));
        }
    }

    /// Asks for a HEARTBEAT over a path.
    pub fn request_heartbeat(&mut self, cx: &mut Cx<'_>, path: usize) {
        self.send_heartbeat(cx, path, BeatKind::Alive);
    }
}
