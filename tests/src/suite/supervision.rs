//! Associations that are kept alive.

use super::world::{World, closed, eager, event, expect, message, millis, on, send, soon, until, up};
use super::{Case, cases};
use esock::{CloseReason, ConnectError, Event, SendError, SendOptions, State};

pub(super) const CASES: &[Case] = cases![
    the_client_may_be_there_first,
    the_server_may_start_ten_seconds_after_its_client,
    an_association_comes_back_when_the_server_does_and_its_handle_stays,
    a_supervised_association_can_be_cancelled_while_it_is_down,
    a_supervised_association_can_be_cancelled_while_it_is_up,
    it_is_given_up_after_the_attempts_that_were_allowed,
    sending_while_it_is_down_is_refused_unless_it_was_asked_for,
    messages_taken_while_it_is_down_are_sent_in_order_when_it_is_up,
    what_was_kept_comes_back_when_it_is_cancelled,
    it_lives_without_handles_until_it_is_cancelled,
    one_peer_is_supervised_once,
    an_owner_may_supervise,
];

async fn the_client_may_be_there_first(world: World) {
    let (place, client) = (world.endpoint().await, world.endpoint().await);
    let (port, udp_port, to) = (place.port(), place.backend().udp_port, world.to(&place));
    place.close().await;
    drop(place);
    let (ours, mut our_inbox) = client.supervise(to, eager()).expect("it can be tried");
    let failures = event(&mut our_inbox, "a failed attempt", |event| match event {
        Event::Down { failures, retry_in, .. } => {
            assert!(retry_in > millis(10) && retry_in < millis(700), "{retry_in:?}");
            Some(failures)
        }
        _ => None,
    });
    assert_eq!(failures.await, 1);
    let server = world.endpoint_at(port, udp_port).await;
    let ((), accepted) = tokio::join!(up(&mut our_inbox), server.accept());
    let (_theirs, mut their_inbox) = accepted.expect("it accepts");
    send(&ours, "here I am").await;
    expect(world, &mut their_inbox, b"here I am").await;
    assert_eq!(ours.generation(), 0);
    ours.abort(b"");
}

async fn the_server_may_start_ten_seconds_after_its_client(world: World) {
    let (place, client) = (world.endpoint().await, world.endpoint().await);
    let (port, udp_port, to) = (place.port(), place.backend().udp_port, world.to(&place));
    place.close().await;
    drop(place);
    let mut policy = eager();
    policy.longest_retry = millis(2000);
    let (ours, mut our_inbox) = client.supervise(to, policy).expect("it can be tried");
    tokio::time::sleep(millis(10_000)).await;
    let server = world.endpoint_at(port, udp_port).await;
    let ((), accepted) = tokio::join!(up(&mut our_inbox), server.accept());
    let (_theirs, mut their_inbox) = accepted.expect("it accepts");
    send(&ours, "at last").await;
    expect(world, &mut their_inbox, b"at last").await;
    ours.abort(b"");
}

