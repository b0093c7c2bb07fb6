//! Paths: one per peer address, each with its own timeout, window, MTU and error count.

pub mod congestion;
mod failover;
mod heartbeat;
pub mod log;
mod pacing;
mod pmtud;
mod rto;
mod select;

use crate::api::PathState;
use crate::config::Config;
use crate::serial::Tsn;
use crate::stats::{PathParameters, PathStats};
use crate::time::{Time, earliest};
use crate::transmit::Local;
use crate::types::{Address, PathId};
use crate::wire::{DATA_HEADER_BYTES, HEADER_BYTES};
use congestion::{CongestionControl, Controller};
pub use heartbeat::{Beat, BeatKind, Beats};
use log::Log;
use pacing::Pacer;
use pmtud::Pmtud;
use rto::Rto;
use std::time::Duration;

/// A peer's address, and what we know of the way there.
#[derive(Debug)]
pub struct Path {
    pub id: PathId,
    pub remote: Address,
    pub local: Local,
    pub encap_port: Option<u16>,
    pub state: PathState,
    /// RFC 9260 §5.4: the user named it, a cookie came back from it, or a nonce did. Until then it gets
    /// nothing but probes, whatever becomes of its state.
    pub confirmed: bool,
    pub rto: Rto,
    pub congestion: Controller,
    pub pmtud: Pmtud,
    pub beats: Beats,
    /// Bytes of DATA chunks in flight, header and padding included (RFC 9260 §7.2), last sent over this path.
    pub flight: usize,
    /// T3-rtx expired, and nothing sent since was acknowledged: one packet at a time (RFC 9260 §7.2.3).
    pub one_packet: bool,
    /// Errors in a row (RFC 9260 §8.2).
    pub error_count: u32,
    /// T3-rtx.
    pub t3: Option<Time>,
    /// The chunk whose acknowledgement measures the round-trip time (RFC 9260 §6.3.1 C4), and when it was sent.
    pub rtt_probe: Option<(Tsn, Time)>,
    /// When data was last sent.
    pub last_data: Time,
    /// Bytes in flight up to which the current event may send (RFC 9260 §6.1 D: what was in flight
    /// and Max.Burst packets). It ends with the event: what was not used is not saved up.
    pub burst_limit: usize,
    pub heartbeat_interval: Option<Duration>,
    pub path_max_retrans: Option<u32>,
    pub pf_threshold: Option<u32>,
    pub data_packets_sent: u64,
    pub packets_received: u64,
    pub bytes_sent: u64,
    pub sack: SackScratch,
    /// What left when, if somebody asks for it.
    pub log: Option<Box<Log>>,
    /// Its pace, if it has one.
    pub pacer: Option<Box<Pacer>>,
}

/// What one SACK says about a path, gathered while it is walked.
#[derive(Debug, Default, Clone, Copy)]
pub struct SackScratch {
    pub acked_bytes: usize,
    pub acked_chunks: u32,
    /// The earliest outstanding chunk of the path was acknowledged (§6.3.2 R3).
    pub earliest: bool,
    /// The lowest offset newly acknowledged by a gap block.
    pub lowest_gap: Option<usize>,
    pub flight_before: usize,
    /// One past the highest newly acknowledged offset (§7.2.4: HTNA).
    pub highest: usize,
    pub lost: bool,
    /// A loss was made good by the probe that was to find it.
    pub repaired: bool,
    pub unambiguous: bool,
}

/// Bytes of a UDP header.
const UDP_HEADER_BYTES: usize = 8;

/// Bytes of headers below SCTP.
fn lower_headers(remote: Address, encap_port: Option<u16>) -> usize {
    remote.ip_header_bytes() + if encap_port.is_some() { UDP_HEADER_BYTES } else { 0 }
}

/// Largest DATA chunk, header included, of a packet of this size, IP header included.
fn pmdcs(mtu: u16, remote: Address, encap_port: Option<u16>) -> usize {
    let packet = usize::from(mtu).saturating_sub(lower_headers(remote, encap_port)) & !3;
    packet.saturating_sub(HEADER_BYTES).max(DATA_HEADER_BYTES + 4)
}

