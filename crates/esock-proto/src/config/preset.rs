//! Named sets of values, each for a field of use.

use super::Config;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A set of values for a field of use. [`Preset::config`] gives the configuration; what is changed afterwards is what
/// [`Config::lint`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Preset {
    /// RFC 9260 §16: what suits any network.
    #[default]
    Rfc,
    /// Radio access (NGAP, S1AP, XnAP): failures are found in seconds.
    Ran,
    /// Signalling (M3UA and its kin) over networks of one's own: failures are found in less than a second.
    Sigtran,
    /// Diameter (RFC 6733).
    Diameter,
    /// Data channels: many streams, and no path is ever given up.
    Webrtc,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] = [Self::Rfc, Self::Ran, Self::Sigtran, Self::Diameter, Self::Webrtc];

    /// Its name: `rfc`, `ran`, `sigtran`, `diameter` or `webrtc`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rfc => "rfc",
            Self::Ran => "ran",
            Self::Sigtran => "sigtran",
            Self::Diameter => "diameter",
            Self::Webrtc => "webrtc",
        }
    }

    /// Its values.
    pub fn config(self) -> Config {
        let millis = Duration::from_millis;
        let telecom = |rto: [u64; 3], heartbeat, retries: (u32, u32), sack, streams| Config {
            rto_initial: millis(rto[0]),
            rto_min: millis(rto[1]),
            rto_max: millis(rto[2]),
            heartbeat_interval: Some(Duration::from_secs(heartbeat)),
            path_max_retrans: Some(retries.0),
            assoc_max_retrans: retries.1,
            sack_delay: millis(sack),
            outbound_streams: streams,
            preset: self,
            ..Config::default()
        };
        match self {
            Self::Rfc => Config::default(),
            Self::Ran => telecom([1000, 300, 5000], 5, (3, 6), 20, 30),
            Self::Sigtran => telecom([300, 200, 1000], 5, (2, 4), 20, 17),
            Self::Diameter => telecom([500, 200, 1000], 10, (3, 6), 40, 30),
            Self::Webrtc => Config {
                rto_initial: millis(500),
                rto_min: millis(400),
                path_max_retrans: None,
                outbound_streams: 65535,
                preset: self,
                ..Config::default()
            },
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|preset| preset.name() == name);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no preset is called `{name}`: use one of {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_valid_and_known_by_its_name() {
        for preset in Preset::ALL {
            preset.config().validate().unwrap();
            assert_eq!(preset.config().preset, preset);
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        assert!("toy".parse::<Preset>().unwrap_err().contains("sigtran"));
    }

    #[test]
    fn the_values_are_those_of_the_field() {
        let millis = |config: &Config| {
            [config.rto_initial, config.rto_min, config.rto_max, config.sack_delay].map(|time| time.as_millis())
        };
        assert_eq!(millis(&Preset::Ran.config()), [1000, 300, 5000, 20]);
        assert_eq!(millis(&Preset::Sigtran.config()), [300, 200, 1000, 20]);
        assert_eq!(millis(&Preset::Diameter.config()), [500, 200, 1000, 40]);
        assert_eq!(millis(&Preset::Webrtc.config()), [500, 400, 60000, 200]);
        assert_eq!(Preset::Webrtc.config().path_max_retrans, None);
        assert_eq!(Preset::Rfc.config(), Config::default());
    }
}
