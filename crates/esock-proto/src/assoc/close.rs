//! The end of an association.

use super::control::Control;
use super::{Association, Cx, Phase};
use crate::api::{CloseReason, Event};
use crate::wire::{Cause, Header, PacketBuilder, kind};
use bytes::Bytes;

/// A reason is cut to this, ours and the peer's: an ABORT fits into every packet.
const MAX_REASON_BYTES: usize = 1024;

impl Association {
    /// Ends the association at once: ABORT with the user's reason.
    pub fn abort(&mut self, cx: &mut Cx<'_>, reason: &[u8]) {
        let reason = &reason[..reason.len().min(MAX_REASON_BYTES)];
        self.close_with_abort(cx, &[Cause::UserAbort(reason)], CloseReason::LocalAbort);
    }

    /// Ends the association because the peer broke the protocol.
    pub(super) fn violate(&mut self, cx: &mut Cx<'_>, cause: &Cause<'_>, detail: &'static str) {
        let reason = CloseReason::ProtocolViolation { cause: cause.code(), detail };
        self.close_with_abort(cx, std::slice::from_ref(cause), reason);
    }

    /// Ends the association with an ABORT, if the peer knows of us.
    pub(super) fn close_with_abort(&mut self, cx: &mut Cx<'_>, causes: &[Cause<'_>], reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        // In COOKIE-WAIT there is no tag to send it with.
        let knows_us = !matches!(self.phase, Phase::CookieWait(_));
        self.close(cx, reason);
        if knows_us {
            let path = self.paths.current;
            self.queue(path, Control::Abort(causes_bytes(causes)));
        }
    }

    /// Ends the association without a word to the peer.
    pub(super) fn close(&mut self, cx: &mut Cx<'_>, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        // What came in the same packet is told of first: Closed is the last event.
        self.tell_readable(cx);
        self.phase = Phase::Closed;
        self.control.clear();
        self.timers.stop();
        self.ack.deadline = None;
        self.rx.close();
        for path in &mut self.paths.list {
            path.t3 = None;
            path.flight = 0;
            path.beats.stop();
        }
        self.tell_undelivered(cx);
        self.tell(cx, Event::Closed(reason));
    }

    /// Its endpoint goes.
    pub fn close_endpoint(&mut self, cx: &mut Cx<'_>) {
        self.close_with_abort(cx, &[], CloseReason::EndpointClosed);
    }

    /// Whether INIT is sent again although ICMP says that the host cannot be reached.
    pub fn is_patient(&self) -> bool {
        self.config.patient && matches!(self.phase, Phase::CookieWait(_))
    }

    /// ICMP said that nobody is there (RFC 9260 §10, RFC 6951 §5.3): while INITs go unanswered that ends
    /// the attempt over that path; later it only counts against the path.
    pub fn on_unreachable(&mut self, cx: &mut Cx<'_>, path: usize) {
        if let Phase::CookieWait(setup) = &mut self.phase {
            if setup.fallback.is_some() {
                // The other encapsulation has not been tried yet.
                return;
            }
            setup.unreachable |= 1 << path.min(63);
            let all = (1u64 << self.paths.list.len().min(63)) - 1;
            if setup.unreachable & all == all {
                self.close(cx, CloseReason::Unreachable);
            }
        } else if !self.is_closed() {
            let changed = self.paths.list[path].on_error();
            self.tell_path(cx, path, changed);
        }
    }

    /// The peer's ABORT.
    pub(super) fn on_abort(&mut self, cx: &mut Cx<'_>, cause: Option<(u16, &[u8])>) {
        let info = cause.map_or(&[][..], |(_, info)| &info[..info.len().min(MAX_REASON_BYTES)]);
        let info = Bytes::copy_from_slice(info);
        let cause = cause.map(|(code, _)| code);
        let reason = match self.phase {
            Phase::CookieWait(_) | Phase::CookieEchoed(_) => CloseReason::Refused { cause, info },
            _ => CloseReason::PeerAbort { cause, info },
        };
        self.close(cx, reason);
    }
}

/// The causes as the value of an ABORT or ERROR.
pub(super) fn causes_bytes(causes: &[Cause<'_>]) -> Vec<u8> {
    let mut buf = [0; MAX_REASON_BYTES + 256];
    let header = Header { source: 0, destination: 0, tag: crate::types::VerificationTag::ZERO };
    let mut packet = PacketBuilder::new(&mut buf, header);
    packet.causes(kind::ABORT, 0, causes);
    let end = packet.len();
    buf[crate::wire::HEADER_BYTES + crate::wire::CHUNK_HEADER_BYTES..end].to_vec()
}
