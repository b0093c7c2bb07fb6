//! The registry, and what can be looked up.

use super::world::{World, expect, send, until, v4};
use super::{Case, cases};
use esock::{Context, OpenError, WeakAssociation};

pub(super) const CASES: &[Case] = cases![
    the_same_address_and_port_twice_gives_the_first,
    a_wildcard_overlaps_with_every_address,
    endpoints_are_found_by_their_addresses_and_port,
    associations_are_found_by_any_address_and_both_ports,
    looking_up_keeps_nothing_alive,
    the_backend_says_what_it_is_and_why,
];

async fn the_same_address_and_port_twice_gives_the_first(world: World) {
    let context = Context::new();
    let first = world.builder_in(&context).open().await.expect("the first");
    let second = world.builder_in(&context).port(first.port()).open().await;
    match second {
        Err(OpenError::AlreadyOpen(found)) => assert!(found == first),
        other => panic!("{other:?}"),
    }
    assert!(first.associations().is_empty());
}

async fn a_wildcard_overlaps_with_every_address(world: World) {
    let context = Context::new();
    let first = world.builder_in(&context).open().await.expect("the first");
    let wildcard = world.builder_in(&context).port(first.port()).any().open().await;
    assert!(matches!(wildcard, Err(OpenError::AlreadyOpen(found)) if found == first));
    let port = first.port();
    first.close().await;
    drop(first);
    let wildcard = world.builder_in(&context).port(port).any().open().await.expect("the port is free now");
    let second = world.builder_in(&context).port(port).open().await;
    assert!(matches!(second, Err(OpenError::AlreadyOpen(found)) if found == wildcard));
    assert!(wildcard.addresses().is_empty());
}

async fn endpoints_are_found_by_their_addresses_and_port(world: World) {
    let context = Context::new();
    let one = world.builder_in(&context).open().await.expect("one");
    let two = world.builder_in(&context).open().await.expect("two");
    let all: Vec<_> = context.endpoints().iter().filter_map(|weak| weak.upgrade()).collect();
    assert!(all.len() == 2 && all.contains(&one) && all.contains(&two));
    let find = |address, port| context.find_endpoint(one.protocol(), v4(address), port).and_then(|weak| weak.upgrade());
    assert!(find(1, one.port()) == Some(one.clone()));
    assert!(find(1, two.port()) == Some(two.clone()));
    assert!(find(2, two.port()).is_none(), "it has 127.0.0.1 only");
    two.close().await;
    assert!(find(1, two.port()).is_none(), "it was closed");
}

async fn associations_are_found_by_any_address_and_both_ports(world: World) {
    let context = Context::new();
    let server = world.endpoint().await;
    let client = world.builder_in(&context).open().await.expect("a client");
    let ((ours, _our_inbox), (theirs, mut their_inbox)) = world.join(&client, &server).await;
    let local = (v4(1), client.port());
    let find = |local, remote| context.find_association(client.protocol(), local, remote);
    let found = find(local, (v4(1), server.port())).and_then(|weak| weak.upgrade());
    assert!(found == Some(ours.clone()));
    assert!(find(local, (v4(1), server.port().wrapping_add(1))).is_none());
    assert!(find((v4(7), client.port()), (v4(1), server.port())).is_none());
    let listed: Vec<_> = client.associations().iter().filter_map(WeakAssociation::upgrade).collect();
    assert!(listed == [ours.clone()] && ours.paths().len() == 1 && ours.endpoint() == client);
    assert_eq!((ours.peer_port(), ours.peer_addresses()), (server.port(), vec![v4(1)]));
    assert!(ours.local_addresses().contains(&v4(1)));

    // What was found can be used as any other handle.
    let found = server.find_association(v4(1), theirs.peer_port()).and_then(|weak| weak.upgrade());
    assert!(found == Some(theirs));
    send(&listed[0], "found").await;
    expect(world, &mut their_inbox, b"found").await;
}

async fn looking_up_keeps_nothing_alive(world: World) {
    let (server, client, (ours, our_inbox), _theirs) = world.pair().await;
    let weak = ours.downgrade();
    assert!(weak.upgrade().is_some());
    drop((ours, our_inbox));
    assert!(weak.upgrade().is_none(), "nobody wants it any more");
    until("both have none", || server.association_count() == 0 && client.association_count() == 0).await;
    assert!(client.associations().is_empty());
}

async fn the_backend_says_what_it_is_and_why(world: World) {
    let endpoint = world.endpoint().await;
    assert!(!endpoint.backend().why.is_empty());
    // The timers of the suite are fast: a warning of the configuration is told as one of the sockets would be.
    let warned = endpoint.backend().warnings.iter().any(|warning| warning.starts_with("rto_min"));
    assert!(warned || endpoint.protocol() == esock::Protocol::Tcp, "{:?}", endpoint.backend().warnings);
    let mut events = endpoint.events();
    match events.recv().await {
        Some(esock::EndpointEvent::Opened(chosen)) => assert_eq!(&chosen, endpoint.backend()),
        other => panic!("{other:?}"),
    }
}
