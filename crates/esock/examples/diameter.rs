//! A Diameter capabilities exchange (RFC 6733 §5.3): CER and CEA between two endpoints, with payload
//! protocol identifier 46 (RFC 6733 §2.1), on the preset for Diameter.
//!
//! `cargo run --example diameter`

use esock::{ConnectTo, Context, Endpoint, OwnerEvent, Ppid, Preset, Received, SendOptions, UdpPort};
use std::net::Ipv4Addr;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Command code 257, capabilities exchange.
const CAPABILITIES_EXCHANGE: u32 = 257;

/// The flag of a request, in the byte of command flags.
const REQUEST: u8 = 0x80;

/// DIAMETER_SUCCESS.
const SUCCESS: u32 = 2001;

#[tokio::main]
async fn main() -> Result<(), Error> {
    println!("the peer is {}, result {}", run().await?, SUCCESS);
    Ok(())
}

/// Says the peer's Origin-Host.
pub async fn run() -> Result<String, Error> {
    let config = Preset::Diameter.config();
    let builder = || {
        let builder = Endpoint::builder().config(config.clone());
        builder.udp_port(UdpPort::Ephemeral).context(Context::new())
    };
    let (server, client) = (builder().open().await?, builder().open().await?);
    let serving = tokio::spawn(answer(server.clone()));
    let encap_port = server.backend().udp_port.ok_or("it has a UDP port")?;
    let to = ConnectTo::new([Ipv4Addr::LOCALHOST], server.port()).encap_port(encap_port);
    let (association, mut receiver) = client.connect(to).await?;

    let diameter = SendOptions { ppid: Ppid(46), ..SendOptions::default() };
    association.send(diameter, message(REQUEST, &[avp(264, b"client.example"), avp(296, b"example")])).await?;
    let answer = loop {
        match receiver.recv().await.ok_or("no answer came")? {
            Received::Message(message) if message.ppid == Ppid(46) => break message.payload,
            _ => {}
        }
    };
    association.shutdown().await;
    serving.abort();
    let result = find(&answer, 268).ok_or("no Result-Code")?;
    if result != SUCCESS.to_be_bytes() {
        return Err(format!("refused: {result:?}").into());
    }
    Ok(String::from_utf8_lossy(find(&answer, 264).ok_or("no Origin-Host")?).into_owned())
}

/// Answers each CER with a CEA.
async fn answer(endpoint: Endpoint) {
    let mut owner = endpoint.register_owner(|_| true);
    while let Some(event) = owner.recv().await {
        let OwnerEvent::Message { association, message: request } = event else { continue };
        if request.ppid != Ppid(46) || find(&request.payload, 264).is_none() {
            association.abort(b"not a capabilities exchange");
            continue;
        }
        let avps = [avp(268, &SUCCESS.to_be_bytes()), avp(264, b"server.example"), avp(296, b"example")];
        let options = SendOptions { stream: request.stream, ppid: Ppid(46), ..SendOptions::default() };
        // An error: the peer has gone.
        let _ = association.send(options, message(0, &avps)).await;
    }
}

/// A Diameter message (RFC 6733 §3): version 1, application 0, identifiers 1.
fn message(flags: u8, avps: &[Vec<u8>]) -> Vec<u8> {
    let body = avps.concat();
    let len = 20 + body.len() as u32;
    let mut message = Vec::with_capacity(len as usize);
    message.extend((1 << 24 | len).to_be_bytes());
    message.extend((u32::from(flags) << 24 | CAPABILITIES_EXCHANGE).to_be_bytes());
    for word in [0, 1, 1u32] {
        message.extend(word.to_be_bytes());
    }
    message.extend(body);
    message
}

/// An AVP (RFC 6733 §4.1) that the peer must understand.
fn avp(code: u32, data: &[u8]) -> Vec<u8> {
    let mut avp = code.to_be_bytes().to_vec();
    avp.extend((0x40 << 24 | (8 + data.len() as u32)).to_be_bytes());
    avp.extend(data);
    avp.resize(avp.len().next_multiple_of(4), 0);
    avp
}

/// The data of the first AVP with this code, if the message is in order.
fn find(message: &[u8], code: u32) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    while let Some((header, _)) = rest.split_first_chunk::<8>() {
        let found = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let len = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let data = rest.get(8..len)?;
        if found == code {
            return Some(data);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}
