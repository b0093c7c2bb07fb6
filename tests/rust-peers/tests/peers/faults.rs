//! The faults of peers that their files work around, shown on the wire without the workarounds: when one of these
//! tests fails, a fault is gone, and its workaround and remark can go.

use crate::rtc_sctp::RtcSctp;
use crate::sctp_proto::SctpProto;
use esock_proto::CloseReason;
use esock_rust_peers::wire::code;
use esock_rust_peers::{Peer, Setup, World, seed};
use std::time::Duration;

/// A peer with workarounds.
pub trait Faulty: Peer {
    /// Leaves them out.
    fn without_workarounds(&mut self);

    /// How many associations it has.
    fn association_count(&self) -> usize;
}

fn plain<P: Faulty>() -> World<P> {
    let mut world = World::<P>::new(seed(), Setup::default());
    world.peer.without_workarounds();
    world
}

fn connected<P: Faulty>() -> World<P> {
    let mut world = plain::<P>();
    world.they_connect();
    world.until("both ends are up", Duration::from_secs(60), World::is_up);
    world
}

fn a_packet_is_discarded_for_an_unknown_chunk<P: Faulty>() {
    let mut world = connected::<P>();
    world.search_mtu();
    world.run(Duration::from_secs(60));
    // Path MTU probes: a HEARTBEAT and a PAD chunk, of which the latter is to be skipped (RFC 9260 §3.2).
    let [ours, theirs] = &world.seen;
    assert!(ours.count(code::PAD) >= 3, "no probes were sent");
    assert_eq!(theirs.count(code::HEARTBEAT_ACK) + ours.count(code::PAD), ours.count(code::HEARTBEAT));
}

fn shutdown_never_ends_for_who_begins_it<P: Faulty>() {
    let mut world = connected::<P>();
    world.peer.shutdown(world.now);
    world.run(Duration::from_secs(60));
    assert_eq!(world.our_end(), Some(&CloseReason::Shutdown));
    assert_eq!(world.seen[1].count(code::SHUTDOWN_COMPLETE), 1);
    assert_eq!(world.their_end(), None);
}

fn shutdown_ack_is_sent_for_ever_where_shutdown_complete_is_lost<P: Faulty>() {
    let mut world = connected::<P>();
    world.lose_next(code::SHUTDOWN_COMPLETE);
    world.shutdown();
    world.run(Duration::from_secs(600));
    assert!(world.seen[0].count(code::SHUTDOWN_COMPLETE) >= 8);
    assert!(world.seen[1].count(code::SHUTDOWN_ACK) >= 8);
    assert_eq!(world.their_end(), None);
}

fn connecting_at_once_makes_two_associations<P: Faulty>() {
    let mut world = plain::<P>();
    world.we_connect();
    world.they_connect();
    world.until("both ends are up", Duration::from_secs(60), World::is_up);
    assert_eq!(world.peer.association_count(), 2);
}

macro_rules! shared {
    ($($module:ident: $peer:ty,)*) => {
        $(
            mod $module {
                #[test]
                fn a_packet_is_discarded_for_an_unknown_chunk() {
                    super::a_packet_is_discarded_for_an_unknown_chunk::<$peer>();
                }

                #[test]
                fn shutdown_never_ends_for_who_begins_it() {
                    super::shutdown_never_ends_for_who_begins_it::<$peer>();
                }

                #[test]
                fn shutdown_ack_is_sent_for_ever_where_shutdown_complete_is_lost() {
                    super::shutdown_ack_is_sent_for_ever_where_shutdown_complete_is_lost::<$peer>();
                }

                #[test]
                fn connecting_at_once_makes_two_associations() {
                    super::connecting_at_once_makes_two_associations::<$peer>();
                }
            }
        )*
    };
}

shared! {
    sctp_proto: crate::sctp_proto::SctpProto,
    rtc_sctp: crate::rtc_sctp::RtcSctp,
}

#[test]
fn rtc_sctp_answers_no_init_with_supported_address_types() {
    let mut world = plain::<RtcSctp>();
    world.we_connect();
    world.run(Duration::from_secs(600));
    assert_eq!(world.our_end(), Some(&CloseReason::TimedOut));
    assert_eq!(world.seen[1].packets, 0);
}

#[test]
fn sctp_proto_forgets_an_association_without_a_word() {
    let mut world = connected::<SctpProto>();
    let sent = world.seen[1].packets;
    world.peer.close();
    world.run(Duration::from_secs(1));
    assert_eq!(world.seen[1].packets, sent);
    assert_eq!(world.our_end(), None);
}
