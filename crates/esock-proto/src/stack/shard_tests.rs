use super::*;
use crate::api::{Encapsulation, Peer};
use crate::config::{Config, EndpointConfig, StackConfig};
use crate::transmit::Local;
use crate::types::AssocId;
use crate::wire::{PacketBuilder, kind};

const NOW: Time = Time::ZERO;
const SERVER: u16 = 4000;

fn address(last: u8) -> Address {
    std::net::Ipv4Addr::new(10, 0, 0, last).into()
}

/// A stack with one endpoint that accepts.
fn stack(seed: u8, own: Address, port: u16, shard: Shard) -> (Stack, EndpointId) {
    let mut stack = Stack::new(StackConfig { shard, ..StackConfig::default() }, [seed; 32], NOW);
    let endpoint = EndpointConfig { port, addresses: vec![own], host_addresses: Vec::new(), config: Config::default() };
    let id = stack.open(endpoint).unwrap();
    stack.set_accepting(id, true);
    (stack, id)
}

/// All packets that a stack has.
fn sent(stack: &mut Stack) -> Vec<Vec<u8>> {
    let mut buf = vec![0; 1 << 16];
    let mut packets = Vec::new();
    while let Some(transmit) = stack.poll_transmit(NOW, 1, &mut buf) {
        packets.push(buf[..transmit.size].to_vec());
    }
    packets
}

fn datagram(from: Address, to: Address, data: &[u8]) -> Datagram<'_> {
    let local = Local { address: Some(to), ..Local::default() };
    Datagram { local, remote: from, encap_port: Some(9899), ecn: None, data }
}

fn changes(stack: &mut Stack) -> Vec<(Address, bool)> {
    std::iter::from_fn(|| stack.poll_peer_change()).map(|change| (change.remote, change.listed)).collect()
}

/// A client that has sent INIT.
fn client(seed: u8) -> (Stack, AssocId) {
    let (mut client, endpoint) = stack(seed, address(1), 5000, Shard::ALONE);
    let peer = Peer { addresses: vec![address(2)], port: SERVER, encapsulation: Encapsulation::Udp(9899) };
    let id = client.connect(NOW, endpoint, &peer, None).unwrap();
    (client, id)
}

#[test]
fn every_tag_names_the_shard_that_chose_it() {
    for count in [1, 2, 3, 64, 1000] {
        for index in [0, count / 2, count - 1] {
            let shard = Shard::new(index, count).unwrap();
            for random in [0, 1, 77, 1 << 31, u32::MAX - 1000] {
                let tag = shard.tag(random).unwrap();
                assert_eq!(shard.of(VerificationTag(tag)), index, "{random} of {count}");
            }
        }
    }
    assert_eq!(Shard::new(2, 3).unwrap().tag(u32::MAX), None, "its tag would be larger than any");
    assert_eq!(Shard::new(3, 3), None);
}

#[test]
fn what_has_no_association_here_is_given_back_and_what_has_one_is_taken() {
    let (mut server, _) = stack(2, address(2), SERVER, Shard::new(1, 3).unwrap());
    let (mut peer, id) = client(1);
    let (from, to) = (address(1), address(2));
    let init = sent(&mut peer).remove(0);
    let stray = server.offer_datagram(NOW, datagram(from, to, &init)).expect("nobody has this peer yet");
    assert_eq!((stray.kind, stray.addresses, stray.port), (StrayKind::Init, vec![from], 5000));
    assert_eq!(server.stats().packets_received, 0);
    server.handle_datagram(NOW, datagram(from, to, &init));
    let init_ack = sent(&mut server).remove(0);
    let tag = u32::from_be_bytes(init_ack[16..20].try_into().unwrap());
    assert_eq!(tag % 3, 1, "the Initiate Tag of INIT ACK names the shard");

    peer.handle_datagram(NOW, datagram(to, from, &init_ack));
    let echo = sent(&mut peer).remove(0);
    let stray = server.offer_datagram(NOW, datagram(from, to, &echo)).unwrap();
    assert_eq!(stray.kind, StrayKind::CookieEcho);
    assert_eq!(changes(&mut server), []);
    server.handle_datagram(NOW, datagram(from, to, &echo));
    // An INIT of a peer that waits for the user is this shard's, too.
    assert_eq!(server.offer_datagram(NOW, datagram(from, to, &init)), None);
    let incoming = server.poll_incoming().unwrap();
    let served = server.accept(NOW, incoming).unwrap();
    assert_eq!(changes(&mut server), [(from, true)]);
    for packet in sent(&mut server) {
        peer.handle_datagram(NOW, datagram(to, from, &packet));
    }
    assert_eq!(peer.state(id), Some(crate::State::Established));

    // The peer restarts: its INIT belongs to the association that there is.
    let (mut again, _) = client(9);
    let init = sent(&mut again).remove(0);
    assert_eq!(server.offer_datagram(NOW, datagram(from, to, &init)), None);
    assert_eq!(sent(&mut server).len(), 1);
    server.release(NOW, served);
    assert_eq!(changes(&mut server), [(from, false)]);
    assert!(server.offer_datagram(NOW, datagram(from, to, &init)).is_some());
}

/// A HEARTBEAT with a tag that nobody has.
fn heartbeat(port: u16) -> Vec<u8> {
    let mut data = vec![0; 64];
    let header = Header { source: 5000, destination: port, tag: VerificationTag(8) };
    let mut packet = PacketBuilder::new(&mut data, header);
    packet.chunk(kind::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]);
    let size = packet.finish();
    data.truncate(size);
    data
}

#[test]
fn a_tag_of_nobody_is_given_back_once_and_answered_by_whoever_is_last() {
    let (mut server, _) = stack(2, address(2), SERVER, Shard::new(0, 2).unwrap());
    let (from, to) = (address(1), address(2));
    let packet = heartbeat(SERVER);
    let stray = server.offer_datagram(NOW, datagram(from, to, &packet)).unwrap();
    assert_eq!((stray.kind, stray.addresses), (StrayKind::Other, vec![from]));
    assert!(sent(&mut server).is_empty());
    server.handle_datagram(NOW, datagram(from, to, &packet));
    assert_eq!(sent(&mut server).len(), 1, "an ABORT that reflects the tag");
    // A port of nobody is nobody's in every shard.
    assert_eq!(server.offer_datagram(NOW, datagram(from, to, &heartbeat(1))), None);
}
