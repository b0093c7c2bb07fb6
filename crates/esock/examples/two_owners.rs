//! Two owners of one endpoint, split by a filter: peers with many streams go to the one, all others to the other.
//!
//! `cargo run --example two_owners`

use esock::{Address, Config, ConnectTo, Context, Endpoint, Owner, OwnerEvent, SendOptions, UdpPort};
use std::net::Ipv4Addr;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (wide, narrow) = run().await?;
    println!("the owner of the wide heard {wide:?}, the other {narrow:?}");
    Ok(())
}

/// Says what each owner heard.
pub async fn run() -> Result<(String, String), Error> {
    // Contexts of their own: two processes in one.
    let builder = || Endpoint::builder().udp_port(UdpPort::Ephemeral).context(Context::new());
    let server = builder().open().await?;

    // Asked in the order of registration, before anything is kept for the peer; the first yes wins.
    let mut wide = server.register_owner(|candidate| candidate.negotiated.inbound_streams >= 30);
    let mut narrow = server.register_owner(|_| true);

    let localhost: Address = Ipv4Addr::LOCALHOST.into();
    let encap_port = server.backend().udp_port.ok_or("it has a UDP port")?;
    let to = ConnectTo::new([localhost], server.port()).encap_port(encap_port);
    let (few, many) = (builder().open().await?, builder().open().await?);
    let (one, _inbox) = few.connect(to.clone()).await?;
    let mut config = Config::default();
    config.outbound_streams = 30;
    let (other, _inbox) = many.connect(to.config(config)).await?;
    one.send(SendOptions::default(), "ten streams").await?;
    other.send(SendOptions::default(), "thirty streams").await?;
    Ok((first_message(&mut wide).await?, first_message(&mut narrow).await?))
}

async fn first_message(owner: &mut Owner) -> Result<String, Error> {
    while let Some(event) = owner.recv().await {
        if let OwnerEvent::Message { message, .. } = event {
            return Ok(String::from_utf8_lossy(&message.payload).into_owned());
        }
    }
    Err("the endpoint was closed".into())
}
