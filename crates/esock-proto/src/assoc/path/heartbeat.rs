//! Heartbeats (RFC 9260 §8.3): they confirm a path, watch it when it is idle, and probe its MTU.

use super::Path;
use crate::api::PathState;
use crate::time::{Time, earliest};
use crate::types::PathId;
use std::time::Duration;

/// Bytes of the information that we put into a HEARTBEAT: path and nonce.
pub const BEAT_BYTES: usize = 12;

/// What a HEARTBEAT asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatKind {
    /// Is the peer there?
    Alive,
    /// Do packets of this size (bytes of IP packet) pass?
    Mtu(u16),
}

/// A HEARTBEAT that has not been answered.
#[derive(Debug, Clone, Copy)]
pub struct Beat {
    pub kind: BeatKind,
    /// RFC 9260 §5.4: 64 random bits.
    pub nonce: u64,
    pub sent: Time,
    pub expires: Time,
}

/// The heartbeats of one path.
#[derive(Debug, Default)]
pub struct Beats {
    /// When the next one is due; `None` while heartbeats are off.
    pub next: Option<Time>,
    pub alive: Option<Beat>,
    /// Rare: it has no room of its own in every path.
    pub mtu: Option<Box<Beat>>,
}

impl Beats {
    pub fn deadline(&self) -> Option<Time> {
        earliest([self.next, self.alive.map(|beat| beat.expires), self.mtu.as_ref().map(|beat| beat.expires)])
    }

    /// Notes that a HEARTBEAT leaves.
    pub fn on_sent(&mut self, beat: Beat) {
        match beat.kind {
            BeatKind::Alive => self.alive = Some(beat),
            BeatKind::Mtu(_) => self.mtu = Some(Box::new(beat)),
        }
    }

    /// The HEARTBEAT that this answer belongs to: each answers once.
    pub fn take(&mut self, nonce: u64) -> Option<Beat> {
        if self.alive.is_some_and(|beat| beat.nonce == nonce) {
            self.alive.take()
        } else {
            self.mtu.take_if(|beat| beat.nonce == nonce).map(|beat| *beat)
        }
    }

    pub fn stop(&mut self) {
        *self = Self::default();
    }
}

impl Path {
    /// Sets the time of the next HEARTBEAT. `jitter` is uniform in 0..1.
    pub fn schedule_heartbeat(&mut self, now: Time, jitter: f64) {
        let rto = self.rto.current();
        self.beats.next = match self.state {
            // RFC 9260 §5.4: an unconfirmed address is probed once per RTO.
            PathState::Unconfirmed => Some(now + rto.mul_f64(0.5 + jitter)),
            // RFC 7829 §3.2: a potentially failed path too; but where heartbeats are off, none are sent (RFC 9260
            // §11.1.9, and Linux): data alone brings it back.
            PathState::PotentiallyFailed => self.heartbeat_interval.map(|_| now + rto.mul_f64(0.5 + jitter)),
            // One that failed before it was confirmed has nothing else to come back by: at the normal rate, even
            // where heartbeats are off.
            PathState::Inactive if !self.confirmed => {
                Some(now + self.heartbeat_interval.unwrap_or_default() + rto.mul_f64(0.5 + jitter))
            }
            // RFC 9260 §8.3: HB.interval + RTO, with a jitter of ±50% of RTO.
            PathState::Active | PathState::Inactive => {
                self.heartbeat_interval.map(|interval| now + interval + rto.mul_f64(0.5 + jitter))
            }
        };
    }

    /// Whether data does what a HEARTBEAT would (§8.3: the path is not idle): it is in flight, watched by
    /// T3-rtx, or has measured the path lately.
    pub fn is_busy(&self, now: Time) -> bool {
        let lately = self.state == PathState::Active
            && self.heartbeat_interval.is_some_and(|interval| now.since(self.last_data) < interval)
            && self.data_packets_sent > 0;
        self.flight > 0 || lately
    }

    /// Makes the information of a HEARTBEAT.
    pub fn beat_info(id: PathId, nonce: u64) -> [u8; BEAT_BYTES] {
        let mut info = [0; BEAT_BYTES];
        info[..2].copy_from_slice(&id.0.to_be_bytes());
        info[4..].copy_from_slice(&nonce.to_be_bytes());
        info
    }

    /// Reads it back from an answer.
    pub fn parse_beat_info(info: &[u8]) -> Option<(PathId, u64)> {
        // Between them there is nothing, and nothing else comes back.
        let info: &[u8; BEAT_BYTES] = info.try_into().ok().filter(|info: &&[u8; BEAT_BYTES]| info[2..4] == [0; 2])?;
        let nonce = u64::from_be_bytes(info[4..].try_into().ok()?);
        Some((PathId(u16::from_be_bytes([info[0], info[1]])), nonce))
    }

    /// How long an answer may take.
    pub fn beat_timeout(&self) -> Duration {
        self.rto.current()
    }
}
