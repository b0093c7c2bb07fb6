//! Paths.

use super::world::{Over, World, expect, send, until, v4};
use super::{Case, cases};
use esock::{Endpoint, PathParameters, PathState};

pub(super) const CASES: &[Case] = cases![
    every_association_has_a_path_that_works,
    two_addresses_are_two_paths needs MultiHoming,
    the_primary_path_can_be_chosen needs MultiHoming PrimaryPath,
    parameters_of_a_path_can_be_changed needs PathParameters,
    heartbeats_can_be_asked_for needs RequestHeartbeat,
];

async fn every_association_has_a_path_that_works(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    send(&ours, "x").await;
    expect(world, &mut their_inbox, b"x").await;
    let path = ours.paths().into_iter().next().expect("there is one");
    let stats = path.stats().expect("it can be seen");
    assert_eq!((stats.remote, stats.state), (v4(1), PathState::Active));
    assert!(ours.path(stats.id).is_some() && stats.mtu > 0, "{stats:?}");
    let stats = ours.stats().expect("it can be seen");
    assert_eq!(stats.counters.messages_sent, 1);
}

async fn dual_homed(world: World) -> (Endpoint, Endpoint) {
    let server = world.builder().address(v4(2)).open().await.expect("a server");
    let client = world.builder().address(v4(2)).open().await.expect("a client");
    (server, client)
}

async fn two_addresses_are_two_paths(world: World) {
    let (server, client) = dual_homed(world).await;
    let ((ours, _our_inbox), (theirs, mut their_inbox)) = world.join(&client, &server).await;
    for association in [&ours, &theirs] {
        let mut addresses = association.peer_addresses();
        addresses.sort();
        assert_eq!(addresses, [v4(1), v4(2)]);
        until("both are confirmed", || association.paths().iter().all(|path| path.state() == Some(PathState::Active)))
            .await;
    }
    send(&ours, "over either").await;
    expect(world, &mut their_inbox, b"over either").await;
    let found = client.find_association(v4(2), server.port()).and_then(|weak| weak.upgrade());
    assert!(found == Some(ours), "it is found by the peer's second address");
}

async fn the_primary_path_can_be_chosen(world: World) {
    let (server, client) = dual_homed(world).await;
    let ((ours, _our_inbox), (_theirs, mut their_inbox)) = world.join(&client, &server).await;
    until("both are confirmed", || ours.paths().iter().all(|path| path.state() == Some(PathState::Active))).await;
    let primary = |ours: &esock::Association| {
        let stats = ours.stats().expect("it can be seen");
        stats.paths.iter().find(|path| path.primary).map(|path| path.remote)
    };
    let other = if primary(&ours) == Some(v4(1)) { v4(2) } else { v4(1) };
    let path = ours.paths().into_iter().find(|path| path.remote() == Some(other)).expect("the other");
    path.set_primary().expect("it can be chosen");
    assert_eq!(primary(&ours), Some(other));
    send(&ours, "over the other").await;
    expect(world, &mut their_inbox, b"over the other").await;
}

async fn parameters_of_a_path_can_be_changed(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    let path = ours.paths().into_iter().next().expect("there is one");
    let mut parameters = PathParameters::default();
    parameters.heartbeat_interval = Some(None);
    parameters.path_max_retrans = Some(Some(7));
    path.set_parameters(parameters).expect("they can be changed");
    send(&ours, "x").await;
    expect(world, &mut their_inbox, b"x").await;
}

async fn heartbeats_can_be_asked_for(world: World) {
    let (_server, _client, (ours, _our_inbox), _theirs) = world.pair().await;
    let path = ours.paths().into_iter().next().expect("there is one");
    let heard = || ours.stats().expect("it can be seen").counters.control_chunks_received;
    let before = heard();
    path.request_heartbeat().expect("it is sent");
    // The kernel tells of round trips of a tick or more alone; it counts what answers.
    let is_answered = || path.stats().is_some_and(|stats| stats.srtt.is_some());
    until("it is answered", || is_answered() || (world.over() == Over::Kernel && heard() > before)).await;
}
