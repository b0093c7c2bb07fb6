//! Configuration: each field names its RFC parameter and, where there is one, its RFC 6458 option.

mod lint;
mod preset;

pub use lint::{Surroundings, Warning};
pub use preset::Preset;

use crate::error::ConfigError;
use crate::types::Address;
use std::time::Duration;

/// Parameters of the associations of an endpoint, or of one association.
///
/// `Default` is RFC 9260 §16, and [`Preset`] has others. Fields are public; [`Config::validate`] says what cannot work,
/// [`Config::lint`] what will not work well.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Config {
    /// RTO.Initial; SCTP_RTOINFO. 1 s.
    pub rto_initial: Duration,
    /// RTO.Min; SCTP_RTOINFO. 1 s.
    pub rto_min: Duration,
    /// RTO.Max, at most a day; SCTP_RTOINFO. 60 s.
    pub rto_max: Duration,
    /// HB.interval, at most a day, `None` switches heartbeats off; SCTP_PEER_ADDR_PARAMS. 30 s.
    pub heartbeat_interval: Option<Duration>,
    /// SACK delay, at most 500 ms (RFC 9260 §6.2); SCTP_DELAYED_SACK. 200 ms.
    pub sack_delay: Duration,
    /// Packets with data per SACK; SCTP_DELAYED_SACK. 2.
    pub sack_frequency: u32,
    /// Path.Max.Retrans: errors in a row that make a path inactive; SCTP_PEER_ADDR_PARAMS.
    /// `None`: never. 5.
    pub path_max_retrans: Option<u32>,
    /// PotentiallyFailed.Max.Retrans (RFC 7829): errors in a row after which a path is avoided;
    /// SCTP_PEER_ADDR_THLDS. `None` switches the state off. 0.
    pub pf_threshold: Option<u32>,
    /// Association.Max.Retrans: errors in a row, over all paths, that end the association;
    /// SCTP_ASSOCINFO. 10.
    pub assoc_max_retrans: u32,
    /// Max.Init.Retransmits; SCTP_INITMSG. 8.
    pub max_init_retransmits: u32,
    /// Valid.Cookie.Life, at most 10 minutes; SCTP_ASSOCINFO. 60 s.
    pub cookie_life: Duration,
    /// Max.Burst: packets sent at once in answer to one event; SCTP_MAX_BURST. 4.
    pub max_burst: u32,
    /// Outbound streams asked for; SCTP_INITMSG. 10.
    pub outbound_streams: u16,
    /// Inbound streams allowed; SCTP_INITMSG. 65535.
    pub inbound_streams: u16,
    /// The receive window in bytes: what has arrived and was not read, overhead included. 1 MiB.
    pub receive_window: u32,
    /// The send buffer in bytes: what was taken and is not acknowledged. 1 MiB.
    pub send_buffer: usize,
    /// The largest message that is received whole, in bytes, and never more than half the receive window;
    /// SCTP_PARTIAL_DELIVERY_POINT. 256 KiB.
    pub max_message: usize,
    /// Whether a larger message is handed over in pieces as it arrives (RFC 9260 §6.9), see
    /// [`Message::part`](crate::Message::part): what is unread of it is bounded by the receive window, its length by
    /// nothing. Else it ends the association. Off.
    pub partial_delivery: bool,
    /// Largest packet in bytes, IP header included, before the path is known; 0: 1280 for IPv6, 1400 for IPv4
    /// on unknown routes. Path MTU discovery goes on from there.
    pub initial_mtu: u16,
    /// Largest packet in bytes, IP header included, that path MTU discovery tries. 9000.
    pub max_mtu: u16,
    /// Whether to search the path MTU with probes (RFC 8899), from the moment on that there is more data than one packet
    /// takes; else `initial_mtu` stays. On.
    pub pmtud: bool,
    /// Largest user data of one DATA chunk, in bytes: longer messages are fragmented; 0: as much as a packet takes.
    /// SCTP_MAXSEG. 0.
    pub max_segment: usize,
    /// Adaptation layer indication sent in INIT and INIT ACK (RFC 5061 §4.2.6). `None`.
    pub adaptation: Option<u32>,
    /// Most addresses of a peer, the one that its INIT came from included; more are ignored. 32.
    pub max_peer_addresses: usize,
    /// Congestion control. RFC 9260 §7.2.
    pub congestion: CongestionAlgorithm,
    /// How losses are found, timeouts apart. RFC 9260 §7.2.4.
    pub loss_recovery: LossRecovery,
    /// HyStart++ (RFC 9406): slow start ends when the delay grows, before packets are lost; not for BBR, which has
    /// no slow start. Off.
    pub hystart: bool,
    /// Pacing: data leaves spread over the round-trip time, not in bursts of `max_burst`. BBR always is. Off.
    pub pacing: bool,
    /// Whether what breaks the protocol and could as well be discarded ends the association with an ABORT, as Linux does
    /// it: an INIT ACK or SHUTDOWN COMPLETE that is not alone in its packet, a chunk that is too short. Off.
    pub strict: bool,
    /// Whether the first probe of a shut window leaves at once, as Linux sends it; else after an RTO (RFC 9260 §6.1 A).
    /// Off.
    pub probe_at_once: bool,
    /// Whether a setup goes on when ICMP says that the peer's host cannot be reached, as Linux has it: the host may come
    /// up while INIT is sent again. Else that of each of its addresses ends the attempt. Off.
    pub patient: bool,
    /// What the other values began with: only [`Config::lint`] asks. [`Preset::Rfc`].
    #[cfg_attr(feature = "serde", serde(skip))]
    pub preset: Preset,
    /// A fault on purpose.
    #[cfg(feature = "faults")]
    #[cfg_attr(feature = "serde", serde(skip))]
    pub faults: crate::faults::Faults,
}

