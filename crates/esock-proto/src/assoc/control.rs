//! Control chunks that wait to be sent.

use super::{Association, Cx, Phase};
use crate::assoc::path::{BeatKind, Path};
use crate::transmit::Local;
use crate::types::VerificationTag;
use crate::wire::{CHUNK_HEADER_BYTES, HEADER_BYTES, SACK_FIXED_BYTES, kind, padded};

/// Replies that wait at most; a peer that asks faster than we send is answered less often.
const MAX_REPLIES: usize = 16;

/// The packet that is being read.
#[derive(Debug, Default)]
pub struct Reading {
    /// Its chunk came alone: the answer may be as large as it is.
    pub alone: bool,
    /// Error causes of it that the user was told of.
    pub causes_told: u8,
    /// Bytes of chunks that it is answered with.
    pub answered_bytes: u32,
}

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
    /// HEARTBEAT ACK with its value, from an address of ours that is not where the path's packets leave.
    AnswerFrom(Box<(Local, Vec<u8>)>),
}

impl Control {
    /// Whether an address that is not confirmed may get it (RFC 9260 §5.4). COOKIE ECHO then has a HEARTBEAT
    /// with it.
    fn may_probe(&self) -> bool {
        let is_answer = matches!(self, Self::Reply(kind::HEARTBEAT_ACK, _) | Self::AnswerFrom(_));
        is_answer || matches!(self, Self::Init(_) | Self::CookieEcho | Self::Heartbeat(_))
    }

    /// Whether it answers something that the peer sent.
    pub(super) fn is_reply(&self) -> bool {
        matches!(self, Self::Reply(..) | Self::AnswerFrom(_))
    }
}

impl Association {
    pub(super) fn queue(&mut self, path: usize, control: Control) {
        let path = if control.may_probe() { path } else { self.paths.permitted(path) };
        let confirmed = self.paths.list.get(path).is_some_and(|path| path.confirmed);
        // §5.4: to an address that nobody has confirmed it is not sent at all.
        if confirmed || control.may_probe() {
            self.make_room();
            self.control.push_back(Queued { path, control });
        }
    }

    /// Queues a chunk of which one is enough, unless it waits already.
    pub(super) fn queue_once(&mut self, path: usize, control: Control) {
        let same = |queued: &&mut Queued| std::mem::discriminant(&queued.control) == std::mem::discriminant(&control);
        let permitted = if control.may_probe() { path } else { self.paths.permitted(path) };
        match self.control.iter_mut().find(same) {
            Some(queued) => queued.path = permitted,
            None => self.queue(path, control),
        }
    }

    /// Queues COOKIE ACK before all that waits: it is the first chunk of its packet (RFC 9260 §5.1 D).
    pub(super) fn queue_cookie_ack(&mut self, path: usize) {
        let path = self.paths.permitted(path);
        self.control.retain(|queued| !matches!(queued.control, Control::CookieAck));
        self.make_room();
        self.control.push_front(Queued { path, control: Control::CookieAck });
    }

    /// Few associations ever have more than one chunk waiting: the first gets room for itself and no more.
    fn make_room(&mut self) {
        if self.control.capacity() == 0 {
            self.control.reserve_exact(1);
        }
    }

    /// Queues an answer to something that the peer sent. What one packet is answered with fits into one
    /// packet, and a SACK with it; the rest is dropped (RFC 5062 §8.3, §10.3).
    pub(super) fn reply(&mut self, path: usize, kind: u8, value: Vec<u8>) {
        self.queue_reply(path, value.len(), Control::Reply(kind, value));
    }

    /// Queues a HEARTBEAT ACK, which leaves from where the HEARTBEAT went: that is what the peer wants to know of.
    pub(super) fn answer_heartbeat(&mut self, path: usize, value: Vec<u8>, local: Local) {
        let elsewhere = |path: &Path| path.local.address != local.address && local.address.is_some();
        if self.paths.list.get(path).is_some_and(elsewhere) {
            self.queue_reply(path, value.len(), Control::AnswerFrom(Box::new((local, value))));
        } else {
            self.reply(path, kind::HEARTBEAT_ACK, value);
        }
    }

    fn queue_reply(&mut self, path: usize, value_len: usize, reply: Control) {
        // Before INIT ACK there is no tag to answer with.
        if matches!(self.phase, Phase::CookieWait(_)) {
            return;
        }
        let bytes = CHUNK_HEADER_BYTES + padded(value_len);
        let largest = self.paths.list.get(self.paths.permitted(path)).map_or(0, Path::max_packet);
        let room = largest.saturating_sub(HEADER_BYTES + SACK_FIXED_BYTES + self.reading.answered_bytes as usize);
        let waiting = self.control.iter().filter(|queued| queued.control.is_reply()).count();
        if waiting < MAX_REPLIES && (bytes <= room || self.reading.alone) {
            self.reading.answered_bytes += bytes as u32;
            self.queue(path, reply);
        }
    }

    /// Asks for a HEARTBEAT over a path.
    pub fn request_heartbeat(&mut self, cx: &mut Cx<'_>, path: usize) {
        self.send_heartbeat(cx, path, BeatKind::Alive);
    }
}