async fn an_association_comes_back_when_the_server_does_and_its_handle_stays(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let (port, udp_port) = (server.port(), server.backend().udp_port);
    let (ours, mut our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let (theirs, mut their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    up(&mut our_inbox).await;
    send(&ours, "before").await;
    expect(world, &mut their_inbox, b"before").await;
    send(&theirs, "unread").await;
    until("it is there", || ours.stats().is_some_and(|stats| stats.ready_messages > 0)).await;
    drop((theirs, their_inbox));
    server.close().await;
    drop(server);
    expect(world, &mut our_inbox, b"unread").await;
    let reason = event(&mut our_inbox, "Down", |event| match event {
        Event::Down { reason, failures: 0, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, CloseReason::Shutdown);

    let server = world.endpoint_at(port, udp_port).await;
    let (_theirs, mut their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    up(&mut our_inbox).await;
    send(&ours, "after").await;
    expect(world, &mut their_inbox, b"after").await;
    assert_eq!((ours.generation(), ours.state()), (1, State::Established));
    assert!(soon("it is up", ours.connected()).await.is_ok());
    ours.abort(b"");
}

async fn nowhere(world: World) -> esock::ConnectTo {
    let place = world.endpoint().await;
    let to = world.to(&place);
    place.close().await;
    to
}

async fn a_supervised_association_can_be_cancelled_while_it_is_down(world: World) {
    let client = world.endpoint().await;
    let (ours, mut our_inbox) = client.supervise(nowhere(world).await, eager()).expect("it can be tried");
    event(&mut our_inbox, "Down", |event| matches!(event, Event::Down { .. }).then_some(())).await;
    assert_eq!(soon("cancelling", ours.shutdown()).await, CloseReason::Shutdown);
    assert_eq!(closed(&mut our_inbox).await, CloseReason::Shutdown);
    assert!(our_inbox.recv().await.is_none() && client.associations().is_empty());
}

async fn a_supervised_association_can_be_cancelled_while_it_is_up(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let (ours, mut our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let (_theirs, mut their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    up(&mut our_inbox).await;
    send(&ours, "last").await;
    assert_eq!(soon("cancelling", ours.shutdown()).await, CloseReason::Shutdown);
    expect(world, &mut their_inbox, b"last").await;
    assert_eq!(closed(&mut their_inbox).await, CloseReason::Shutdown);
    tokio::time::sleep(millis(600)).await;
    assert_eq!(server.association_count(), 0, "it does not come back");
}

async fn it_is_given_up_after_the_attempts_that_were_allowed(world: World) {
    let client = world.endpoint().await;
    let mut policy = eager();
    policy.max_attempts = Some(3);
    let (ours, mut our_inbox) = client.supervise(nowhere(world).await, policy).expect("it can be tried");
    let mut failures = Vec::new();
    let reason = event(&mut our_inbox, "Closed", |event| match event {
        Event::Down { failures: count, .. } => {
            failures.push(count);
            None
        }
        Event::Closed(reason) => Some(reason),
        _ => None,
    });
    let reason = reason.await;
    assert!(reason != CloseReason::Shutdown && failures == [1, 2], "{reason:?} {failures:?}");
    assert_eq!(ours.connected().await, Err(reason));
}

async fn sending_while_it_is_down_is_refused_unless_it_was_asked_for(world: World) {
    let client = world.endpoint().await;
    let (ours, _our_inbox) = client.supervise(nowhere(world).await, eager()).expect("it can be tried");
    let rejected = soon("an answer", ours.send(SendOptions::default(), "x")).await.expect_err("it is down");
    assert!(rejected.error == SendError::NotConnected && rejected.payload == "x");
    ours.abort(b"");
}

async fn messages_taken_while_it_is_down_are_sent_in_order_when_it_is_up(world: World) {
    let (place, client) = (world.endpoint().await, world.endpoint().await);
    let (port, udp_port, to) = (place.port(), place.backend().udp_port, world.to(&place));
    place.close().await;
    drop(place);
    let mut policy = eager();
    policy.keep_unsent = true;
    let (ours, mut our_inbox) = client.supervise(to, policy).expect("it can be tried");
    for number in 0..200u32 {
        soon("keeping", ours.send(SendOptions::default(), number.to_be_bytes().to_vec())).await.expect("it is kept");
    }
    let too_much = vec![0; world.config().send_buffer];
    assert_eq!(ours.try_send(SendOptions::default(), too_much).expect_err("no room").error, SendError::Full);
    let server = world.endpoint_at(port, udp_port).await;
    let (_theirs, mut their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    up(&mut our_inbox).await;
    send(&ours, 200u32.to_be_bytes().to_vec()).await;
    let mut bytes = Vec::new();
    while bytes.len() < 201 * 4 {
        bytes.extend(message(&mut their_inbox).await.payload);
    }
    let numbers: Vec<u32> = bytes.as_chunks().0.iter().map(|chunk| u32::from_be_bytes(*chunk)).collect();
    assert!(numbers.iter().copied().eq(0..=200), "{numbers:?}");
    ours.abort(b"");
}

async fn what_was_kept_comes_back_when_it_is_cancelled(world: World) {
    let client = world.endpoint().await;
    let mut policy = eager();
    policy.keep_unsent = true;
    let (ours, mut our_inbox) = client.supervise(nowhere(world).await, policy).expect("it can be tried");
    for number in 0..3u8 {
        let options = SendOptions { context: u64::from(number), ..on(0) };
        soon("keeping", ours.send(options, vec![number])).await.expect("it is kept");
    }
    ours.shutdown().await;
    let mut back = Vec::new();
    event(&mut our_inbox, "Closed", |event| match event {
        Event::Undelivered(undelivered) => {
            assert!(!undelivered.maybe_received && undelivered.payload[0] == undelivered.options.context as u8);
            back.push(undelivered.options.context);
            None
        }
        event => matches!(event, Event::Closed(_)).then_some(()),
    })
    .await;
    assert_eq!(back, [0, 1, 2]);
}

async fn it_lives_without_handles_until_it_is_cancelled(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let handles = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let (theirs, mut their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    until("it is up", || handles.0.state() == State::Established).await;
    drop(handles);
    send(&theirs, "are you there?").await;
    let found = client.associations()[0].upgrade().expect("it lives");
    let mut inbox = found.receiver().expect("nobody reads it");
    expect(world, &mut inbox, b"are you there?").await;
    let by_peer = client.find_association(super::world::v4(1), server.port()).and_then(|weak| weak.upgrade());
    assert!(by_peer == Some(found.clone()));
    found.shutdown().await;
    assert_eq!(closed(&mut their_inbox).await, CloseReason::Shutdown);
}

async fn one_peer_is_supervised_once(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let (ours, _our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let second = client.supervise(world.to(&server), eager()).expect_err("there is one already");
    assert_eq!(second, ConnectError::Invalid(esock_exists()));
    ours.shutdown().await;
    let (ours, _our_inbox) = client.supervise(world.to(&server), eager()).expect("it is free again");
    ours.abort(b"");
}

fn esock_exists() -> esock::InvalidConnect {
    esock::InvalidConnect::Exists
}

async fn an_owner_may_supervise(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let mut owner = client.register_owner(|_| false);
    let ours = owner.supervise(world.to(&server), eager()).expect("it can be tried");
    let (theirs, _their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    send(&theirs, "to the owner").await;
    let (association, message) = super::world::owned(&mut owner).await;
    assert!(association == ours && message.payload == "to the owner");
    drop(owner);
    assert_eq!(ours.state(), State::Established, "it does not end with its owner");
    ours.abort(b"");
}
