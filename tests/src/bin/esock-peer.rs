//! esock's side of the interop tests: the same command line, workload and lines as `peers/peer.c`.

#![forbid(unsafe_code)]

use esock::{
    Association, Backend, CloseReason, Config, ConnectTo, Direction, ENCAPSULATION_PORT, Encapsulation, Endpoint,
    Event, Message, PathState, Pieces, Ppid, Received, Receiver, SendOptions, StreamId, UdpPort,
};
use esock_interop::workload::{DONE_PPID, PPID_BASE, Verifier, Workload};
use std::io::Write;
use std::net::IpAddr;
use std::process::exit;
use std::time::Duration;
use tokio::sync::watch;

type Failure = Box<dyn std::error::Error>;

/// A line about progress comes after each this many messages.
const PROGRESS_EVERY: usize = 50;

#[derive(Debug, Default)]
struct Options {
    tag: String,
    listen: bool,
    local: Vec<IpAddr>,
    port: u16,
    remote: Vec<IpAddr>,
    remote_port: u16,
    /// Over the system's SCTP.
    kernel: bool,
    /// The peer's UDP port, and ours if we listen; 0: native SCTP.
    udp: u16,
    /// Our UDP port where it differs; `Some(0)`: any.
    local_udp: Option<u16>,
    /// How often our driver drops a packet, either way.
    loss: f64,
    /// Of the random losses.
    seed: u64,
    /// Native and UDP are both tried.
    either: bool,
    send: Workload,
    expect: Workload,
    end: String,
    streams: u16,
    fast: bool,
    /// Nothing is sent before the peer has restarted.
    after_restart: bool,
    buffer: usize,
    /// A receive window smaller than messages, which are read in pieces then.
    window: Option<u32>,
    pace: Duration,
    time_limit: Duration,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        tag: "us".to_owned(),
        end: "wait".to_owned(),
        streams: 10,
        buffer: 1 << 20,
        time_limit: Duration::from_secs(60),
        ..Options::default()
    };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--fast" => options.fast = true,
            "--after-restart" => options.after_restart = true,
            _ => {}
        }
        if ["--fast", "--after-restart"].contains(&name.as_str()) {
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let addresses = || value.split(',').map(str::parse).collect::<Result<Vec<IpAddr>, _>>();
        match name.as_str() {
            "--tag" => options.tag = value,
            "--backend" => options.kernel = value == "kernel",
            "--role" => options.listen = value == "listen",
            "--local" => options.local = addresses()?,
            "--port" => options.port = value.parse()?,
            "--remote" => options.remote = addresses()?,
            "--remote-port" => options.remote_port = value.parse()?,
            "--udp" => options.udp = value.parse()?,
            "--local-udp" => options.local_udp = Some(value.parse()?),
            "--loss" => options.loss = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--encapsulation" => options.either = value == "either",
            "--send" => options.send = value.parse()?,
            "--expect" => options.expect = value.parse()?,
            "--end" => options.end = value,
            "--streams" => options.streams = value.parse()?,
            "--buffer" => options.buffer = value.parse()?,
            "--window" => options.window = Some(value.parse()?),
            "--pace-us" => options.pace = Duration::from_micros(value.parse()?),
            "--time-limit" => options.time_limit = Duration::from_secs(value.parse()?),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(options)
}

/// One write a line, so that lines of several tasks do not mingle.
fn say(tag: &str, line: &str) {
    if std::io::stdout().write_all(format!("@{tag} {line}\n").as_bytes()).is_err() {
        exit(4);
    }
}

fn config(options: &Options) -> Config {
    let mut config = Config::default();
    config.outbound_streams = options.streams;
    config.receive_window = u32::try_from(options.buffer).unwrap_or(u32::MAX);
    config.send_buffer = options.buffer;
    config.max_message = options.expect.largest().max(config.max_message);
    if let Some(window) = options.window {
        (config.receive_window, config.partial_delivery) = (window, true);
        config.send_buffer = options.buffer.max(2 * options.send.largest());
    }
    if options.fast {
        config.rto_initial = Duration::from_millis(200);
        config.rto_min = Duration::from_millis(100);
        config.rto_max = Duration::from_millis(400);
        config.sack_delay = Duration::from_millis(20);
        config.heartbeat_interval = Some(Duration::from_millis(300));
        config.path_max_retrans = Some(2);
        config.assoc_max_retrans = 10;
    }
    config
}

async fn open(options: &Options) -> Result<Endpoint, Failure> {
    let udp_port = options.local_udp.unwrap_or(options.udp);
    let endpoint = Endpoint::builder()
        .addresses(options.local.iter().copied())
        .port(options.port)
        .backend(match options.udp {
            _ if options.kernel => Backend::Kernel,
            0 => Backend::Raw,
            _ => Backend::Udp,
        })
        .udp_port(if udp_port == 0 { UdpPort::Ephemeral } else { UdpPort::Listen(udp_port) })
        .config(config(options))
        .open()
        .await?;
    endpoint.impairment(|impairment| {
        impairment.reseed(options.seed);
        for remote in &options.remote {
            impairment.set_drop_probability((*remote).into(), Direction::Both, options.loss);
        }
    });
    Ok(endpoint)
}

async fn associate(endpoint: &Endpoint, options: &Options) -> Result<(Association, Receiver), Failure> {
    if options.listen {
        // The endpoint answers from the first poll of `accept` on: only then is it said to listen.
        let listening = async {
            say(&options.tag, &format!("event=listening port={}", endpoint.port()));
            std::future::pending::<()>().await
        };
        tokio::select! {
            biased;
            accepted = endpoint.accept() => return Ok(accepted?),
            () = listening => unreachable!("it is never done"),
        }
    }
    let encapsulation = match options.udp {
        _ if options.either => Encapsulation::Both(ENCAPSULATION_PORT),
        0 => Encapsulation::Native,
        port => Encapsulation::Udp(port),
    };
    let peer = ConnectTo::new(options.remote.iter().copied(), options.remote_port).encapsulation(encapsulation);
    Ok(endpoint.connect(peer).await?)
}

/// What the sender waits for.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The checksum of what was received, once all of it was.
    received: Option<u64>,
    peer_done: bool,
    restarted: bool,
}

