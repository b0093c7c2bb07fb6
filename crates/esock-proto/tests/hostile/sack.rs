//! SACKs that acknowledge what was never sent, what was acknowledged before, or nonsense.

use crate::meter::cost;
use crate::wire::*;
use crate::world::*;
use esock_proto::*;
use std::time::Duration;

const WINDOW: u32 = 1 << 20;

/// An association with ten chunks in flight; nothing acknowledged.
fn in_flight() -> (World, Tcb) {
    let mut config = quiet();
    config.initial_mtu = 1400;
    let mut world = World::with(config, StackConfig::default());
    let mut peer = world.settled();
    // Opens cwnd.
    for _ in 0..20 {
        send(&mut world, &peer, 10, 1000);
        let packets = world.collect();
        let sent: Vec<u32> = tsns(&packets);
        let last = *sent.last().expect("something left");
        peer.their_tsn = last.wrapping_add(1);
        let mut replies = world.hit(evil(), &peer.packet(&sack(last, WINDOW, &[], &[])));
        while let Some(last) = tsns(&replies).last().copied() {
            peer.their_tsn = last.wrapping_add(1);
            replies = world.hit(evil(), &peer.packet(&sack(last, WINDOW, &[], &[])));
        }
    }
    assert_eq!(world.stats(peer.id()).in_flight, 0);
    let options = SendOptions::default();
    for at in 0..10u8 {
        world.stack.send(world.now, peer.id(), options, vec![at; 100].into()).expect("room");
        let _ = world.collect();
    }
    let stats = world.stats(peer.id());
    assert_eq!((stats.in_flight, stats.queued), (1000, 0));
    (world, peer)
}

fn send(world: &mut World, peer: &Tcb, count: usize, size: usize) {
    for _ in 0..count {
        let options = SendOptions::default();
        world.stack.send(world.now, peer.id(), options, vec![7; size].into()).expect("room");
    }
}

/// The TSNs of the DATA chunks in these packets.
fn tsns(packets: &[Reply]) -> Vec<u32> {
    let chunks = packets.iter().flat_map(|packet| chunks(&packet.data));
    chunks.filter(|chunk| chunk.0 == DATA).map(|chunk| u32_at(&chunk.2, 0)).collect()
}

/// The one ABORT that ends an association whose peer acknowledges what was never sent (RFC 5062 §5.3 too:
/// guessing TSNs is a way to have us flood somebody).
fn ends_with_protocol_violation(world: &mut World, peer: &Tcb, chunk: &[u8]) {
    let mut replies = Vec::new();
    let packet = peer.packet(chunk);
    let spent = cost(|| replies = world.hit(evil(), &packet));
    assert_eq!(replies.len(), 1);
    let abort = chunks(&replies[0].data).remove(0);
    assert_eq!((abort.0, params(&abort.2)[0].0), (ABORT, 13));
    assert!(replies[0].data.len() <= 100 && spent.kept < 16_384, "{spent:?}");
    assert!(matches!(world.closed(peer.id()), Some(CloseReason::ProtocolViolation { cause: 13, .. })));
    world.assert_at_rest();
}

// covers: RFC 9260 §12.4, RFC 9260 §6.2.1, RFC 5062 §5.3
#[test]
fn a_cumulative_tsn_beyond_what_was_sent_ends_the_association() {
    for beyond in [1u32, 2, 100, 65_535, 1 << 30, (1 << 31) - 20] {
        let (mut world, peer) = in_flight();
        let last = peer.their_tsn.wrapping_add(9);
        let bogus = sack(last.wrapping_add(beyond), WINDOW, &[(1, 5)], &[]);
        ends_with_protocol_violation(&mut world, &peer, &bogus);
    }
}

// §12.4 speaks of SACK. Some peers put a TSN of their own there: what they say of ours counts for nothing, and they may
// shut down all the same.
#[test]
fn a_shutdown_beyond_what_was_sent_acknowledges_nothing() {
    for beyond in [1u32, 1 << 30, (1 << 31) - 20] {
        let (mut world, peer) = in_flight();
        let last = peer.their_tsn.wrapping_add(9);
        let shutdown = chunk(SHUTDOWN, 0, &last.wrapping_add(beyond).to_be_bytes());
        let before = world.stats(peer.id()).counters.bytes_acked;
        let replies = world.hit(evil(), &peer.packet(&shutdown));
        assert!(replies.is_empty(), "all is in flight, nothing is lost, and no SHUTDOWN ACK is due yet");
        let stats = world.stats(peer.id());
        assert_eq!((stats.in_flight, stats.state), (1000, State::ShutdownReceived));
        assert_eq!(stats.counters.bytes_acked, before);
    }
}

