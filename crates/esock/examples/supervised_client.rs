//! A client that stays connected: it may be started before its server, and outlives it.
//!
//! `cargo run --example supervised_client -- ADDRESS PORT`; start and stop `esock listen PORT` as you like.

use esock::{CloseReason, ConnectTo, Endpoint, Event, Received, SendOptions, Supervision};
use std::net::IpAddr;
use std::time::Duration;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, port] = &arguments[..] else { return Err("usage: supervised_client ADDRESS PORT".into()) };
    let endpoint = Endpoint::builder().any().open().await?;
    let to = ConnectTo::new([address.parse::<IpAddr>()?], port.parse()?);
    let reason = stay_connected(&endpoint, to, Supervision::default(), usize::MAX).await?;
    eprintln!("ended: {reason:?}");
    Ok(())
}

/// Greets the server whenever it is there, until it has been greeted `times` times.
pub async fn stay_connected(
    endpoint: &Endpoint,
    to: ConnectTo,
    mut policy: Supervision,
    times: usize,
) -> Result<CloseReason, Error> {
    // Messages that were never sent wait for the next connection; those that may have been received come back.
    policy.keep_unsent = true;
    policy.longest_retry = policy.longest_retry.min(Duration::from_secs(10));
    let (association, mut receiver) = endpoint.supervise(to, policy)?;
    let mut greeted = 0;
    while let Some(received) = receiver.recv().await {
        match received {
            Received::Event(Event::Up(_)) => {
                greeted += 1;
                eprintln!("connected (generation {})", association.generation());
                association.send(SendOptions::default(), format!("greeting {greeted}")).await?;
            }
            Received::Event(Event::Down { reason, retry_in, .. }) => {
                eprintln!("not connected: {reason:?}; next attempt in {retry_in:?}");
            }
            Received::Event(Event::Undelivered(message)) => {
                eprintln!("came back, maybe received: {} bytes", message.payload.len());
            }
            Received::Event(Event::Closed(reason)) => return Ok(reason),
            Received::Message(message) => {
                println!("{}", String::from_utf8_lossy(&message.payload));
                if greeted == times {
                    // Ends the supervision as well.
                    association.shutdown().await;
                }
            }
            _ => {}
        }
    }
    Ok(CloseReason::Shutdown)
}
