//! The command line.

use crate::bench::args::BenchArgs;
use crate::exit::{Exit, Failure};
use crate::settings::{self, Setting};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use esock::{Config, Ppid, Preset, SendOptions, StreamId};
use std::ffi::OsString;
use std::time::Duration;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit status:
  0    all went well: either end shut the association down
  1    another error
  2    the command line was wrong
  3    refused: the peer said no, or nobody listens there
  4    timed out: no answer, or the peer fell silent
  5    aborted by the peer
  6    aborted by us: the peer broke the protocol or sent too large a message
  130  interrupted twice (once: a graceful shutdown), or before there was an association";

/// SCTP associations from the command line.
#[derive(Debug, Parser)]
#[command(name = "esock", version, styles = STYLES, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Wait for a peer: lines typed on either side arrive on the other
    ///
    /// Binds all addresses unless some are given. Serves one peer, or many with --keep-open: typed
    /// lines then go to all. Input waits until there is a peer; its end shuts down gracefully.
    #[command(after_help = EXIT_CODES, override_usage = "esock listen [OPTIONS] [ADDR]... PORT")]
    Listen(ListenArgs),
    /// Set up an association with a listening peer: lines typed on either side arrive on the other
    ///
    /// The end of input shuts down gracefully.
    #[command(after_help = EXIT_CODES)]
    Connect(ConnectArgs),
    /// Run a program that knows nothing of esock with SCTP sockets that are esock's
    ///
    /// For programs that use the socket API (RFC 6458, sctp(7)) on hosts whose kernel has no SCTP. A broker, one for
    /// each user and network namespace, is started if there is none; it ends when its last program has ended.
    Run(RunArgs),
    /// Serve programs of `esock run` (which starts one itself)
    #[command(hide = true)]
    Broker(ServeArgs),
    /// Watch two endpoints exchange messages, lose a path and get it back
    ///
    /// Runs in this process alone, over UDP encapsulation on loopback, for less than ten seconds.
    /// The exit status is 0 if everything held that was checked.
    Demo,
    /// Measure throughput or round trips with a server, `esock bench --server`
    ///
    /// Measures for ten seconds with messages of 16 KiB; what arrives is counted, and checked, by who receives it.
    #[command(after_help = EXIT_CODES, override_usage = "esock bench [OPTIONS] HOST[:PORT]\n       esock bench --server [OPTIONS] [ADDR]... [PORT]")]
    Bench(Box<BenchArgs>),
}

/// `esock listen`
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// SCTP port to listen on (0: any free one), after the addresses or names of this host to use
    /// [default: all addresses]
    #[arg(value_name = "[ADDR]... PORT", required = true)]
    pub words: Vec<String>,
    /// Serve many peers, one after the other and at once; typed lines go to all
    #[arg(short, long)]
    pub keep_open: bool,
    /// What both commands know.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `esock connect`
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// The peer: one or more addresses or names of it, with its SCTP port at one of them at least
    ///
    /// As in 192.0.2.1:30400, [2001:db8::1]:30400, example.net:30400, or with the port as the last
    /// word: 192.0.2.1 198.51.100.1 30400.
    #[arg(value_name = "HOST[:PORT]", required = true)]
    pub peer: Vec<String>,
    /// The peer's UDP port; the peer is then reached in UDP only [default: 9899, native as well on raw IP]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub encap_port: Option<u16>,
    /// Our SCTP port; 0 for any free one
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub source_port: u16,
    /// Give up when the association is not up after this many seconds
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub wait: Option<Duration>,
    /// What both commands know.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `esock run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What a new broker is to be like.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Say which broker serves the program
    #[arg(short, long)]
    pub verbose: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM [ARGS]")]
    pub command: Vec<OsString>,
}

/// `esock broker`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What it is to be like.
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// Be nobody's child: the program that is run is not to be told of the broker's end
    #[arg(long)]
    pub orphan: bool,
    /// Say what the broker that runs has, instead
    #[arg(long)]
    pub report: bool,
}

