//! `esock bench` on the command line.

use crate::args::{BackendArg, seconds};
use crate::exit::{Exit, Failure};
use crate::settings::{self, Setting};
use clap::Args;
use esock::{Config, Preset};
use std::time::Duration;

/// Where iperf3 listens too.
pub const DEFAULT_PORT: u16 = 5201;

/// The largest message, which is what a peer receives whole by default.
pub const LARGEST: usize = 256 << 10;

/// `esock bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The server, with its port [default: 5201]; with --server: the addresses of this host to use, then the port
    #[arg(value_name = "HOST[:PORT]", required_unless_present = "server")]
    pub words: Vec<String>,
    /// Wait for clients and measure with them
    #[arg(short, long)]
    pub server: bool,
    /// With --server: end after the first client
    #[arg(short = '1', long, requires = "server")]
    pub one_off: bool,
    /// How long to measure, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub time: Duration,
    /// Bytes of a message [default: 16K, with --ping 64]
    #[arg(short, long, value_name = "BYTES", value_parser = length)]
    pub length: Option<usize>,
    /// Associations at once
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub parallel: u16,
    /// Streams of each, which messages use in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub streams: u16,
    /// The server sends
    #[arg(short = 'R', long)]
    pub reverse: bool,
    /// Measure round trips of a message instead of throughput
    #[arg(long, conflicts_with = "reverse")]
    pub ping: bool,
    /// Measure TCP as well, message boundaries and streams included, one after the other
    #[arg(long)]
    pub tcp: bool,
    /// Print the result as JSON
    #[arg(short = 'J', long)]
    pub json: bool,
    /// Receive window and send buffer of each association
    #[arg(short, long, value_name = "BYTES", default_value = "4M", value_parser = bytes)]
    pub window: usize,
    /// Spread associations over so many cores, each with a socket and a stack of its own; for SCTP over UDP
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub shards: u16,
    /// Poll the sockets for so long before sleeping, in microseconds: shorter round trips, and a busy core
    #[arg(long, value_name = "MICROS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub busy_poll: Option<u32>,
    /// A local address or name to use; may be given many times [default: all]
    #[arg(short = 'B', long = "bind", value_name = "ADDR")]
    pub bind: Vec<String>,
    /// Who speaks SCTP, and what carries the packets
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    pub backend: BackendArg,
    /// Our UDP port, for UDP encapsulation [default: 9899; as a client, another if that is taken]
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// The server's UDP port; it is then reached in UDP only
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub encap_port: Option<u16>,
    /// Timers and limits for a field of use: rfc, ran, sigtran, diameter or webrtc
    #[arg(long, value_name = "NAME", default_value_t)]
    pub preset: Preset,
    /// Changes one of them, as in rto_min=300ms; may be given many times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = settings::parse)]
    pub settings: Vec<Setting>,
}

impl BenchArgs {
    /// Bytes of a message.
    pub fn message_bytes(&self) -> usize {
        self.length.unwrap_or(if self.ping { 64 } else { 16 << 10 })
    }

    /// The configuration of associations.
    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = self.preset.config();
        config.receive_window = u32::try_from(self.window).unwrap_or(u32::MAX);
        config.send_buffer = self.window;
        self.settings.iter().for_each(|setting| setting.apply(&mut config));
        config.outbound_streams = config.outbound_streams.max(self.streams);
        config.validate().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        Ok(config)
    }

    /// With --server: the addresses or names to listen on, and the port.
    pub fn place(&self) -> (Vec<String>, u16) {
        let (port, addresses) = match self.words.split_last() {
            Some((last, addresses)) => match last.parse() {
                Ok(port) => (port, addresses),
                Err(_) => (DEFAULT_PORT, self.words.as_slice()),
            },
            None => (DEFAULT_PORT, [].as_slice()),
        };
        (addresses.iter().chain(&self.bind).cloned().collect(), port)
    }
}

fn length(text: &str) -> Result<usize, String> {
    bytes(text).ok().filter(|bytes| (8..=LARGEST).contains(bytes)).ok_or_else(|| "give 8 to 256K bytes".to_owned())
}

/// A number of bytes, with K or M for powers of 1024, as iperf3 has it.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number: Option<usize> = digits.parse().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "give a number such as 64, 16K or 4M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_for_iperf3() {
        assert_eq!((bytes("64"), bytes("16K"), bytes("4m")), (Ok(64), Ok(16 << 10), Ok(4 << 20)));
        for bad in ["", "K", "-1", "0", "1G", "99999999999999999999"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(length("7").is_err() && length("257K").is_err() && length("8").is_ok());
    }
}