/// Which congestion control an association uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum CongestionAlgorithm {
    /// RFC 9260 §7.2: as Reno.
    #[default]
    Rfc9260,
    /// CUBIC (RFC 9438): grows by time, not by round trips; for long fat paths.
    Cubic,
    /// BBR: sends at the rate that the path was seen to deliver, whatever is lost. For lossy paths of one's own: it
    /// takes more than its share from others. With [`LossRecovery::Rack`], since it loses much.
    Bbr,
}

/// How an association finds what was lost, timeouts apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum LossRecovery {
    /// Three miss indications (RFC 9260 §7.2.4); a copy that is lost again waits for the timeout.
    #[default]
    Rfc9260,
    /// By time, and with probes of the tail (the ideas of RFC 8985): copies that are lost again, and last packets, are
    /// found within about two round trips.
    Rack,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_secs(1),
            rto_max: Duration::from_secs(60),
            heartbeat_interval: Some(Duration::from_secs(30)),
            sack_delay: Duration::from_millis(200),
            sack_frequency: 2,
            path_max_retrans: Some(5),
            pf_threshold: Some(0),
            assoc_max_retrans: 10,
            max_init_retransmits: 8,
            cookie_life: Duration::from_secs(60),
            max_burst: 4,
            outbound_streams: 10,
            inbound_streams: 65535,
            receive_window: 1 << 20,
            send_buffer: 1 << 20,
            max_message: 256 << 10,
            partial_delivery: false,
            initial_mtu: 0,
            max_mtu: 9000,
            pmtud: true,
            max_segment: 0,
            adaptation: None,
            max_peer_addresses: 32,
            congestion: CongestionAlgorithm::default(),
            loss_recovery: LossRecovery::default(),
            hystart: false,
            pacing: false,
            strict: false,
            probe_at_once: false,
            patient: false,
            preset: Preset::default(),
            #[cfg(feature = "faults")]
            faults: crate::faults::Faults::default(),
        }
    }
}

/// Longer timeouts are no timeouts; and twice as much can still be added to a moment.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Keys of cookies change: a cookie is good for this long at least, and its life may not be longer.
const LONGEST_COOKIE_LIFE: Duration = Duration::from_secs(600);

impl Config {
    /// The first thing that cannot work, if any.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |bad: bool, field, problem: &str| {
            if bad { Err(ConfigError { field, problem: problem.to_owned() }) } else { Ok(()) }
        };
        check(self.rto_min.is_zero(), "rto_min", "must be above zero")?;
        check(self.rto_min > self.rto_max, "rto_min", "is above rto_max")?;
        check(self.rto_initial < self.rto_min, "rto_initial", "is below rto_min")?;
        check(self.rto_initial > self.rto_max, "rto_initial", "is above rto_max")?;
        check(self.sack_delay > Duration::from_millis(500), "sack_delay", "RFC 9260 §6.2 allows at most 500 ms")?;
        check(self.sack_frequency == 0, "sack_frequency", "must be at least 1")?;
        check(self.outbound_streams == 0, "outbound_streams", "must be at least 1")?;
        check(self.inbound_streams == 0, "inbound_streams", "must be at least 1")?;
        check(self.receive_window < 4096, "receive_window", "must be at least 4096 bytes")?;
        check(self.receive_window > 1 << 30, "receive_window", "must be at most 1 GiB")?;
        check(self.send_buffer == 0, "send_buffer", "must be above zero")?;
        check(self.send_buffer > 1 << 30, "send_buffer", "must be at most 1 GiB")?;
        check(self.max_message == 0, "max_message", "must be above zero")?;
        check(self.max_burst == 0, "max_burst", "must be at least 1")?;
        check(!(1..=64).contains(&self.max_peer_addresses), "max_peer_addresses", "must be 1 to 64")?;
        check(self.initial_mtu != 0 && self.initial_mtu < 576, "initial_mtu", "must be 0 or at least 576 bytes")?;
        check(self.max_mtu < 576, "max_mtu", "must be at least 576 bytes")?;
        check(self.max_segment != 0 && self.max_segment < 64, "max_segment", "must be 0 or at least 64 bytes")?;
        check(self.rto_max > LONGEST, "rto_max", "must be at most a day")?;
        check(
            self.heartbeat_interval > Some(LONGEST),
            "heartbeat_interval",
            "must be at most a day; or switch it off",
        )?;
        check(self.cookie_life.is_zero(), "cookie_life", "must be above zero")?;
        check(self.cookie_life > LONGEST_COOKIE_LIFE, "cookie_life", "must be at most 10 minutes")?;
        Ok(())
    }

    /// Whether data leaves at a pace.
    pub(crate) fn is_paced(&self) -> bool {
        self.pacing || self.congestion == CongestionAlgorithm::Bbr
    }

    /// Whether something asks when chunks left.
    pub(crate) fn needs_log(&self) -> bool {
        self.hystart || self.congestion == CongestionAlgorithm::Bbr || self.loss_recovery == LossRecovery::Rack
    }

    pub(crate) fn faults(&self) -> crate::faults::Faults {
        #[cfg(feature = "faults")]
        return self.faults;
        #[cfg(not(feature = "faults"))]
        crate::faults::Faults::default()
    }

    /// The largest message that is received whole: `max_message`, but at most half the window, so that a message that is
    /// being put together never blocks the window that its rest needs.
    pub fn largest_inbound_message(&self) -> usize {
        self.max_message.min(self.receive_window as usize / 2)
    }
}

