//! An echo server: what a peer sends comes back, on the same stream with the same payload identifier.
//!
//! `cargo run --example echo_server -- [PORT]`, then `esock connect 127.0.0.1 PORT` in another terminal.

use esock::{Endpoint, OwnerEvent, SendOptions};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(7), |port| port.parse())?;
    let endpoint = Endpoint::builder().port(port).any().open().await?;
    eprintln!("listening on SCTP port {} ({})", endpoint.port(), endpoint.backend().why);
    serve(&endpoint).await;
    Ok(())
}

/// Serves until the endpoint is closed.
pub async fn serve(endpoint: &Endpoint) {
    // An owner gets all associations that its filter accepts: no task per peer is needed.
    let mut owner = endpoint.register_owner(|_| true);
    while let Some(event) = owner.recv().await {
        if let OwnerEvent::Message { association, message } = event {
            let options = SendOptions { stream: message.stream, ppid: message.ppid, ..SendOptions::default() };
            // A peer that sends and does not read must not keep the others waiting: beyond what its send buffer
            // takes, it gets nothing back.
            if let Err(rejected) = association.try_send(options, message.payload) {
                eprintln!("one echo less: {rejected}");
            }
        }
    }
}
