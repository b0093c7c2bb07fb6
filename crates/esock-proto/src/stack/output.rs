//! What leaves the stack: replies that belong to no association, then the associations in turn.

use super::Stack;
use crate::assoc::Cx;
use crate::time::Time;
use crate::transmit::{Datagram, Transmit};
use crate::types::AssocId;
use crate::wire::{Cause, Header, PacketBuilder};
use std::collections::VecDeque;

/// Replies that wait to be sent; more are dropped, the peer tries again.
pub(super) const MAX_REPLIES: usize = 512;

/// A reply of so many bytes fits any path, with the headers below it: an IPv4 host takes 576 in one piece at the least. Larger
/// ones may be fragmented, which is asked of the system for each.
pub(super) const FITS_ANY_PATH: usize = 512;

/// Packets that belong to no association.
#[derive(Debug, Default)]
pub struct Replies {
    queue: VecDeque<(Transmit, Vec<u8>)>,
    /// One has just left: an association is next. A flood of what has to be answered keeps nobody from sending.
    had_turn: bool,
}

#[cfg(feature = "fuzzing")]
impl Replies {
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

impl Stack {
    /// Sends one packet back to where `datagram` came from.
    pub(super) fn reply(
        &mut self,
        datagram: &Datagram<'_>,
        header: Header,
        size: usize,
        write: impl FnOnce(&mut PacketBuilder<'_>),
    ) {
        let mut data = vec![0; size];
        let mut packet = PacketBuilder::new(&mut data, header);
        write(&mut packet);
        let size = packet.finish();
        data.truncate(size);
        let transmit = Transmit {
            local: datagram.local,
            remote: datagram.remote,
            encap_port: datagram.encap_port,
            ecn: None,
            size,
            segment_size: None,
            dont_fragment: size <= FITS_ANY_PATH,
        };
        self.queue_reply(transmit, data);
    }

    fn queue_reply(&mut self, transmit: Transmit, data: Vec<u8>) {
        if self.replies.queue.len() < MAX_REPLIES {
            self.replies.queue.push_back((transmit, data));
        } else {
            self.stats.rate_limited += 1;
        }
    }

    /// Sends an ABORT or ERROR with causes.
    pub(super) fn reply_causes(
        &mut self,
        datagram: &Datagram<'_>,
        header: Header,
        kind: u8,
        flags: u8,
        causes: &[Cause<'_>],
    ) {
        self.reply(datagram, header, 1280, |packet| packet.causes(kind, flags, causes));
    }

    /// The next packets to send, written to `buf`: up to `max_segments` packets of equal size, only the last may be shorter.
    /// `None` when there is nothing to send. `buf` must hold at least 65536 bytes.
    pub fn poll_transmit(&mut self, now: Time, max_segments: usize, buf: &mut [u8]) -> Option<Transmit> {
        if !std::mem::take(&mut self.replies.had_turn)
            && let Some(transmit) = self.poll_reply(buf)
        {
            self.replies.had_turn = true;
            return Some(transmit);
        }
        while let Some(id) = self.table.next_active() {
            let Some(entry) = self.table.get_mut(id) else { continue };
            let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
            let transmit = entry.assoc.poll_transmit(&mut cx, max_segments, buf);
            if transmit.is_none() {
                self.table.settle_rest(id);
            }
            if let Some(transmit) = transmit {
                // Its turn is over; it has another behind the others.
                self.table.activate(id);
                self.stats.packets_sent += transmit.segment_size.map_or(1, |size| transmit.size.div_ceil(size)) as u64;
                return Some(transmit);
            }
        }
        self.poll_reply(buf)
    }

    fn poll_reply(&mut self, buf: &mut [u8]) -> Option<Transmit> {
        let (transmit, data) = self.replies.queue.pop_front()?;
        buf[..data.len()].copy_from_slice(&data);
        self.stats.packets_sent += 1;
        Some(transmit)
    }

    /// Whether [`Stack::poll_transmit`] may have something; may be wrong towards yes.
    pub fn wants_transmit(&self) -> bool {
        !self.replies.queue.is_empty() || self.table.has_active()
    }

    /// The same, of anybody but the association that [`Stack::poll_transmit`] has just given something of.
    pub fn others_want_transmit(&self) -> bool {
        !self.replies.queue.is_empty() || self.table.active_count() > 1
    }

    /// Whether there is nothing to send, nothing to tell and nobody to decide on. A deadline may still come.
    pub fn is_quiet(&self) -> bool {
        !self.wants_transmit() && self.events.is_empty() && self.incoming.is_empty()
    }

    /// What an association that goes still has to say.
    pub(super) fn send_last_words(&mut self, now: Time, id: AssocId) {
        let mut buf = vec![0; 2048];
        let Some(entry) = self.table.get_mut(id) else { return };
        let mut cx = Cx { now, rng: &mut self.rng, events: &mut self.events };
        let mut words = Vec::new();
        while let Some(transmit) = entry.assoc.poll_transmit(&mut cx, 1, &mut buf) {
            words.push((transmit, buf[..transmit.size].to_vec()));
        }
        words.into_iter().for_each(|(transmit, data)| self.queue_reply(transmit, data));
    }
}
