//! `esock connect`

use crate::args::ConnectArgs;
use crate::console::{Output, Typed};
use crate::exit::{Exit, Failure};
use crate::hosts::{self, PeerName};
use crate::interrupt::Interrupt;
use crate::session::{self, Inlet, Manner};
use crate::{open, words};
use esock::{ConnectTo, UdpPort};

/// Connects, and serves the association until it ends.
pub async fn run(args: &ConnectArgs, output: Output, interrupt: Interrupt) -> Result<Exit, Failure> {
    let common = &args.common;
    let name = PeerName::parse(&args.peer)?;
    let remote = hosts::resolve(&name.hosts).await?;
    let local = hosts::resolve(&common.bind).await?;
    let udp_port = common.udp_port.map_or(UdpPort::Auto, UdpPort::Listen);
    let endpoint = open::endpoint(&local, args.source_port, udp_port, common).await?;

    let mut peer = ConnectTo::new(remote, name.port);
    if let Some(port) = args.encap_port {
        peer = peer.encap_port(port);
    }
    interrupt.listen();
    let shown = name.shown();
    let limit = async {
        match args.wait {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let connected = tokio::select! {
        connected = endpoint.connect(peer) => connected,
        () = limit => return Err(Failure::new(
            Exit::TimedOut,
            format!("{shown} timed out: not up after {}", words::duration(args.wait.unwrap_or_default())),
        )),
        () = interrupt.once() => return Ok(Exit::Interrupted),
    };
    let (association, receiver) = connected.map_err(|error| open::connect_failure(&shown, &error))?;

    let manner = Manner { options: common.send_options(), output, verbose: common.verbose, interrupt };
    let typed = if common.recv_only { Typed::nothing() } else { Typed::read() };
    let reason = session::serve(association, Inlet::Receiver(receiver), typed.lines, &shown, &manner).await?;
    endpoint.close().await;
    Ok(Exit::of(&reason))
}