async fn send(
    endpoint: &Endpoint,
    association: Association,
    options: &Options,
    mut progress: watch::Receiver<Progress>,
) -> Result<(), Failure> {
    let mut sum = 0_u64;
    progress.wait_for(|state| state.restarted || !options.after_restart).await?;
    for index in 0..options.send.count() {
        let message = options.send.message(index);
        sum = sum.wrapping_add(Workload::sum(index, &message));
        let how = SendOptions {
            stream: StreamId(Workload::stream(index, options.streams)),
            ppid: Ppid(PPID_BASE + u32::try_from(index)?),
            unordered: options.send.is_unordered(index),
            ..SendOptions::default()
        };
        association.send(how, message).await?;
        if !options.pace.is_zero() {
            tokio::time::sleep(options.pace).await;
        }
    }
    let (messages, bytes) = (options.send.count(), options.send.total());
    say(&options.tag, &format!("event=sent messages={messages} bytes={bytes} sum={sum:016x}"));

    // As in peer.c: who waits for the end says DONE only after hearing it, so nothing is in flight at the end.
    let waits = options.end == "wait";
    let state = *progress.wait_for(|state| state.received.is_some() && (state.peer_done || !waits)).await?;
    let done = SendOptions { ppid: Ppid(DONE_PPID), ..SendOptions::default() };
    association.send(done, state.received.unwrap_or(0).to_be_bytes().to_vec()).await?;
    progress.wait_for(|state| state.peer_done).await?;
    // The end is not disturbed: a process that has ended answers nobody who missed its last packet.
    endpoint.impairment(|impairment| {
        say(&options.tag, &format!("event=lost packets={}", impairment.dropped()));
        impairment.clear();
    });
    match options.end.as_str() {
        "shutdown" => drop(association.shutdown().await),
        "abort" => association.abort(b"we have had enough"),
        _ => {}
    }
    Ok(())
}

fn say_paths(tag: &str, association: &Association) {
    for path in association.stats().into_iter().flat_map(|stats| stats.paths) {
        say(
            tag,
            &format!(
                "event=path-stats address={} primary={} state={} data={} bytes={} received={} mtu={} errors={}",
                path.remote,
                path.primary,
                state_name(path.state),
                path.data_packets_sent,
                path.bytes_sent,
                path.packets_received,
                path.mtu,
                path.error_count,
            ),
        );
    }
}

fn state_name(state: PathState) -> &'static str {
    match state {
        PathState::Unconfirmed => "unconfirmed",
        PathState::Active => "active",
        PathState::PotentiallyFailed => "potentially-failed",
        PathState::Inactive => "inactive",
    }
}