/// What a broker is started with; a running one keeps what it has.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// What carries the packets: raw IP where that is permitted, else UDP [env: ESOCK_BACKEND]
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "ESOCK_BACKEND", hide_env = true)]
    pub backend: BackendArg,
    /// Our UDP port, for UDP encapsulation [default: 9899, or another if that is taken] [env: ESOCK_UDP_PORT]
    #[arg(long, value_name = "PORT", env = "ESOCK_UDP_PORT", hide_env = true)]
    pub udp_port: Option<u16>,
    /// The UDP port of peers that are connected to; they are then reached in UDP only [default: 9899, native as well
    /// on raw IP] [env: ESOCK_ENCAP_PORT]
    #[arg(long, value_name = "PORT", env = "ESOCK_ENCAP_PORT", hide_env = true)]
    pub encap_port: Option<u16>,
    /// Timers for a field of use, instead of Linux's: rfc, ran, sigtran, diameter or webrtc [env: ESOCK_PRESET]
    #[arg(long, value_name = "NAME", env = "ESOCK_PRESET", hide_env = true)]
    pub preset: Option<Preset>,
    /// One of Linux's settings, as in net.sctp.rto_initial=1000; may be given many times [env: ESOCK_SYSCTL, separated
    /// by commas]
    #[arg(long, value_name = "NAME=VALUE", env = "ESOCK_SYSCTL", hide_env = true, value_delimiter = ',')]
    pub sysctl: Vec<String>,
    /// The abstract name of the broker's socket [default: one for each user] [env: ESOCK_BROKER]
    #[arg(long = "broker", value_name = "NAME", env = "ESOCK_BROKER", hide_env = true)]
    pub name: Option<String>,
}

/// What `listen` and `connect` both know.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// A local address or name to use; may be given many times [default: all]
    #[arg(short = 'B', long = "bind", value_name = "ADDR")]
    pub bind: Vec<String>,
    /// Send on this stream
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub stream: u16,
    /// Payload protocol identifier of what is sent: a number or a name such as m3ua, diameter, ngap
    #[arg(long, value_name = "NUMBER|NAME", default_value = "0", value_parser = ppid)]
    pub ppid: Ppid,
    /// Send outside the order of the stream
    #[arg(long)]
    pub unordered: bool,
    /// What is spoken
    #[arg(long, value_enum, default_value_t = ProtocolArg::Sctp)]
    pub protocol: ProtocolArg,
    /// With --protocol tcp: how messages travel
    #[arg(long, value_enum, default_value_t = FramingArg::Framed)]
    pub tcp_framing: FramingArg,
    /// Who speaks it, and what carries the packets
    #[arg(long, value_enum, default_value_t = BackendArg::Auto)]
    pub backend: BackendArg,
    /// Our UDP port, for UDP encapsulation [default: 9899; when connecting, another if that is taken]
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// Timers and limits for a field of use: rfc, ran, sigtran, diameter or webrtc
    #[arg(long, value_name = "NAME", default_value_t)]
    pub preset: Preset,
    /// Changes one of them, as in rto_min=300ms or heartbeat_interval=none; may be given many times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = settings::parse)]
    pub settings: Vec<Setting>,
    /// Do not read input: only receive, until the peer ends or we are interrupted
    #[arg(long)]
    pub recv_only: bool,
    /// Say more: the backend, every path, and stream and protocol of every message
    #[arg(short, long)]
    pub verbose: bool,
}

/// `--backend`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendArg {
    /// The kernel's SCTP where it is loaded, else raw IP where that is permitted, else UDP
    Auto,
    /// The kernel's SCTP (Linux)
    Kernel,
    /// Native SCTP on raw IP, UDP encapsulation as well (needs root or CAP_NET_RAW)
    Raw,
    /// SCTP in UDP (RFC 6951), needs no privileges
    Udp,
}

/// `--protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// SCTP
    Sctp,
    /// TCP: one path, and streams only when framed
    Tcp,
}

/// `--tcp-framing`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FramingArg {
    /// Message boundaries, streams and payload protocols survive; the peer must be esock
    Framed,
    /// Bytes as they come, for any peer
    Raw,
}

impl ListenArgs {
    /// The addresses or names to listen on, `--bind` included, and the port.
    pub fn place(&self) -> Result<(Vec<String>, u16), Failure> {
        let (last, addresses) = self.words.split_last().map_or(("", &[][..]), |(l, a)| (l, a));
        let port = last.parse().map_err(|_| {
            Failure::new(
                Exit::Usage,
                format!("`{last}` is not a port: the last word is the SCTP port to listen on, 0 to 65535"),
            )
        })?;
        Ok((addresses.iter().chain(&self.common.bind).cloned().collect(), port))
    }
}

