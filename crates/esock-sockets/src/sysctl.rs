//! Linux's `net.sctp.*`, by the same names and with the same meaning: what sockets begin with.

use esock_proto::{Config, Preset};
use std::fmt;
use std::time::Duration;

/// The settings of one engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Sysctl {
    values: Vec<(&'static str, i64)>,
}

/// A setting that is not there, or a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlError {
    given: String,
    problem: String,
}

/// A setting: its name, what it begins with, and what it may be.
struct Known(&'static str, i64, i64, i64);

const DAY_MS: i64 = 24 * 3600 * 1000;
const HEADROOM: i64 = i32::MAX as i64;
/// In seconds: as many ticks as fit into an `int` where a kernel's clock ticks 250 times a second.
const MAX_AUTOCLOSE: i64 = HEADROOM / 250;

/// What there is, with Linux's defaults. Extensions that the stack does not have can only be off.
const KNOWN: &[Known] = &[
    Known("rto_initial", 3000, 1, DAY_MS),
    Known("rto_min", 1000, 1, DAY_MS),
    Known("rto_max", 60_000, 1, DAY_MS),
    Known("rto_alpha_exp_divisor", 3, 3, 3),
    Known("rto_beta_exp_divisor", 2, 2, 2),
    Known("hb_interval", 30_000, 1, DAY_MS),
    Known("sack_timeout", 200, 1, 500),
    Known("valid_cookie_life", 60_000, 1, 600_000),
    Known("cookie_preserve_enable", 1, 0, 1),
    Known("max_burst", 4, 0, 128),
    Known("max_autoclose", MAX_AUTOCLOSE, 0, MAX_AUTOCLOSE),
    Known("association_max_retrans", 10, 1, HEADROOM),
    Known("path_max_retrans", 5, 1, HEADROOM),
    Known("max_init_retransmits", 8, 1, HEADROOM),
    Known("pf_enable", 1, 0, 1),
    Known("ps_retrans", 0xffff, 0, 0xffff),
    Known("pf_expose", 0, 0, 2),
    Known("pf_retrans", 0, 0, 0xffff),
    Known("rwnd_update_shift", 4, 1, 16),
    Known("sndbuf_policy", 0, 0, 1),
    Known("rcvbuf_policy", 0, 0, 1),
    Known("default_auto_asconf", 0, 0, 0),
    Known("addip_enable", 0, 0, 0),
    Known("addip_noauth_enable", 0, 0, 0),
    Known("addr_scope_policy", 1, 1, 1),
    Known("auth_enable", 0, 0, 0),
    Known("prsctp_enable", 0, 0, 0),
    Known("reconf_enable", 0, 0, 0),
    Known("intl_enable", 0, 0, 0),
    Known("ecn_enable", 0, 0, 0),
    Known("plpmtud_probe_interval", 0, 0, DAY_MS),
    Known("udp_port", 0, 0, 65535),
    Known("encap_port", 0, 0, 65535),
    Known("rmem_default", 212_992, 2304, HEADROOM),
    Known("wmem_default", 212_992, 4608, HEADROOM),
    Known("rmem_max", 4_194_304, 2304, HEADROOM),
    Known("wmem_max", 4_194_304, 4608, HEADROOM),
];

impl Default for Sysctl {
    fn default() -> Self {
        Self { values: KNOWN.iter().map(|known| (known.0, known.1)).collect() }
    }
}

impl Sysctl {
    /// Takes `net.sctp.NAME=VALUE`, as `sysctl -w` does; `net.sctp.` may be left out, and `/` stand for dots.
    pub fn set(&mut self, setting: &str) -> Result<(), SysctlError> {
        let fail = |problem: String| SysctlError { given: setting.to_owned(), problem };
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| fail("must be NAME=VALUE, as in net.sctp.rto_initial=1000".into()))?;
        let name = name.trim().replace('/', ".");
        let name = name.strip_prefix("net.sctp.").unwrap_or(&name);
        let known = KNOWN.iter().find(|known| known.0 == name).ok_or_else(|| {
            fail(format!("there is no setting {name}: see Linux's ip-sysctl, net.sctp, for those that there are"))
        })?;
        let value: i64 = value.trim().parse().map_err(|_| fail(format!("{value} is not a number")))?;
        if !(known.2..=known.3).contains(&value) {
            let range = if known.2 == known.3 {
                format!("can only be {} here", known.2)
            } else {
                format!("must be {} to {}", known.2, known.3)
            };
            return Err(fail(range));
        }
        if let Some(place) = self.values.iter_mut().find(|(at, _)| *at == known.0) {
            place.1 = value;
        }
        Ok(())
    }

    /// Takes the timers of a preset.
    pub fn apply_preset(&mut self, preset: Preset) {
        let config = preset.config();
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let mut put = |name, value| {
            if let Some(place) = self.values.iter_mut().find(|(at, _)| *at == name) {
                place.1 = value;
            }
        };
        put("rto_initial", millis(config.rto_initial));
        put("rto_min", millis(config.rto_min));
        put("rto_max", millis(config.rto_max));
        put("hb_interval", config.heartbeat_interval.map_or(DAY_MS, millis));
        put("sack_timeout", millis(config.sack_delay));
        put("path_max_retrans", config.path_max_retrans.map_or(HEADROOM, i64::from));
        put("association_max_retrans", i64::from(config.assoc_max_retrans));
        put("max_init_retransmits", i64::from(config.max_init_retransmits));
    }

    /// The value of a setting that there is.
    pub fn get(&self, name: &str) -> i64 {
        self.values.iter().find(|(at, _)| *at == name).map_or(0, |(_, value)| *value)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.get(name).cast_unsigned())
    }

    fn count(&self, name: &str) -> u32 {
        u32::try_from(self.get(name)).unwrap_or(u32::MAX)
    }

    /// What an association begins with that no option has changed.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.rto_initial = self.millis("rto_initial");
        config.rto_min = self.millis("rto_min");
        config.rto_max = self.millis("rto_max");
        config.heartbeat_interval = Some(self.millis("hb_interval"));
        config.sack_delay = self.millis("sack_timeout");
        config.cookie_life = self.millis("valid_cookie_life");
        config.max_burst = self.count("max_burst").max(1);
        config.assoc_max_retrans = self.count("association_max_retrans");
        config.path_max_retrans = Some(self.count("path_max_retrans"));
        config.max_init_retransmits = self.count("max_init_retransmits");
        config.pf_threshold = (self.get("pf_enable") != 0).then(|| self.count("pf_retrans"));
        (config.strict, config.probe_at_once, config.patient) = (true, true, true);
        // The host's routes say how large packets may be, as on Linux: on loopback as large as there are.
        config.max_mtu = u16::MAX;
        config.preset = Preset::default();
        config
    }
}

impl fmt::Display for SysctlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.given, self.problem)
    }
}

impl std::error::Error for SysctlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_by_linuxs_names() {
        let mut sysctl = Sysctl::default();
        sysctl.set("net.sctp.rto_initial=1000").unwrap();
        sysctl.set("net/sctp/hb_interval = 5000").unwrap();
        sysctl.set("path_max_retrans=2").unwrap();
        let config = sysctl.config();
        assert_eq!(config.rto_initial, Duration::from_secs(1));
        assert_eq!(config.heartbeat_interval, Some(Duration::from_secs(5)));
        assert_eq!(config.path_max_retrans, Some(2));
        config.validate().unwrap();
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        let mut sysctl = Sysctl::default();
        let mut problem = |setting: &str| sysctl.set(setting).unwrap_err().to_string();
        assert_eq!(problem("net.sctp.auth_enable=1"), "`net.sctp.auth_enable=1`: can only be 0 here");
        assert!(problem("net.sctp.nothing=1").contains("there is no setting nothing"));
        assert!(problem("rto_min=fast").contains("fast is not a number"));
        assert!(problem("rto_min").contains("NAME=VALUE"));
    }
}
