//! Parameters of associations and paths as programs give them and are told; and what the stack makes of them.

use crate::sysctl::Sysctl;
use esock_io::kernel::constants as c;
use esock_proto::{Config, PathParameters, PathStats};
use std::time::Duration;

/// Pairs of flags of which one is always set.
pub(super) const HEARTBEAT: u32 = c::SPP_HB_ENABLE | c::SPP_HB_DISABLE;
/// See `HEARTBEAT`.
pub(super) const PMTUD: u32 = c::SPP_PMTUD_ENABLE | c::SPP_PMTUD_DISABLE;
/// See `HEARTBEAT`.
pub(super) const SACK_DELAY: u32 = c::SPP_SACKDELAY_ENABLE | c::SPP_SACKDELAY_DISABLE;

/// The largest packet that is asked for is at least this.
const LEAST_MTU: u32 = 576;
/// As many packets at once as no window holds: Max.Burst is off.
const NO_BURST_LIMIT: u32 = 1 << 14;

/// What of an association, or of those to come, can be changed while it lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// SCTP_RTOINFO, in milliseconds.
    pub rto_initial: u32,
    /// See `rto_initial`.
    pub rto_max: u32,
    /// See `rto_initial`.
    pub rto_min: u32,
    /// SCTP_ASSOCINFO.
    pub max_retrans: u16,
    /// See `max_retrans`; in milliseconds.
    pub cookie_life: u32,
    /// SCTP_MAX_BURST; 0 is no limit.
    pub max_burst: u32,
    /// SCTP_DELAYED_SACK.
    pub sack_frequency: u32,
    /// SCTP_MAXSEG; 0 is what a packet takes.
    pub max_segment: u32,
    /// SCTP_EXPOSE_POTENTIALLY_FAILED_STATE.
    pub expose_failing: u32,
    /// Of paths that have none of their own.
    pub path: PathSettings,
}

/// What of a path can be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSettings {
    /// SCTP_PEER_ADDR_PARAMS; in milliseconds.
    pub heartbeat: u32,
    /// Errors in a row that make a path inactive.
    pub max_retrans: u16,
    /// 0 is what is found out.
    pub mtu: u32,
    /// In milliseconds.
    pub sack_delay: u32,
    /// Which of heartbeats, path MTU discovery and delayed SACKs are on.
    pub flags: u32,
    /// Kept and told: what is below SCTP is not ours to mark.
    pub flow_label: Option<u32>,
    /// See `flow_label`.
    pub dscp: Option<u8>,
    /// SCTP_PEER_ADDR_THLDS.
    pub failing_after: u16,
    /// SCTP_PEER_ADDR_THLDS_V2: kept and told.
    pub switch_after: u16,
    /// SCTP_PLPMTUD_PROBE_INTERVAL, in milliseconds: 0 is no probes; otherwise the stack has intervals of its own.
    pub probe_interval: u32,
}

impl Parameters {
    /// What a socket begins with.
    pub fn new(sysctl: &Sysctl) -> Self {
        let word = |name| u32::try_from(sysctl.get(name)).unwrap_or(u32::MAX);
        let short = |name| u16::try_from(sysctl.get(name)).unwrap_or(u16::MAX);
        Self {
            rto_initial: word("rto_initial"),
            rto_max: word("rto_max"),
            rto_min: word("rto_min"),
            max_retrans: short("association_max_retrans"),
            cookie_life: word("valid_cookie_life"),
            max_burst: word("max_burst"),
            sack_frequency: 2,
            max_segment: 0,
            expose_failing: word("pf_expose"),
            path: PathSettings {
                heartbeat: word("hb_interval"),
                max_retrans: short("path_max_retrans"),
                mtu: 0,
                sack_delay: word("sack_timeout"),
                flags: c::SPP_HB_ENABLE | c::SPP_PMTUD_ENABLE | c::SPP_SACKDELAY_ENABLE,
                flow_label: None,
                dscp: None,
                failing_after: short("pf_retrans"),
                switch_after: short("ps_retrans"),
                probe_interval: word("plpmtud_probe_interval"),
            },
        }
    }

    /// Puts them into the stack's configuration, as near as it allows.
    pub fn apply(&self, config: &mut Config) {
        let day = 24 * 3600 * 1000;
        let millis = |time: u32| Duration::from_millis(u64::from(time.min(day)));
        config.rto_min = millis(self.rto_min.max(1));
        config.rto_max = millis(self.rto_max).max(config.rto_min);
        config.rto_initial = millis(self.rto_initial).clamp(config.rto_min, config.rto_max);
        config.assoc_max_retrans = u32::from(self.max_retrans);
        config.cookie_life = millis(self.cookie_life.clamp(1, 600_000));
        config.max_burst = if self.max_burst == 0 { NO_BURST_LIMIT } else { self.max_burst.min(NO_BURST_LIMIT) };
        config.max_segment = self.max_segment as usize;
        config.sack_delay = millis(self.path.sack_delay.min(500));
        config.sack_frequency = if self.path.delays_sacks() { self.sack_frequency.max(1) } else { 1 };
        config.heartbeat_interval = self.path.heartbeat_interval();
        config.path_max_retrans = Some(u32::from(self.path.max_retrans));
        config.pf_threshold = config.pf_threshold.map(|_| u32::from(self.path.failing_after));
        config.pmtud = self.path.probes_mtu();
        if let Some(mtu) = self.path.fixed_mtu() {
            config.initial_mtu = mtu;
            config.max_mtu = config.max_mtu.max(mtu);
        }
    }
}

impl PathSettings {
    pub(super) fn delays_sacks(&self) -> bool {
        self.flags & c::SPP_SACKDELAY_DISABLE == 0
    }

    fn discovers_mtu(&self) -> bool {
        self.flags & c::SPP_PMTUD_DISABLE == 0
    }

    /// As Linux, with probes only if there is an interval for them; else packets are as large as the host's route says.
    fn probes_mtu(&self) -> bool {
        self.discovers_mtu() && self.probe_interval != 0
    }

    /// The path MTU that was fixed: only one that is not searched for is.
    pub(crate) fn fixed_mtu(&self) -> Option<u16> {
        let mtu = (!self.discovers_mtu() && self.mtu != 0).then_some(self.mtu)?;
        Some(u16::try_from(mtu.max(LEAST_MTU)).unwrap_or(u16::MAX))
    }

    /// What programs are told of a path's MTU: chunks are multiples of four (RFC 9260 §3.2), so packets that fill it are.
    pub(super) fn told_mtu(&self, path: &PathStats) -> u32 {
        u32::from(if self.fixed_mtu() == Some(path.mtu) { path.mtu } else { path.mtu & !3 })
    }

    fn heartbeat_interval(&self) -> Option<Duration> {
        let on = self.flags & c::SPP_HB_DISABLE == 0;
        let day = 24 * 3600 * 1000;
        on.then(|| Duration::from_millis(u64::from(self.heartbeat.min(day))))
    }

    /// For a path of the stack that is there; whether the state "potentially failed" is in use at all is not a
    /// path's matter.
    pub(super) fn for_stack(&self, now: &PathStats, detects_failing: bool) -> PathParameters {
        let mut parameters = PathParameters::default();
        parameters.heartbeat_interval = Some(self.heartbeat_interval());
        parameters.path_max_retrans = Some(Some(u32::from(self.max_retrans)));
        parameters.pf_threshold = detects_failing.then_some(Some(u32::from(self.failing_after)));
        parameters.pmtud = Some(self.probes_mtu());
        parameters.mtu = self.fixed_mtu().filter(|mtu| *mtu != now.mtu);
        parameters
    }
}