impl Path {
    pub fn new(id: PathId, remote: Address, local: Local, encap_port: Option<u16>, config: &Config, now: Time) -> Self {
        let base = if remote.is_ipv4() { 1200 } else { 1280 };
        let initial = match config.initial_mtu {
            0 if remote.is_ipv4() => 1400,
            0 => 1280,
            mtu => mtu,
        };
        let pmtud = Pmtud::new(initial.min(config.max_mtu), base, config.max_mtu);
        Self {
            id,
            remote,
            local,
            encap_port,
            state: PathState::Unconfirmed,
            confirmed: false,
            rto: Rto::new(config),
            congestion: Controller::new(config, pmdcs(pmtud.mtu(), remote, encap_port), remote.is_ipv4()),
            pmtud,
            beats: Beats::default(),
            flight: 0,
            one_packet: false,
            error_count: 0,
            t3: None,
            rtt_probe: None,
            last_data: now,
            burst_limit: 0,
            heartbeat_interval: config.heartbeat_interval,
            path_max_retrans: config.path_max_retrans,
            pf_threshold: config.pf_threshold,
            data_packets_sent: 0,
            packets_received: 0,
            bytes_sent: 0,
            sack: SackScratch::default(),
            log: config.needs_log().then(|| Box::new(Log::new(now))),
            pacer: config.is_paced().then(Box::default),
        }
    }

    /// Bytes of headers below SCTP.
    pub fn lower_headers(&self) -> usize {
        lower_headers(self.remote, self.encap_port)
    }

    /// Largest SCTP packet, a multiple of four.
    pub fn max_packet(&self) -> usize {
        HEADER_BYTES + self.pmdcs()
    }

    /// Largest DATA chunk, header included (the RFC's PMDCS).
    pub fn pmdcs(&self) -> usize {
        pmdcs(self.pmtud.mtu(), self.remote, self.encap_port)
    }

    /// Largest payload of a DATA chunk.
    pub fn max_payload(&self) -> usize {
        self.pmdcs() - DATA_HEADER_BYTES
    }

    pub fn cwnd(&self) -> usize {
        self.congestion.cwnd()
    }

    /// Whether its pace lets nothing leave now.
    pub fn is_held(&self) -> bool {
        self.pacer.as_ref().is_some_and(|pacer| pacer.is_blocked())
    }

    /// Whether the congestion window has room for another packet.
    pub fn has_window(&self) -> bool {
        self.flight < self.cwnd() && !(self.one_packet && self.flight > 0)
    }

    /// Whether §6.1 B lets new data go over this path now.
    pub fn has_room(&self) -> bool {
        // With nothing in flight no SACK would come that allows more: one packet may always leave. Paced data
        // does not come in bursts.
        let burst = self.flight < self.burst_limit || self.flight == 0 || self.pacer.is_some();
        self.has_window() && burst && !self.is_held()
    }

    /// A chunk of so many bytes leaves. Returns its serial in the log.
    pub fn on_chunk_sent(&mut self, now: Time, tsn: Tsn, bytes: usize) -> u32 {
        if let Some(rate) = self.pacing_rate() {
            let pmdcs = self.pmdcs();
            if let Some(pacer) = &mut self.pacer {
                pacer.on_sent(now, bytes, rate, pmdcs);
            }
        }
        let idle = self.flight == 0;
        self.log.as_mut().map_or(0, |log| log.on_sent(now, tsn, idle))
    }

    /// Bytes of chunks a second at which data leaves, if it is paced and the path is known.
    fn pacing_rate(&self) -> Option<u64> {
        self.pacer.as_ref()?;
        let srtt = self.rto.srtt().filter(|srtt| !srtt.is_zero())?;
        Some(self.congestion.pacing_rate().unwrap_or_else(|| {
            // Faster than the window itself, so that the window and not the pace is the limit; in slow start, so
            // that it can double.
            let gain = if self.cwnd() < self.congestion.ssthresh() / 2 { 2.0 } else { 1.2 };
            (gain * self.cwnd() as f64 / srtt.as_secs_f64()) as u64
        }))
    }

    /// An event allows Max.Burst packets beyond `flight`.
    pub fn allow_burst(&mut self, flight: usize, max_burst: u32) {
        self.burst_limit = self.burst_limit.max(flight + max_burst as usize * self.pmdcs());
    }

    /// T3-rtx after data left or was acknowledged (RFC 9260 §6.3.2): runs while data is in flight, and
    /// begins anew when the earliest was acknowledged.
    pub fn update_t3(&mut self, now: Time, restart: bool) {
        if self.flight == 0 {
            self.t3 = None;
        } else if restart || self.t3.is_none() {
            self.t3 = Some(now + self.rto.current());
        }
    }