/// Parameters of a whole stack.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StackConfig {
    /// Whether this driver can send native SCTP.
    pub native: bool,
    /// Peers whose COOKIE ECHO was valid and that nobody has decided on yet, those that
    /// [`Stack::poll_incoming`](crate::Stack::poll_incoming) has handed out included; more are dropped. 4096.
    pub max_incoming: usize,
    /// Replies to packets that belong to no association, per second. 1000 (RFC 9260 §8.4 allows limits).
    pub ootb_replies_per_second: u32,
    /// INIT ACKs per second, all peers together. 1,000,000.
    pub init_acks_per_second: u32,
    /// Which of several stacks behind one UDP port this is; each has limits of its own. [`Shard::ALONE`](crate::Shard::ALONE).
    pub shard: crate::Shard,
    /// Most associations. 1,000,000.
    pub max_associations: usize,
    /// Whether packets to SCTP ports that no endpoint has are answered on raw IP too, as the only stack of a host does it;
    /// otherwise in UDP only, since other processes may have those ports. `false`.
    pub answers_for_nobody: bool,
    /// Whether an INIT or a cookie to an endpoint that accepts nobody is refused with an ABORT, as Linux refuses it whose
    /// socket does not listen, and any cookie to a port of nobody; otherwise it is dropped, so that the peer tries again.
    /// `false`.
    pub refuse_when_not_accepting: bool,
    /// Whether a peer on this host is told of all of the host's addresses where an endpoint has them all, as Linux tells
    /// it; otherwise of those of loopback alone. `false`.
    pub tells_all_on_loopback: bool,
    /// The first TSN of every association, for tests of wrapping. `None`: random, as RFC 9260 §3.3.2 wants it.
    pub initial_tsn: Option<crate::Tsn>,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            native: false,
            max_incoming: 4096,
            ootb_replies_per_second: 1000,
            init_acks_per_second: 1_000_000,
            shard: crate::Shard::ALONE,
            max_associations: 1_000_000,
            answers_for_nobody: false,
            refuse_when_not_accepting: false,
            tells_all_on_loopback: false,
            initial_tsn: None,
        }
    }
}

/// An endpoint: an SCTP port and its addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointConfig {
    /// The SCTP port; 0 takes a random free one from the ephemeral range.
    pub port: u16,
    /// Its addresses; empty for all of the host's.
    pub addresses: Vec<Address>,
    /// With `addresses` empty: the addresses that the host has. A peer is told of those it can reach
    /// (loopback and link-local ones stay at home). If all are of one type, so is the endpoint.
    pub host_addresses: Vec<Address>,
    /// For its associations, unless they bring their own.
    pub config: Config,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_value_is_named() {
        let bad = Config { rto_min: Duration::from_secs(90), ..Config::default() };
        assert_eq!(bad.validate().unwrap_err().field, "rto_min");
    }

    #[test]
    fn times_too_long_to_be_reckoned_with_are_named() {
        // Found by fuzzing: doubling such a timeout is an overflow.
        let max = Duration::MAX;
        let refused = |config: Config| config.validate().unwrap_err().field;
        assert_eq!(refused(Config { rto_initial: max, rto_max: max, ..Config::default() }), "rto_max");
        assert_eq!(refused(Config { heartbeat_interval: Some(max), ..Config::default() }), "heartbeat_interval");
        assert_eq!(refused(Config { cookie_life: max, ..Config::default() }), "cookie_life");
    }
}