/// The words of an event for the test.
fn describe(event: &Event) -> String {
    let text = |info: &[u8]| String::from_utf8_lossy(info).replace(' ', "_");
    match event {
        Event::Up(negotiated) => {
            format!("event=up out={} in={}", negotiated.outbound_streams, negotiated.inbound_streams)
        }
        Event::Path { remote, state, .. } => format!("event=path address={remote} state={}", state_name(*state)),
        Event::PathInUse { remote, .. } => format!("event=path-in-use address={remote}"),
        Event::Restarted(_) => "event=restarted".to_owned(),
        Event::ShutdownReceived => "event=peer-shutdown".to_owned(),
        Event::PeerError { cause, info } => format!("event=peer-error cause={cause} info={}", text(info)),
        Event::Closed(CloseReason::Shutdown) => "event=closed how=shutdown".to_owned(),
        Event::Closed(CloseReason::LocalAbort) => "event=closed how=local-abort".to_owned(),
        Event::Closed(CloseReason::PeerAbort { cause, info }) => {
            format!("event=closed how=lost cause={} reason={}", cause.unwrap_or(0), text(info))
        }
        Event::Closed(other) => format!("event=closed how={}", format!("{other:?}").replace(' ', "_")),
        other => format!("event=other what={}", format!("{other:?}").replace(' ', "_")),
    }
}

#[derive(Debug)]
struct Exchange {
    verifier: Verifier,
    peer_done: bool,
    restarted: bool,
}

impl Exchange {
    fn take(&mut self, options: &Options, message: &Message) -> Result<(), Failure> {
        let Ppid(ppid) = message.ppid;
        if ppid == DONE_PPID {
            let sum = message.payload.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            say(&options.tag, &format!("event=done sum={sum:016x}"));
            self.peer_done = true;
            return Ok(());
        }
        let index = ppid.wrapping_sub(PPID_BASE) as usize;
        let verified = self.verifier.take(index, message.stream.0, message.unordered, &message.payload);
        verified.map_err(|what| format!("what={what} message={index}"))?;
        let Verifier { count, bytes, sum, .. } = self.verifier;
        if count % PROGRESS_EVERY == 0 {
            say(&options.tag, &format!("event=progress received={count}"));
        }
        if self.verifier.is_complete() {
            say(&options.tag, &format!("event=received messages={count} bytes={bytes} sum={sum:016x}"));
        }
        Ok(())
    }

    fn progress(&self) -> Progress {
        Progress {
            received: self.verifier.is_complete().then_some(self.verifier.sum),
            peer_done: self.peer_done,
            restarted: self.restarted,
        }
    }
}

async fn receive(
    mut receiver: Receiver,
    options: &Options,
    progress: watch::Sender<Progress>,
) -> Result<Exchange, Failure> {
    let verifier = Verifier::new(options.expect.clone(), options.streams);
    let mut exchange = Exchange { verifier, peer_done: false, restarted: false };
    progress.send_replace(exchange.progress());
    let (mut batch, mut pieces) = (Vec::new(), Pieces::default());
    while receiver.recv_many(&mut batch, 64).await > 0 {
        for received in batch.drain(..) {
            match received {
                Received::Message(message) => {
                    if let Some(message) = pieces.join(message) {
                        exchange.take(options, &message)?;
                    }
                }
                Received::Event(event) => {
                    exchange.restarted |= matches!(event, Event::Restarted(_));
                    if matches!(event, Event::Closed(_)) {
                        say_paths(&options.tag, receiver.association());
                    }
                    say(&options.tag, &describe(&event));
                }
                other => say(&options.tag, &format!("event=other what={other:?}")),
            }
        }
        progress.send_replace(exchange.progress());
    }
    Ok(exchange)
}

async fn exchange(options: &Options) -> Result<(), Failure> {
    let endpoint = open(options).await?;
    let (association, receiver) = associate(&endpoint, options).await?;
    let (sender, progress) = watch::channel(Progress::default());
    let statistics = async {
        // Which path carries data, for the test to see before and after it cuts one.
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            say_paths(&options.tag, &association);
        }
    };
    let receiving = receive(receiver, options, sender);
    let sending = async {
        send(&endpoint, association.clone(), options, progress).await?;
        // The receiver tells the end.
        std::future::pending::<Result<(), Failure>>().await
    };
    let exchange = tokio::select! {
        ended = receiving => ended?,
        failed = sending => return failed,
        () = statistics => unreachable!("a loop without end"),
    };
    if !exchange.verifier.is_complete() || !exchange.peer_done {
        return Err(format!("what=ended-too-early message={}", exchange.verifier.count).into());
    }
    // SHUTDOWN COMPLETE and the like leave before the process does.
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = parse(std::env::args().skip(1)).unwrap_or_else(|error| {
        eprintln!("esock-peer: {error}");
        exit(2);
    });
    let code = match tokio::time::timeout(options.time_limit, exchange(&options)).await {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            say(&options.tag, &format!("event=error {error}"));
            1
        }
        Err(_) => {
            say(&options.tag, &format!("event=timeout seconds={}", options.time_limit.as_secs()));
            3
        }
    };
    say(&options.tag, &format!("event=exit code={code}"));
    exit(code);
}