    /// The peer uses another encapsulation now; headers, and so the largest packet, change with it.
    pub fn change_encapsulation(&mut self, encap_port: Option<u16>) {
        let old = self.pmdcs();
        self.encap_port = encap_port;
        let new = self.pmdcs();
        if old != new {
            self.congestion.on_pmdcs(old, new);
        }
    }

    /// Changes the path MTU by `change`, and tells congestion control.
    pub fn change_mtu<T>(&mut self, change: impl FnOnce(&mut Pmtud) -> T) -> T {
        let old = self.pmdcs();
        let out = change(&mut self.pmtud);
        let new = self.pmdcs();
        if old != new {
            self.congestion.on_pmdcs(old, new);
        }
        out
    }

    /// The peer has answered and has this address: the path begins, with what was measured until now and what the user
    /// has set.
    pub fn begin(&mut self, id: PathId, local: Local, encap_port: Option<u16>, now: Time) {
        (self.id, self.local) = (id, local);
        self.change_encapsulation(encap_port);
        self.error_count = 0;
        self.rtt_probe = None;
        self.last_data = now;
    }

    pub fn set_parameters(&mut self, parameters: PathParameters) {
        if let Some(interval) = parameters.heartbeat_interval {
            self.heartbeat_interval = interval;
        }
        if let Some(retries) = parameters.path_max_retrans {
            self.path_max_retrans = retries;
        }
        if let Some(threshold) = parameters.pf_threshold {
            self.pf_threshold = threshold;
        }
        if parameters.pmtud == Some(false) {
            self.change_mtu(Pmtud::hold);
        }
        if let Some(mtu) = parameters.mtu {
            self.change_mtu(|pmtud| pmtud.fix(mtu.max(576)));
        }
        if let Some(port) = parameters.encap_port {
            self.change_encapsulation(port);
        }
    }

    /// The earliest of its timers.
    pub fn deadline(&self) -> Option<Time> {
        let log = self.log.as_ref().and_then(|log| log.deadline());
        let pace = self.pacer.as_ref().and_then(|pacer| pacer.deadline());
        earliest([self.t3, self.beats.deadline(), self.pmtud.deadline(), log, pace])
    }

    pub fn stats(&self, primary: bool) -> PathStats {
        PathStats {
            id: self.id,
            remote: self.remote,
            local: self.local.address,
            encap_port: self.encap_port,
            state: self.state,
            primary,
            srtt: self.rto.srtt(),
            rttvar: self.rto.rttvar(),
            rto: self.rto.current(),
            cwnd: self.cwnd(),
            ssthresh: self.congestion.ssthresh(),
            in_flight: self.flight,
            mtu: self.pmtud.mtu(),
            error_count: self.error_count,
            data_packets_sent: self.data_packets_sent,
            packets_received: self.packets_received,
            bytes_sent: self.bytes_sent,
        }
    }
}

/// All paths of an association.
#[derive(Debug)]
pub struct Paths {
    pub list: Vec<Path>,
    /// Index of the primary path.
    pub primary: usize,
    /// Index of the path that carries new data.
    pub current: usize,
}

impl Paths {
    pub fn get(&self, id: PathId) -> Option<&Path> {
        self.list.get(usize::from(id.0))
    }

    pub fn get_mut(&mut self, id: PathId) -> Option<&mut Path> {
        self.list.get_mut(usize::from(id.0))
    }

    /// The path to `remote`; the last one used first, as packets come in runs.
    pub fn by_remote(&self, remote: Address) -> Option<usize> {
        if self.list.get(self.current).is_some_and(|path| path.remote == remote) {
            return Some(self.current);
        }
        self.list.iter().position(|path| path.remote == remote)
    }

    /// The largest DATA chunk, header included, that every path takes (the RFC's AMDCS, §7.3): what is cut to it can
    /// be sent again over any of them. An address that is not confirmed carries no data.
    pub fn amdcs(&self) -> usize {
        let carries = |path: &&Path| path.state != PathState::Unconfirmed;
        self.list.iter().filter(carries).map(Path::pmdcs).min().unwrap_or(usize::MAX)
    }

    pub fn deadline(&self) -> Option<Time> {
        self.list.iter().filter_map(Path::deadline).min()
    }
}
