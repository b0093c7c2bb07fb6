//! `esock bench --server`

use super::args::BenchArgs;
use super::traffic::{Line, wrong};
use super::wire::{Mode, Said};
use super::{open, protocols};
use crate::console::say;
use crate::exit::{Exit, Failure};
use crate::hosts;
use crate::interrupt::Interrupt;
use crate::open::tell_listening;
use esock::UdpPort;
use std::sync::atomic::AtomicU64;
use tokio::task::JoinSet;

/// Serves clients, until interrupted or, if wanted, the first has gone.
pub async fn run(args: &BenchArgs, interrupt: &Interrupt) -> Result<Exit, Failure> {
    let (names, port) = args.place();
    let local = hosts::resolve(&names).await?;
    let udp_port = UdpPort::Listen(args.udp_port.unwrap_or(esock::ENCAPSULATION_PORT));
    let mut endpoints = Vec::new();
    for protocol in protocols(args) {
        let port = endpoints.first().map_or(port, esock::Endpoint::port);
        endpoints.push(open(args, protocol, &local, port, udp_port).await?);
    }
    interrupt.listen();
    endpoints.iter().for_each(tell_listening);
    let mut accepting = JoinSet::new();
    for endpoint in &endpoints {
        let endpoint = endpoint.clone();
        accepting.spawn(async move { (endpoint.accept().await, endpoint) });
    }
    let (mut serving, mut served) = (JoinSet::new(), 0);
    loop {
        tokio::select! {
            Some(Ok((accepted, endpoint))) = accepting.join_next() => {
                let (association, receiver) = accepted.map_err(|error| wrong(error.to_string()))?;
                serving.spawn(serve(Line::new(association, receiver)));
                accepting.spawn(async move { (endpoint.accept().await, endpoint) });
            }
            Some(ended) = serving.join_next() => {
                match ended {
                    Ok(Ok(())) => served += 1,
                    Ok(Err(failure)) => say(&failure.to_string()),
                    Err(error) => say(&error.to_string()),
                }
                if args.one_off && served > 0 && serving.is_empty() {
                    break;
                }
            }
            () = interrupt.once() => break,
        }
    }
    for endpoint in endpoints {
        endpoint.close().await;
    }
    Ok(Exit::Well)
}

/// Does what one client wants, until it ends.
async fn serve(mut line: Line) -> Result<(), Failure> {
    let progress = AtomicU64::new(0);
    let Some(said) = line.listen().await? else { return Ok(()) };
    let Said::Task(task) = said else { return Err(wrong("a client did not say what it wants")) };
    match task.mode {
        Mode::Ping => return line.echo().await,
        Mode::Forward => {
            let tally = line.receive(&task, &progress).await?;
            line.say(&Said::Report(tally)).await?;
        }
        Mode::Reverse => line.send(&task, &progress).await?,
    }
    // The client ends it.
    match line.listen().await? {
        None => Ok(()),
        Some(_) => Err(wrong("a client went on after the end")),
    }
}
