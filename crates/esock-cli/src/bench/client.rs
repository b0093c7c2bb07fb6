//! `esock bench HOST`

use super::args::{BenchArgs, DEFAULT_PORT};
use super::report::{Finding, Outcome, Trips};
use super::traffic::{Line, wrong};
use super::wire::{Mode, Said, Tally, Task};
use super::{open, progress, protocols, report};
use crate::console::print;
use crate::exit::{Exit, Failure};
use crate::hosts::{self, PeerName};
use crate::interrupt::Interrupt;
use crate::open::connect_failure;
use esock::{Address, ConnectTo, Endpoint, Protocol, UdpPort};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::task::JoinSet;

/// Measures with a server, over SCTP and, if wanted, over TCP; prints what was found.
pub async fn run(args: &BenchArgs, interrupt: &Interrupt) -> Result<Exit, Failure> {
    let name = PeerName::parse(&args.words).or_else(|failure| {
        // The port may be left out.
        let with_port: Vec<String> = args.words.iter().cloned().chain([DEFAULT_PORT.to_string()]).collect();
        PeerName::parse(&with_port).map_err(|_| failure)
    })?;
    let remote = hosts::resolve(&name.hosts).await?;
    let local = hosts::resolve(&args.bind).await?;
    let mut results = Vec::new();
    let measured = async {
        // All are there before the first is measured: to the server they are one client.
        let mut ready = Vec::new();
        for protocol in protocols(args) {
            ready.push(prepare(args, protocol, &name, &remote, &local).await?);
        }
        for client in ready {
            let finding = client.measure(args).await?;
            if !args.json {
                print(&report::text(&finding));
            }
            results.push(finding);
        }
        Ok(())
    };
    tokio::select! {
        measured = measured => measured?,
        () = interrupt.once() => return Ok(Exit::Interrupted),
    }
    if args.json {
        print(&report::json(&results));
    }
    Ok(Exit::Well)
}

/// Associations over one protocol.
struct Client {
    protocol: Protocol,
    backend: String,
    lines: Vec<Line>,
    endpoints: Vec<Endpoint>,
}

async fn prepare(
    args: &BenchArgs,
    protocol: Protocol,
    name: &PeerName,
    remote: &[Address],
    local: &[Address],
) -> Result<Client, Failure> {
    // An endpoint has one association with a peer.
    let (mut lines, mut endpoints) = (Vec::new(), Vec::new());
    for _ in 0..args.parallel {
        let udp_port = args.udp_port.map_or(UdpPort::Auto, UdpPort::Listen);
        let endpoint = open(args, protocol, local, 0, udp_port).await?;
        lines.push(connect(args, protocol, &endpoint, name, remote).await?);
        endpoints.push(endpoint);
    }
    let backend = endpoints.first().map_or_else(String::new, |endpoint| endpoint.backend().backend.to_string());
    Ok(Client { protocol, backend, lines, endpoints })
}

impl Client {
    async fn measure(self, args: &BenchArgs) -> Result<Finding, Failure> {
        let mode = match (args.ping, args.reverse) {
            (true, _) => Mode::Ping,
            (_, true) => Mode::Reverse,
            _ => Mode::Forward,
        };
        let task = Task { mode, length: args.message_bytes(), streams: args.streams, time: args.time };
        let counter = Arc::new(AtomicU64::new(0));
        let live = progress::start(&task, counter.clone());
        let mut running = JoinSet::new();
        for line in self.lines {
            running.spawn(one(line, task, counter.clone()));
        }
        let (mut tally, mut times) = (Tally::default(), Vec::new());
        while let Some(ended) = running.join_next().await {
            match ended.map_err(|error| wrong(error.to_string()))?? {
                Found::Tally(one) => tally.add(&one),
                Found::Trips(more) => times.extend(more),
            }
        }
        live.stop();
        for endpoint in self.endpoints {
            endpoint.close().await;
        }
        let outcome = if mode == Mode::Ping { Outcome::Trips(Trips::new(times)) } else { Outcome::Tally(tally) };
        let (protocol, backend) = (self.protocol, self.backend);
        Ok(Finding { protocol, backend, associations: args.parallel, task, outcome })
    }
}

async fn connect(
    args: &BenchArgs,
    protocol: Protocol,
    endpoint: &Endpoint,
    name: &PeerName,
    remote: &[Address],
) -> Result<Line, Failure> {
    let mut to = ConnectTo::new(remote.iter().copied(), name.port);
    if let Some(port) = args.encap_port.filter(|_| protocol == Protocol::Sctp) {
        to = to.encap_port(port);
    }
    let (association, receiver) = endpoint.connect(to).await.map_err(|error| connect_failure(&name.shown(), &error))?;
    let streams = association.stats().map_or(0, |stats| stats.negotiated.outbound_streams);
    if streams < args.streams {
        return Err(Failure::new(Exit::Usage, format!("the server allows {streams} streams, not {}", args.streams)));
    }
    Ok(Line::new(association, receiver))
}

/// What one association has found.
enum Found {
    Tally(Tally),
    Trips(Vec<std::time::Duration>),
}

async fn one(mut line: Line, task: Task, counter: Arc<AtomicU64>) -> Result<Found, Failure> {
    line.say(&Said::Task(task)).await?;
    let found = match task.mode {
        Mode::Ping => Found::Trips(line.ping(&task, &counter).await?),
        Mode::Reverse => Found::Tally(line.receive(&task, &counter).await?),
        Mode::Forward => {
            line.send(&task, &counter).await?;
            match line.listen().await? {
                Some(Said::Report(tally)) => Found::Tally(tally),
                _ => return Err(wrong("the server did not say what it received")),
            }
        }
    };
    line.association.shutdown().await;
    Ok(found)
}
