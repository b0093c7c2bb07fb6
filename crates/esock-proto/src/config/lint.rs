//! What is allowed and still will not work well.

use super::{Config, CongestionAlgorithm, LossRecovery};
use crate::types::Address;
use std::fmt;
use std::time::Duration;

/// The SACK delay that a peer is likely to have: RFC 9260 §6.2 names it, and Linux and FreeBSD use it.
const LIKELY_SACK_DELAY: Duration = Duration::from_millis(200);

/// How long a NAT keeps a UDP mapping without traffic, at least (RFC 4787 REQ-5).
const NAT_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a configuration is to work.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Surroundings {
    /// The local addresses that the user chose, each with its interface's name if that is known. Empty for all of the
    /// host's.
    pub local: Vec<(Address, Option<String>)>,
    /// How many addresses the peer has; 0 if that is not known: as many as `local`, then.
    pub peer_addresses: usize,
    /// Whether packets travel in UDP.
    pub in_udp: bool,
}

/// Something that will not work well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The field of [`Config`], or `addresses`.
    pub field: &'static str,
    /// What is wrong with it, with its value, and what to do.
    pub problem: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl Surroundings {
    fn paths(&self) -> usize {
        if self.peer_addresses > 0 { self.peer_addresses } else { self.local.len().max(1) }
    }

    fn is_loopback(&self) -> bool {
        !self.local.is_empty() && self.local.iter().all(|(address, _)| address.ip().is_loopback())
    }
}

impl Config {
    /// Says what is allowed and still will not work well, of what the user has changed: a preset's own values are
    /// taken to be wanted, and what never leaves the host to be harmless.
    pub fn lint(&self, surroundings: &Surroundings) -> Vec<Warning> {
        let base = self.preset.config();
        let checks = [
            self.lint_rto_min(&base),
            self.lint_retries(&base, surroundings.paths()),
            self.lint_heartbeats(&base, surroundings),
            self.lint_loss_recovery(),
        ];
        checks.into_iter().flatten().chain(lint_interfaces(surroundings)).collect()
    }

    fn lint_rto_min(&self, base: &Self) -> Option<Warning> {
        let likely = LIKELY_SACK_DELAY.max(self.sack_delay);
        let changed = self.rto_min != base.rto_min || self.sack_delay != base.sack_delay;
        (changed && self.rto_min <= likely).then(|| Warning {
            field: "rto_min",
            problem: format!(
                "{:?} is not above the {likely:?} that a peer may wait with a SACK (RFC 9260 §6.2): what has arrived \
                 will be sent again. Set it above that, or make sure that the peer acknowledges sooner",
                self.rto_min
            ),
        })
    }

    fn lint_retries(&self, base: &Self, paths: usize) -> Option<Warning> {
        let changed =
            self.assoc_max_retrans != base.assoc_max_retrans || self.path_max_retrans != base.path_max_retrans;
        let sum = u64::from(self.path_max_retrans?).saturating_mul(paths as u64);
        (changed && u64::from(self.assoc_max_retrans) > sum).then(|| Warning {
            field: "assoc_max_retrans",
            problem: format!(
                "{} is above {sum}, the path_max_retrans of {paths} path(s) together: the association will linger when \
                 no path is left (RFC 9260 §8.2). Set it to {sum} or less, or path_max_retrans higher",
                self.assoc_max_retrans
            ),
        })
    }

    fn lint_loss_recovery(&self) -> Option<Warning> {
        let loses = self.congestion == CongestionAlgorithm::Bbr && self.loss_recovery == LossRecovery::Rfc9260;
        loses.then(|| Warning {
            field: "loss_recovery",
            problem:
                "BBR loses much, and what is lost twice waits for a timeout (RFC 9260 §7.2.4). Set loss_recovery to \
                      rack"
                    .to_owned(),
        })
    }

    fn lint_heartbeats(&self, base: &Self, surroundings: &Surroundings) -> Option<Warning> {
        let changed = self.heartbeat_interval != base.heartbeat_interval;
        if !changed || !surroundings.in_udp || surroundings.is_loopback() {
            return None;
        }
        let problem = match self.heartbeat_interval {
            Some(interval) if interval <= NAT_TIMEOUT => return None,
            Some(interval) => format!("every {interval:?}, and"),
            None => "there are none, and".to_owned(),
        };
        Some(Warning {
            field: "heartbeat_interval",
            problem: format!(
                "{problem} packets travel in UDP: a NAT may forget an idle association after {NAT_TIMEOUT:?} (RFC 4787 \
                 REQ-5), or sooner. Set 30 s or less if there can be one"
            ),
        })
    }
}

