//! `--set NAME=VALUE`: one parameter of associations.

use esock::{Config, CongestionAlgorithm, LossRecovery};
use std::time::Duration;

/// A parameter with its new value, which has been checked.
#[derive(Debug, Clone)]
pub struct Setting {
    set: Set,
    value: String,
}

type Set = fn(&mut Config, &str) -> Result<(), String>;

const PARAMETERS: [(&str, Set); 29] = [
    ("rto_initial", |config, value| put(&mut config.rto_initial, time(value))),
    ("rto_min", |config, value| put(&mut config.rto_min, time(value))),
    ("rto_max", |config, value| put(&mut config.rto_max, time(value))),
    ("heartbeat_interval", |config, value| put(&mut config.heartbeat_interval, optional(value, time))),
    ("sack_delay", |config, value| put(&mut config.sack_delay, time(value))),
    ("sack_frequency", |config, value| put(&mut config.sack_frequency, number(value))),
    ("path_max_retrans", |config, value| put(&mut config.path_max_retrans, optional(value, number))),
    ("pf_threshold", |config, value| put(&mut config.pf_threshold, optional(value, number))),
    ("assoc_max_retrans", |config, value| put(&mut config.assoc_max_retrans, number(value))),
    ("max_init_retransmits", |config, value| put(&mut config.max_init_retransmits, number(value))),
    ("cookie_life", |config, value| put(&mut config.cookie_life, time(value))),
    ("max_burst", |config, value| put(&mut config.max_burst, number(value))),
    ("outbound_streams", |config, value| put(&mut config.outbound_streams, number(value))),
    ("inbound_streams", |config, value| put(&mut config.inbound_streams, number(value))),
    ("receive_window", |config, value| put(&mut config.receive_window, number(value))),
    ("send_buffer", |config, value| put(&mut config.send_buffer, number(value))),
    ("max_message", |config, value| put(&mut config.max_message, number(value))),
    ("initial_mtu", |config, value| put(&mut config.initial_mtu, number(value))),
    ("max_mtu", |config, value| put(&mut config.max_mtu, number(value))),
    ("pmtud", |config, value| put(&mut config.pmtud, switch(value))),
    ("adaptation", |config, value| put(&mut config.adaptation, optional(value, number))),
    ("max_peer_addresses", |config, value| put(&mut config.max_peer_addresses, number(value))),
    ("congestion", |config, value| put(&mut config.congestion, one_of(value, &CONGESTION))),
    ("loss_recovery", |config, value| put(&mut config.loss_recovery, one_of(value, &LOSS_RECOVERY))),
    ("hystart", |config, value| put(&mut config.hystart, switch(value))),
    ("pacing", |config, value| put(&mut config.pacing, switch(value))),
    ("strict", |config, value| put(&mut config.strict, switch(value))),
    ("probe_at_once", |config, value| put(&mut config.probe_at_once, switch(value))),
    ("patient", |config, value| put(&mut config.patient, switch(value))),
];

const CONGESTION: [(&str, CongestionAlgorithm); 3] = [
    ("rfc9260", CongestionAlgorithm::Rfc9260),
    ("cubic", CongestionAlgorithm::Cubic),
    ("bbr", CongestionAlgorithm::Bbr),
];

const LOSS_RECOVERY: [(&str, LossRecovery); 2] = [("rfc9260", LossRecovery::Rfc9260), ("rack", LossRecovery::Rack)];

impl Setting {
    /// Sets it.
    pub fn apply(&self, config: &mut Config) {
        let set = (self.set)(config, &self.value);
        debug_assert!(set.is_ok(), "it was checked when it was parsed");
    }
}

/// Reads `NAME=VALUE`.
pub fn parse(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, as in rto_min=300ms")?;
    let Some((_, set)) = PARAMETERS.iter().find(|(known, _)| *known == name.replace('-', "_")) else {
        let names = PARAMETERS.map(|(name, _)| name).join(", ");
        return Err(format!("no parameter is called `{name}`: use one of {names}"));
    };
    set(&mut Config::default(), value).map_err(|problem| format!("`{value}` for {name}: {problem}"))?;
    Ok(Setting { set: *set, value: value.to_owned() })
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a time with its unit, such as 300ms or 5s".to_owned())
}

fn number<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let number: u64 = text.parse().map_err(|_| "give a whole number".to_owned())?;
    number.try_into().map_err(|_| "too large".to_owned())
}

fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| format!("give one of {}", known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")))
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err("give on or off".to_owned()),
    }
}

fn optional<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match text {
        "none" | "off" => Ok(None),
        _ => read(text).map(Some).map_err(|problem| format!("{problem}, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> Config {
        let mut config = Config::default();
        texts.iter().for_each(|text| parse(text).unwrap().apply(&mut config));
        config
    }

    #[test]
    fn each_kind_of_value_is_read() {
        let config =
            set(&["rto_min=300ms", "heartbeat-interval=none", "path_max_retrans=2", "pmtud=off", "max_mtu=1500"]);
        assert_eq!(config.rto_min, Duration::from_millis(300));
        assert_eq!((config.heartbeat_interval, config.path_max_retrans), (None, Some(2)));
        assert_eq!((config.pmtud, config.max_mtu), (false, 1500));
    }

    #[test]
    fn every_parameter_can_be_set_and_is_its_own() {
        for (name, _) in PARAMETERS {
            let values = ["7s", "7", "off", "on", "cubic", "rack"].into_iter();
            let settings = values.filter_map(|value| parse(&format!("{name}={value}")).ok());
            let mut changed = settings.map(|setting| {
                let mut config = Config::default();
                setting.apply(&mut config);
                config
            });
            let config = changed.find(|config| *config != Config::default()).expect(name);
            let (shown, default) = (format!("{config:?}"), format!("{:?}", Config::default()));
            let same = shown.bytes().zip(default.bytes()).take_while(|(one, other)| one == other).count();
            assert!(shown[..same].rsplit(", ").next().unwrap().contains(&format!("{name}: ")), "{name}: {shown}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_said() {
        for (text, says) in [
            ("rto_min", "NAME=VALUE"),
            ("rto=1s", "rto_initial, rto_min"),
            ("rto_min=300", "`300` for rto_min: give a time with its unit"),
            ("heartbeat_interval=never", "or none"),
            ("outbound_streams=65536", "too large"),
            ("sack_frequency=-1", "whole number"),
            ("pmtud=perhaps", "on or off"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
