//! Packets out of the blue (RFC 9260 §8.4): correctly formed, and of no association.

use super::Stack;
use crate::time::Time;
use crate::transmit::Datagram;
use crate::wire::{Cause, Chunks, HEADER_BYTES, Header, T_BIT, Tlvs, code, kind};

impl Stack {
    /// Takes a packet that belongs to no association; INIT and COOKIE ECHO have been seen to.
    pub(super) fn handle_out_of_the_blue(&mut self, now: Time, datagram: &Datagram<'_>, header: &Header) {
        self.stats.out_of_the_blue += 1;
        // §12.3: an INIT that has a tag or company is discarded, and all that follows it.
        let all = || Chunks::new(&datagram.data[HEADER_BYTES..]).map_while(Result::ok);
        let chunks = || all().take_while(|chunk| chunk.kind != kind::INIT);
        let has = |wanted: u8| chunks().any(|chunk| chunk.kind == wanted);
        let stale_cookie = || {
            let errors = chunks().filter(|chunk| chunk.kind == kind::ERROR);
            errors
                .flat_map(|chunk| Tlvs::new(chunk.value).map_while(Result::ok))
                .any(|cause| cause.kind == code::STALE_COOKIE)
        };
        if has(kind::ABORT) {
            return;
        }
        if has(kind::SHUTDOWN_ACK) {
            return self.answer_shutdown_ack(now, datagram, header);
        }
        if has(kind::SHUTDOWN_COMPLETE) || has(kind::COOKIE_ACK) || stale_cookie() || chunks().next().is_none() {
            return;
        }
        self.answer_out_of_the_blue(now, datagram, header);
    }

    /// §8.4 rule 8: all else, INIT ACK among it (§5.2.3: CLOSED is no reason to discard it).
    pub(super) fn answer_out_of_the_blue(&mut self, now: Time, datagram: &Datagram<'_>, header: &Header) {
        if self.may_answer(now, datagram, header.destination) {
            self.reply_causes(datagram, reflect(header), kind::ABORT, T_BIT, &[]);
        }
    }

    /// SHUTDOWN ACK without an association: the peer waits for SHUTDOWN COMPLETE.
    pub(super) fn answer_shutdown_ack(&mut self, now: Time, datagram: &Datagram<'_>, header: &Header) {
        if self.may_answer(now, datagram, header.destination) {
            self.reply(datagram, reflect(header), 64, |packet| packet.chunk(kind::SHUTDOWN_COMPLETE, T_BIT, &[]));
        }
    }

    /// Nobody has the port of an INIT.
    pub(super) fn answer_init_to_nobody(
        &mut self,
        now: Time,
        datagram: &Datagram<'_>,
        header: &Header,
        causes: &[Cause<'_>],
    ) {
        if self.may_answer(now, datagram, header.source) {
            self.reply_causes(datagram, *header, kind::ABORT, 0, causes);
        }
    }

    /// Whether a packet of no association is answered: not too often; and on raw IP, where other processes
    /// may have the port, only if we hold it or speak for all.
    pub(super) fn may_answer(&mut self, now: Time, datagram: &Datagram<'_>, local_port: u16) -> bool {
        let is_alone = datagram.encap_port.is_some() || self.config.answers_for_nobody;
        if !is_alone && !self.endpoints.has_port(local_port) {
            return false;
        }
        let allowed = self.ootb_limit.allow(now);
        if allowed {
            self.stats.ootb_replies += 1;
        } else {
            self.stats.rate_limited += 1;
        }
        allowed
    }
}

/// The header of an answer that carries the tag it came with.
fn reflect(header: &Header) -> Header {
    Header { source: header.destination, destination: header.source, tag: header.tag }
}