// covers: RFC 9260 §12.4, RFC 9260 §3.3.4
#[test]
fn a_gap_block_beyond_what_was_sent_ends_the_association() {
    for block in [(2, 12), (65_535, 65_535), (11, 11), (2, 65_535)] {
        let (mut world, peer) = in_flight();
        let bogus = sack(peer.their_tsn.wrapping_sub(1), WINDOW, &[(3, 3), block], &[]);
        ends_with_protocol_violation(&mut world, &peer, &bogus);
    }
}

// covers: RFC 9260 §6.2.1
#[test]
fn an_old_or_wrapped_cumulative_tsn_is_ignored() {
    let (mut world, peer) = in_flight();
    let before = world.essence(peer.id());
    for back in [2u32, 3, 1000, 65_536, (1 << 31) - 1, 1 << 31] {
        // A window of zero, so that it would be seen if it counted.
        let old = peer.packet(&sack(peer.their_tsn.wrapping_sub(back), 0, &[(1, 65_535)], &[1, 2, 3]));
        assert_eq!(cost(|| world.feed(evil(), &old)).kept, 0);
        assert_eq!(world.collect(), []);
        let mut after = world.essence(peer.id());
        after.counters.sacks_received = before.counters.sacks_received;
        assert_eq!(after, before, "{back} back");
    }
}

// covers: RFC 9260 §3.3.4, RFC 9260 §6.2.1
#[test]
fn gap_blocks_that_are_reversed_or_overlap_are_cleaned() {
    let nonsense: [&[(u16, u16)]; 7] = [
        &[(9, 2)],
        &[(0, 0)],
        &[(5, 5), (3, 4), (2, 9), (4, 6)],
        &[(3, 5), (3, 5), (3, 5)],
        &[(0, 1)],
        &[(8, 10), (65_535, 2), (2, 3)],
        &[(65_535, 0)],
    ];
    for blocks in nonsense {
        let (mut world, peer) = in_flight();
        let behind = peer.their_tsn.wrapping_sub(1);
        let spent = cost(|| world.feed(evil(), &peer.packet(&sack(behind, WINDOW, blocks, &[]))));
        assert!(spent.kept <= 512, "{spent:?}");
        let _ = world.collect();
        let stats = world.stats(peer.id());
        assert!(stats.in_flight <= 1000 && stats.send_buffered == 1000, "{blocks:?}: {stats:#?}");
        assert_eq!(stats.state, State::Established);
        // The truth afterwards sets it right.
        let _ = world.hit(evil(), &peer.packet(&sack(peer.their_tsn.wrapping_add(9), WINDOW, &[], &[])));
        let stats = world.stats(peer.id());
        assert_eq!((stats.in_flight, stats.send_buffered), (0, 0), "{blocks:?}");
        assert!(world.stack.poll_timeout().is_none_or(|at| at > world.now));
    }
}

// covers: RFC 9260 §3.3.4
#[test]
fn a_sack_as_large_as_a_packet_is_bounded_work_and_no_memory() {
    let (mut world, peer) = in_flight();
    let behind = peer.their_tsn.wrapping_sub(1);
    let same = vec![(3, 4); 16_000];
    let down: Vec<(u16, u16)> = (0..16_000u16).map(|at| (10 - at % 9, 10 - at % 9)).collect();
    let reversed = vec![(65_535, 1); 16_000];
    for blocks in [same, down, reversed] {
        let packet = peer.packet(&sack(behind, WINDOW, &blocks, &[]));
        let spent = cost(|| world.feed(evil(), &packet));
        assert!(spent.allocations <= 4 && spent.kept <= 512, "{spent:?}");
        assert!(world.collect().len() <= 4, "Max.Burst");
    }
    let duplicates = vec![behind; 16_000];
    let spent = cost(|| world.feed(evil(), &peer.packet(&sack(behind, WINDOW, &[], &duplicates))));
    assert!(spent.kept <= 0, "{spent:?}");
    assert_eq!(world.stats(peer.id()).send_buffered, 1000);
}

/// A peer that acknowledges and takes back, for ever: what leaves is bounded by what comes, and nothing grows.
// covers: RFC 9260 §6.2.1
#[test]
fn reneging_without_end_is_bounded() {
    let (mut world, peer) = in_flight();
    let behind = peer.their_tsn.wrapping_sub(1);
    let mut packets = 0;
    let mut round = |world: &mut World| {
        packets += world.hit(evil(), &peer.packet(&sack(behind, WINDOW, &[(2, 10)], &[]))).len();
        packets += world.hit(evil(), &peer.packet(&sack(behind, WINDOW, &[], &[]))).len();
    };
    (0..20).for_each(|_| round(&mut world));
    let spent = cost(|| (0..2000).for_each(|_| round(&mut world)));
    assert_eq!(spent.kept, 0);
    let stats = world.stats(peer.id());
    assert!(packets <= 4 * 2020, "{packets} packets for 4040");
    assert_eq!(stats.send_buffered, 1000);
    assert!(stats.counters.reneged > 10_000, "{stats:#?}");
    assert!(stats.in_flight <= 1000);
}