impl From<BackendArg> for esock::Backend {
    fn from(argument: BackendArg) -> Self {
        match argument {
            BackendArg::Auto => Self::Auto,
            BackendArg::Kernel => Self::Kernel,
            BackendArg::Raw => Self::Raw,
            BackendArg::Udp => Self::Udp,
        }
    }
}

impl From<ProtocolArg> for esock::Protocol {
    fn from(argument: ProtocolArg) -> Self {
        match argument {
            ProtocolArg::Sctp => Self::Sctp,
            ProtocolArg::Tcp => Self::Tcp,
        }
    }
}

impl From<FramingArg> for esock::TcpFraming {
    fn from(argument: FramingArg) -> Self {
        match argument {
            FramingArg::Framed => Self::Framed,
            FramingArg::Raw => Self::Raw,
        }
    }
}

impl CommonArgs {
    /// How typed lines are sent.
    pub fn send_options(&self) -> SendOptions {
        SendOptions {
            stream: StreamId(self.stream),
            ppid: self.ppid,
            unordered: self.unordered,
            ..SendOptions::default()
        }
    }

    /// The configuration of associations: asks for as many streams as `--stream` needs.
    pub fn config(&self) -> Config {
        let mut config = self.preset.config();
        self.settings.iter().for_each(|setting| setting.apply(&mut config));
        config.outbound_streams = config.outbound_streams.max(self.stream.saturating_add(1));
        config
    }
}

fn ppid(text: &str) -> Result<Ppid, String> {
    if let Some(known) = Ppid::from_name(text) {
        return Ok(known);
    }
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number.map(Ppid).ok_or_else(|| {
        "give a number from 0 to 4294967295 or a known name such as m3ua, s1ap, diameter, ngap".to_owned()
    })
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "give a number of seconds above 0, such as 5 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn listen_takes_addresses_before_the_port() {
        let cli = Cli::parse_from(["esock", "listen", "127.0.0.1", "::1", "30400"]);
        let Command::Listen(listen) = cli.command else { panic!("not listen") };
        let (addresses, port) = listen.place().unwrap();
        assert_eq!(addresses, ["127.0.0.1", "::1"]);
        assert_eq!(port, 30400);
    }

    #[test]
    fn listen_without_a_port_says_so() {
        let cli = Cli::parse_from(["esock", "listen", "127.0.0.1"]);
        let Command::Listen(listen) = cli.command else { panic!("not listen") };
        assert!(listen.place().is_err_and(|failure| failure.to_string().contains("`127.0.0.1`")));
    }

    #[test]
    fn a_payload_protocol_is_a_number_or_a_name() {
        assert_eq!(ppid("ngap"), Ok(Ppid(60)));
        assert_eq!(ppid("M3UA"), Ok(Ppid(3)));
        assert_eq!(ppid("4294967295"), Ok(Ppid(u32::MAX)));
        assert_eq!(ppid("0x2e"), Ok(Ppid(46)));
        assert!(ppid("4294967296").is_err());
        assert!(ppid("nagp").is_err_and(|problem| problem.contains("ngap")));
    }

    #[test]
    fn as_many_streams_are_asked_for_as_the_chosen_one_needs() {
        let cli = Cli::parse_from(["esock", "connect", "--stream", "65535", "127.0.0.1:1"]);
        let Command::Connect(connect) = cli.command else { panic!("not connect") };
        assert_eq!(connect.common.config().outbound_streams, 65535);
    }

    #[test]
    fn a_preset_is_the_base_of_what_is_set() {
        let cli = Cli::parse_from(["esock", "connect", "--set", "rto_min=250ms", "--preset", "ran", "127.0.0.1:1"]);
        let Command::Connect(connect) = cli.command else { panic!("not connect") };
        let mut wanted = Preset::Ran.config();
        wanted.rto_min = Duration::from_millis(250);
        assert_eq!(connect.common.config(), wanted);
    }

    #[test]
    fn help_names_every_preset() {
        let help = Cli::command().find_subcommand_mut("connect").unwrap().render_help().to_string();
        for preset in Preset::ALL {
            assert!(help.contains(preset.name()), "{preset}: {help}");
        }
    }

    #[test]
    fn a_wait_must_be_a_time() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "soon", "inf", "nan", "1e300"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