/// Paths that fail together.
fn lint_interfaces(surroundings: &Surroundings) -> Option<Warning> {
    let local = &surroundings.local;
    local.iter().enumerate().find_map(|(number, (one, interface))| {
        let interface = interface.as_deref().filter(|_| !one.ip().is_loopback())?;
        let (other, _) = local[number + 1..].iter().find(|(_, its)| its.as_deref() == Some(interface))?;
        Some(Warning {
            field: "addresses",
            problem: format!(
                "{one} and {other} are both on the interface {interface}: paths over it fail together. Choose \
                 addresses of two interfaces"
            ),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Preset;
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;
    const SECS: fn(u64) -> Duration = Duration::from_secs;

    fn at(last: u8, interface: &str) -> (Address, Option<String>) {
        (Ipv4Addr::new(192, 0, 2, last).into(), Some(interface.to_owned()))
    }

    fn fields(config: &Config, surroundings: &Surroundings) -> Vec<&'static str> {
        config.lint(surroundings).into_iter().map(|warning| warning.field).collect()
    }

    #[test]
    fn presets_are_taken_as_they_are() {
        let two = Surroundings { local: vec![at(1, "a"), at(2, "b")], in_udp: true, ..Surroundings::default() };
        for preset in Preset::ALL {
            assert_eq!(preset.config().lint(&Surroundings::default()), []);
            assert_eq!(preset.config().lint(&two), []);
        }
    }

    #[test]
    fn a_minimal_timeout_within_the_peers_sack_delay_is_told() {
        let none = Surroundings::default();
        let mut config = Config { rto_min: MILLIS(200), ..Config::default() };
        let told = config.lint(&none);
        assert!(told[0].field == "rto_min" && told[0].to_string().contains("200ms is not above the 200ms"), "{told:?}");
        config.rto_min = MILLIS(201);
        assert_eq!(config.lint(&none), []);
        // Who waits so long oneself has to expect the same of others.
        config.sack_delay = MILLIS(300);
        assert_eq!(fields(&config, &none), ["rto_min"]);
    }

    #[test]
    fn more_retries_than_the_paths_have_together_are_told() {
        let mut config = Config { assoc_max_retrans: 11, ..Config::default() };
        let mut around = Surroundings { peer_addresses: 2, ..Surroundings::default() };
        assert_eq!(fields(&config, &around), ["assoc_max_retrans"]);
        around.peer_addresses = 3;
        assert_eq!(config.lint(&around), []);
        // Not known: one path, or as many as there are addresses.
        around.peer_addresses = 0;
        config.assoc_max_retrans = 6;
        assert_eq!(fields(&config, &around), ["assoc_max_retrans"]);
        around.local = vec![at(1, "a"), at(2, "b")];
        assert_eq!(config.lint(&around), []);
        config.path_max_retrans = Some(2);
        assert!(config.lint(&around)[0].problem.starts_with("6 is above 4"));
        // Paths that never fail have no sum.
        config.path_max_retrans = None;
        assert_eq!(config.lint(&around), []);
    }

    #[test]
    fn heartbeats_rarer_than_a_nat_forgets_are_told_in_udp() {
        let mut config = Config { heartbeat_interval: Some(SECS(121)), ..Config::default() };
        let mut around = Surroundings { in_udp: true, ..Surroundings::default() };
        assert_eq!(fields(&config, &around), ["heartbeat_interval"]);
        config.heartbeat_interval = None;
        assert_eq!(fields(&config, &around), ["heartbeat_interval"]);
        config.heartbeat_interval = Some(SECS(120));
        assert_eq!(config.lint(&around), []);
        config.heartbeat_interval = None;
        around.local = vec![(Ipv4Addr::LOCALHOST.into(), None), (Ipv6Addr::LOCALHOST.into(), None)];
        assert_eq!(config.lint(&around), [], "loopback has no NAT");
        (around.local, around.in_udp) = (Vec::new(), false);
        assert_eq!(config.lint(&around), []);
    }

    #[test]
    fn two_addresses_of_one_interface_are_told() {
        let mut around = Surroundings { local: vec![at(1, "a"), at(2, "b"), at(3, "a")], ..Surroundings::default() };
        let told = Config::default().lint(&around);
        assert!(told[0].problem.starts_with("192.0.2.1 and 192.0.2.3 are both on the interface a"), "{told:?}");
        around.local[2] = (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Some("a".to_owned()));
        assert_eq!(fields(&Config::default(), &around), ["addresses"], "of whichever family");
        around.local.pop();
        assert_eq!(Config::default().lint(&around), []);
        let loopback = |last| (Address::from(Ipv4Addr::new(127, 0, 0, last)), Some("lo".to_owned()));
        around.local = vec![loopback(1), loopback(2)];
        assert_eq!(Config::default().lint(&around), []);
    }
}