/// A window that opens and shuts with every SACK must not make us send the same data over and over.
// covers: RFC 9260 §6.1
#[test]
fn a_window_that_flaps_does_not_multiply_packets() {
    let (mut world, peer) = in_flight();
    let behind = peer.their_tsn.wrapping_sub(1);
    let (mut bytes_in, mut bytes_out, mut packets_in, mut packets_out) = (0, 0, 0, 0);
    for at in 0..2000 {
        let a_rwnd = if at % 2 == 0 { 0 } else { WINDOW };
        let packet = peer.packet(&sack(behind, a_rwnd, &[], &[]));
        packets_in += 1;
        bytes_in += packet.len() + LOWER_HEADERS;
        for reply in world.hit(evil(), &packet) {
            packets_out += 1;
            bytes_out += reply.data.len() + LOWER_HEADERS;
        }
    }
    println!("a flapping window: {packets_out} packets for {packets_in}, {bytes_out} bytes for {bytes_in}");
    assert!(packets_out <= packets_in, "{packets_out} packets for {packets_in}");
    assert_eq!(world.stats(peer.id()).send_buffered, 1000);
}

// covers: RFC 9260 §6.1, RFC 9260 §7.2.1
#[test]
fn acknowledging_early_opens_the_congestion_window_no_faster_than_the_rules() {
    let (mut world, mut peer) = in_flight();
    let mut cwnd = world.stats(peer.id()).paths[0].cwnd;
    send(&mut world, &peer, 500, 1000);
    let mut replies = world.collect();
    for _ in 0..100 {
        // The peer acknowledges whatever has just left, at once, without having received it.
        let Some(last) = tsns(&replies).last().copied() else { break };
        peer.their_tsn = last;
        replies = world.hit(evil(), &peer.packet(&sack(last, u32::MAX, &[], &[])));
        let now = world.stats(peer.id()).paths[0].cwnd;
        assert!(now <= cwnd + 1400, "from {cwnd} to {now} with one SACK");
        cwnd = now;
        // At most what was acknowledged, and Max.Burst.
        assert!(replies.len() <= 4 + now / 1000, "{} packets", replies.len());
    }
}

// covers: RFC 9260 §12.4
#[test]
fn sacks_before_anything_was_sent_say_nothing_or_end_it() {
    let mut world = World::new();
    let peer = world.settled();
    let before = world.essence(peer.id());
    let behind = peer.their_tsn.wrapping_sub(1);
    for old in [behind, behind.wrapping_sub(1), behind.wrapping_sub(1 << 31)] {
        assert_eq!(world.hit(evil(), &peer.packet(&sack(old, WINDOW, &[], &[5]))), []);
        let mut after = world.essence(peer.id());
        after.counters.sacks_received = before.counters.sacks_received;
        assert_eq!(after, before, "{old}");
    }
    ends_with_protocol_violation(&mut world, &peer, &sack(peer.their_tsn, WINDOW, &[], &[]));
}

/// A window that is shut for ever is no failure (the peer answers), costs no memory, and one probe in each RTO.
// covers: RFC 9260 §6.1
#[test]
fn a_window_that_stays_shut_costs_one_probe_in_each_timeout() {
    let mut world = World::new();
    let peer = world.settled();
    let _ = world.hit(evil(), &peer.packet(&sack(peer.their_tsn.wrapping_sub(1), 0, &[], &[])));
    let options = SendOptions::default();
    let mut taken = 0;
    while world.stack.send(world.now, peer.id(), options, vec![1; 1000].into()).is_ok() {
        taken += 1;
        assert!(taken < 2000, "the send buffer is bounded");
    }
    let shut = peer.packet(&sack(peer.their_tsn.wrapping_sub(1), 0, &[], &[]));
    let mut probes = 0;
    let spent = cost(|| {
        for _ in 0..36_000 {
            let sent = world.wait(Duration::from_millis(100)).len();
            probes += sent;
            if sent > 0 {
                assert_eq!(world.hit(evil(), &shut), []);
            }
        }
    });
    assert!((50..=80).contains(&probes), "{probes} probes in an hour");
    assert!(spent.kept <= 1024, "{spent:?}");
    let stats = world.stats(peer.id());
    assert_eq!((stats.state, stats.error_count, stats.paths[0].state), (State::Established, 0, PathState::Active));
}
