//! `esock bench`: throughput and round trips between two hosts, with the habits of iperf3.

pub mod args;
mod client;
mod progress;
mod report;
mod server;
mod traffic;
mod wire;

use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use args::BenchArgs;
use esock::{Address, Endpoint, Protocol, UdpPort};
use std::time::Duration;

/// Serves, or measures with a server.
pub async fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let interrupt = Interrupt::new();
    if args.server { server::run(args, &interrupt).await } else { client::run(args, &interrupt).await }
}

/// What is spoken: a server serves both, so that a client can choose.
fn protocols(args: &BenchArgs) -> Vec<Protocol> {
    if args.server || args.tcp { vec![Protocol::Sctp, Protocol::Tcp] } else { vec![Protocol::Sctp] }
}

async fn open(
    args: &BenchArgs,
    protocol: Protocol,
    local: &[Address],
    port: u16,
    udp_port: UdpPort,
) -> Result<Endpoint, Failure> {
    let builder = Endpoint::builder().port(port).protocol(protocol).udp_port(udp_port).config(args.config()?);
    let builder = match (protocol, args.busy_poll) {
        // TCP is the kernel's.
        (Protocol::Tcp, _) => builder,
        (_, None) => builder.backend(args.backend.into()).shards(args.shards),
        (_, Some(micros)) => {
            let time = Duration::from_micros(micros.into());
            builder.backend(args.backend.into()).shards(args.shards).busy_poll(time)
        }
    };
    crate::open::open(builder, local, false).await
}
