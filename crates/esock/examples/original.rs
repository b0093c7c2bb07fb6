//! The example in the README of the Erlang library esock, line by line.
//!
//! `cargo run --example original`

use esock::{ConnectTo, Endpoint, Event, OwnerEvent, Received, Supervision};
use std::net::Ipv4Addr;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    run(30400).await
}

/// Runs it on a port.
pub async fn run(port: u16) -> Result<(), Error> {
    // application:ensure_all_started(sock).
    // Nothing has to be started here but the tokio runtime.

    // %% create a sctp ep on loopback interface with a free port
    // {ok, EP} = sock:create_ep().
    let ep = Endpoint::builder().open().await?;

    // %% connect sctp ep to remote address 127.0.0.1:30400
    // sock:create_assoc(EP, [{127,0,0,1}], 30400, #{}).
    //
    // In both it returns at once, connects in the background, and keeps trying: the server comes later.
    let (assoc, mut receiver) = ep.supervise(ConnectTo::new([Ipv4Addr::LOCALHOST], port), Supervision::default())?;

    // %% create another sctp ep which listen and accept for up to 4 clients
    // {ok, EP2} = sock:create_ep(30400, #{accept => {accept, 4}}).
    let ep2 = Endpoint::builder().port(port).open().await?;
    let mut owner = ep2.register_owner(|candidate| candidate.associations < 4);

    // "Each read payload from the socket will be message passed to the process": here, to whoever asks.
    while !matches!(receiver.recv().await.ok_or("it ended")?, Received::Event(Event::Up(_))) {}
    assoc.send(Default::default(), "hello").await?;
    loop {
        if let OwnerEvent::Message { association, message } = owner.recv().await.ok_or("it was closed")? {
            println!("{} bytes from port {}", message.payload.len(), association.peer_port());
            break;
        }
    }
    assoc.shutdown().await;
    Ok(())
}
