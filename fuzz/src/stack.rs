//! A stack in every state, fed packets of every kind: nothing panics, loops, grows or waits for nothing.
//!
//! The other end is a real stack, so that every state is reached; packets that it never sent are put between.

use crate::input::Input;
use crate::packets::{alter, build, fix_checksum};
use crate::world::{Packet, Policy, UDP, World, address};
use esock_proto::{Encapsulation, Icmp, IcmpKind, PathId, Ppid, SendOptions, StreamId};
use std::time::Duration;

/// Steps of one input at most.
const STEPS: usize = 300;

/// See the module.
pub fn run(data: &[u8]) {
    rest(&mut play(data));
}

/// Does what an input says; how the world is then.
pub fn play(data: &[u8]) -> World {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut world, &mut input);
    }
    world
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let what = input.byte();
    let host = usize::from(what >> 7);
    match what & 0x1f {
        0..=2 => {
            world.deliver_next();
        }
        3 => world.deliver_all(),
        4 => {
            world.wire.pop_front();
        }
        5 => {
            let encapsulation = [Encapsulation::Default, Encapsulation::Both(UDP), Encapsulation::Native];
            world.connect(host, encapsulation[input.below(3)]);
        }
        6..=13 => inject(world, input, host, build),
        14..=16 => inject(world, input, host, |input, known| {
            let at = known.log.len().checked_sub(1 + input.below(32));
            let mut data = at.and_then(|at| known.log.get(at)).map(|packet| packet.data.clone()).unwrap_or_default();
            alter(input, &mut data, 0);
            fix_checksum(&mut data);
            data
        }),
        17 => inject(world, input, host, |input, _| input.blob().to_vec()),
        18 => {
            // A packet again that was sent before.
            let at = world.log.len().checked_sub(1 + input.below(64));
            if let Some(packet) = at.and_then(|at| world.log.get(at)).cloned() {
                world.deliver(&packet);
            }
        }
        19 => world.pass(Duration::from_secs(100)),
        20 => world.pass(Duration::from_millis(input.byte().into())),
        21 => world.jump(Duration::from_millis(1 << (input.byte() % 36))),
        22..=24 => send(world, input, host),
        25 => read(world, input, host),
        26 => command(world, input, host),
        27 => {
            let policies = [Policy::Accept, Policy::Refuse, Policy::Hold, Policy::Ignore];
            world.hosts[host].policy = policies[input.below(4)];
        }
        28 => world.decide(host, [Policy::Accept, Policy::Refuse, Policy::Ignore][input.below(3)]),
        29 => icmp(world, input, host),
        _ => {
            // Packets overtake each other.
            if let Some(packet) = world.wire.pop_back() {
                world.wire.push_front(packet);
            }
        }
    }
}

/// A packet that nobody sent. The first byte says where it seems to come from.
fn inject(
    world: &mut World,
    input: &mut Input<'_>,
    to: usize,
    make: impl FnOnce(&mut Input<'_>, &crate::packets::Known<'_>) -> Vec<u8>,
) {
    let whence = input.byte();
    let remote = match whence & 0x0f {
        0..=8 => world.hosts[1 - to].addresses[0],
        9..=12 => *world.hosts[1 - to].addresses.last().expect("it has one"),
        13 => address(to, 0),
        14 => address(3, 0),
        _ => std::net::Ipv4Addr::from_bits(input.u32()).into(),
    };
    let local = match whence & 0x30 {
        0x30 => *world.hosts[to].addresses.last().expect("it has one"),
        _ => world.hosts[to].addresses[0],
    };
    let encap_port = match whence & 0xc0 {
        0x80 => None,
        0xc0 => Some(u16::from(input.byte())),
        _ => Some(UDP),
    };
    let data = make(input, &world.known(to));
    world.deliver(&Packet { to, local, remote, encap_port, data });
}

fn send(world: &mut World, input: &mut Input<'_>, host: usize) {
    let Some(id) = world.hosts[host].assocs.last().copied() else { return };
    let shape = input.byte();
    let options = SendOptions {
        stream: StreamId(u16::from(shape & 7)),
        ppid: Ppid(46),
        unordered: shape & 8 != 0,
        sack_immediately: shape & 16 != 0,
        path: (shape & 7 == 7).then_some(PathId(1)),
        ..SendOptions::default()
    };
    let len = (1 + usize::from(input.byte())) << (shape >> 5);
    let rejected = world.hosts[host].stack.send(world.now, id, options, vec![7; len].into()).err();
    assert!(rejected.is_none_or(|rejected| rejected.payload.len() == len), "the payload comes back");
    world.settle(host);
}

fn read(world: &mut World, input: &mut Input<'_>, host: usize) {
    let Some(id) = world.hosts[host].assocs.last().copied() else { return };
    for _ in 0..=input.byte() {
        let waiting = world.hosts[host].stack.ready_messages(id);
        let message = world.hosts[host].stack.recv(world.now, id);
        assert_eq!(message.is_some(), waiting > 0);
        if message.is_none() {
            break;
        }
    }
    world.settle(host);
}

fn command(world: &mut World, input: &mut Input<'_>, host: usize) {
    let now = world.now;
    let crate::world::Host { stack, assocs, .. } = &mut world.hosts[host];
    let at = assocs.len().checked_sub(1 + input.below(2));
    let Some(id) = at.and_then(|at| assocs.get(at)).copied() else { return };
    // It may be gone: that is told, and no more than that.
    let _ = match input.below(6) {
        0 | 1 => stack.shutdown(now, id),
        2 => stack.abort(now, id, b"enough"),
        3 => stack.set_primary(now, id, PathId(input.byte().into())),
        4 => stack.request_heartbeat(now, id, PathId(u16::from(input.byte() & 3))),
        _ => {
            stack.release(now, id);
            assert_eq!(stack.state(id), None);
            Ok(())
        }
    };
    world.settle(host);
}

fn icmp(world: &mut World, input: &mut Input<'_>, host: usize) {
    let at = world.log.len().checked_sub(1 + input.below(16));
    let Some(packet) = at.and_then(|at| world.log.get(at)).cloned() else { return };
    let kind = match input.below(4) {
        0 => IcmpKind::PortUnreachable,
        1 => IcmpKind::ProtocolUnreachable,
        2 => IcmpKind::HostUnreachable,
        _ => IcmpKind::PacketTooBig([0, 68, 576, 1000, 1280, 1399, 9000, u32::MAX][input.below(8)]),
    };
    let quoted = &packet.data[..packet.data.len().min(input.byte().into())];
    let report = Icmp { kind, remote: packet.local, encap_port: packet.encap_port, quoted };
    world.hosts[host].stack.handle_icmp(world.now, report);
    world.settle(host);
}

/// Nothing more is done to it: it comes to rest, and forgets everything when it is told to.
fn rest(world: &mut World) {
    let mut rounds = 0;
    while world.deliver_next() {
        rounds += 1;
        assert!(rounds < 20_000, "packets breed packets");
    }
    for host in 0..2 {
        for id in world.hosts[host].assocs.clone() {
            world.hosts[host].stack.release(world.now, id);
        }
        world.settle(host);
        assert_eq!(world.hosts[host].stack.stats().associations, 0);
        assert_eq!(world.hosts[host].stack.poll_timeout(), None, "a timer of nobody");
    }
}
