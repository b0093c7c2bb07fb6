//! Dual-homed failover: two paths, one of which fails while messages flow; none is lost.
//!
//! `cargo run --example failover`

use esock::{
    Address, ConnectTo, Context, Direction, Endpoint, Event, Preset, Received, Receiver, SendOptions, UdpPort,
};
use std::net::Ipv4Addr;
use std::time::Duration;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (failed, received) = run(200).await?;
    println!("the path to {failed} failed; {received} messages arrived all the same");
    Ok(())
}

/// Says which address failed, and how many messages arrived.
pub async fn run(messages: u32) -> Result<(Address, u32), Error> {
    let addresses: [Address; 2] = [Ipv4Addr::new(127, 0, 0, 1).into(), Ipv4Addr::new(127, 0, 0, 2).into()];
    let mut config = Preset::Sigtran.config();
    config.heartbeat_interval = Some(Duration::from_millis(500));
    let builder = || {
        let builder = Endpoint::builder().addresses(addresses).config(config.clone());
        builder.udp_port(UdpPort::Ephemeral).context(Context::new())
    };
    let (server, client) = (builder().open().await?, builder().open().await?);
    let encap_port = server.backend().udp_port.ok_or("it has a UDP port")?;
    let to = ConnectTo::new(addresses, server.port()).encap_port(encap_port);
    let (connected, accepted) = tokio::join!(client.connect(to), server.accept());
    let ((association, mut events), (_theirs, inbox)) = (connected?, accepted?);

    let reader = tokio::spawn(count(inbox, messages));
    let primary =
        association.stats().ok_or("it has ended")?.paths.iter().find(|path| path.primary).map(|path| path.remote);
    let primary = primary.ok_or("no path is primary")?;
    for number in 0..messages {
        if number == messages / 2 {
            // The cable is cut: no packet to that address leaves any more.
            client.impairment(|network| network.block(primary, Direction::Both));
        }
        association.send(SendOptions::default(), number.to_be_bytes().to_vec()).await?;
    }
    while let Some(received) = events.recv().await {
        if let Received::Event(Event::PathInUse { remote, .. }) = received
            && remote != primary
        {
            eprintln!("data goes to {remote} now");
            break;
        }
    }
    Ok((primary, reader.await?))
}

/// Counts messages, which must come in order.
async fn count(mut inbox: Receiver, messages: u32) -> u32 {
    let mut next = 0;
    while next < messages {
        match inbox.recv().await {
            Some(Received::Message(message)) if message.payload == next.to_be_bytes()[..] => next += 1,
            Some(Received::Event(Event::Closed(_))) | None => break,
            _ => {}
        }
    }
    next
}
