//! When to acknowledge (RFC 9260 §6.2).

use super::Rx;
use crate::serial::Tsn;
use crate::time::Time;
use crate::wire::{PacketBuilder, SACK_FIXED_BYTES, kind};
use std::time::Duration;

/// The delayed acknowledgement.
#[derive(Debug, Default)]
pub struct Ack {
    /// Packets with data since the last SACK.
    packets: u32,
    /// A SACK leaves with the next packet.
    due: bool,
    /// When one leaves at the latest.
    pub deadline: Option<Time>,
    /// The path that data came over last, and whether duplicates did (§6.4: another one is better then).
    pub source: u16,
    pub avoid_source: bool,
    pub sent: u64,
}

/// What a packet contained, as far as acknowledging goes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Arrival {
    pub data: bool,
    pub duplicates: bool,
    pub immediate: bool,
    pub dropped: bool,
    /// There were gaps before or there are now.
    pub gaps: bool,
}

impl Ack {
    /// A packet with DATA came over path `source`.
    pub fn on_packet(&mut self, now: Time, arrival: Arrival, source: usize, frequency: u32, delay: Duration) {
        self.packets += 1;
        self.source = source as u16;
        self.avoid_source = arrival.duplicates;
        // §6.2: at once for every second packet, for duplicates alone, while there are gaps (§7.2.4),
        // for the I bit (RFC 7053), and for what there was no room for.
        // §5.1: the very first one is acknowledged at once.
        let first = self.sent == 0;
        let at_once = first || arrival.duplicates || arrival.gaps || arrival.immediate || arrival.dropped;
        if at_once || self.packets >= frequency || delay.is_zero() {
            self.due = true;
        } else if self.deadline.is_none() {
            self.deadline = Some(now + delay);
        }
    }

    /// A SACK has to leave.
    pub fn force(&mut self) {
        self.due = true;
    }

    pub fn on_timer(&mut self, now: Time) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.due = true;
        }
    }

    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Whether a SACK is worth bundling with data.
    pub fn is_pending(&self) -> bool {
        self.due || self.packets > 0
    }

    /// Whether data came that no SACK and no timer is going to acknowledge: that must not be.
    pub fn is_forgotten(&self) -> bool {
        self.packets > 0 && !self.due && self.deadline.is_none()
    }

    /// Writes a SACK: as many gap blocks and duplicates as there is room for. Returns whether it was written.
    pub fn write(&mut self, rx: &mut Rx, packet: &mut PacketBuilder<'_>, reserve: usize) -> bool {
        let Some(room) = packet.room().checked_sub(SACK_FIXED_BYTES + reserve) else { return false };
        let gaps: usize = if rx.map.has_gaps() { rx.map.gaps(room / 4).count() } else { 0 };
        let duplicates = rx.map.duplicates().min(room / 4 - gaps);
        let a_rwnd = rx.a_rwnd();
        packet.open(kind::SACK, 0);
        packet.put_u32(rx.map.cumulative().0);
        packet.put_u32(a_rwnd as u32);
        packet.put_u16(gaps as u16);
        packet.put_u16(duplicates as u16);
        for gap in rx.map.gaps(gaps) {
            packet.put_u16(gap.start);
            packet.put_u16(gap.end);
        }
        if rx.map.duplicates() > 0 {
            rx.map.take_duplicates().into_iter().take(duplicates).for_each(|Tsn(tsn)| packet.put_u32(tsn));
        }
        packet.close();
        rx.on_announced(a_rwnd);
        self.packets = 0;
        self.due = false;
        self.deadline = None;
        self.sent += 1;
        true
    }
}
