//! How associations end.

use super::world::{World, closed, event, expect, message, millis, send, soon, until};
use super::{Case, cases};
use esock::{CloseReason, Context, Event, Received, SendError, SendOptions, State};

pub(super) const CASES: &[Case] = cases![
    a_shutdown_delivers_what_was_taken,
    both_ends_may_shut_down_at_once,
    an_abort_ends_both_ends_at_once,
    an_abort_tells_its_reason needs AbortReason,
    after_the_end_nothing_is_taken,
    dropping_the_last_handle_shuts_down,
    closing_an_endpoint_ends_its_associations_and_frees_its_port,
    closing_all_drains_what_was_taken,
    nobody_there_is_an_error_and_not_a_wait,
    a_connect_that_is_dropped_leaves_nothing_behind,
];

async fn a_shutdown_delivers_what_was_taken(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    let payload = vec![7; 100_000];
    for _ in 0..5 {
        send(&ours, payload.clone()).await;
    }
    let ended = tokio::spawn(async move { ours.shutdown().await });
    let mut bytes = 0;
    while bytes < 500_000 {
        bytes += message(&mut their_inbox).await.payload.len();
    }
    assert_eq!(bytes, 500_000);
    assert_eq!(closed(&mut their_inbox).await, CloseReason::Shutdown);
    assert_eq!(soon("the shutdown", ended).await.expect("it ends well"), CloseReason::Shutdown);
    assert!(soon("nothing more", their_inbox.recv()).await.is_none());
}

async fn both_ends_may_shut_down_at_once(world: World) {
    let (_server, _client, (ours, _our_inbox), (theirs, _their_inbox)) = world.pair().await;
    let (one, other) = soon("both", async { tokio::join!(ours.shutdown(), theirs.shutdown()) }).await;
    assert_eq!((one, other), (CloseReason::Shutdown, CloseReason::Shutdown));
}

async fn an_abort_ends_both_ends_at_once(world: World) {
    let (server, client, (ours, mut our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    send(&ours, "before").await;
    expect(world, &mut their_inbox, b"before").await;
    ours.abort(b"");
    assert_eq!(closed(&mut our_inbox).await, CloseReason::LocalAbort);
    assert!(matches!(closed(&mut their_inbox).await, CloseReason::PeerAbort { .. }));
    until("nothing is left", || server.association_count() + client.association_count() == 0).await;
}

async fn an_abort_tells_its_reason(world: World) {
    let (_server, _client, (ours, _our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    ours.abort(b"the reason");
    match closed(&mut their_inbox).await {
        // RFC 9260 §3.3.10.12: User-Initiated Abort.
        CloseReason::PeerAbort { cause: Some(12), info } => assert_eq!(info, "the reason"),
        other => panic!("{other:?}"),
    }
}

async fn after_the_end_nothing_is_taken(world: World) {
    let (_server, _client, (ours, mut our_inbox), _theirs) = world.pair().await;
    ours.abort(b"");
    closed(&mut our_inbox).await;
    let rejected = ours.send(SendOptions::default(), "too late").await.expect_err("it has ended");
    assert!(rejected.error == SendError::Closed && rejected.payload == "too late");
    assert_eq!((ours.state(), soon("its end", ours.closed()).await), (State::Closed, CloseReason::LocalAbort));
    // It has ended already: nothing happens.
    ours.abort(b"");
    assert_eq!(soon("its end", ours.shutdown()).await, CloseReason::LocalAbort);
}

async fn dropping_the_last_handle_shuts_down(world: World) {
    let (server, client, (ours, our_inbox), (_theirs, mut their_inbox)) = world.pair().await;
    send(&ours, "last words").await;
    drop((ours, our_inbox));
    expect(world, &mut their_inbox, b"last words").await;
    assert_eq!(closed(&mut their_inbox).await, CloseReason::Shutdown);
    until("nothing is left", || server.association_count() + client.association_count() == 0).await;
}

async fn closing_an_endpoint_ends_its_associations_and_frees_its_port(world: World) {
    let context = Context::new();
    let server = world.builder_in(&context).open().await.expect("a server");
    let client = world.endpoint().await;
    let ((_ours, mut our_inbox), (theirs, _their_inbox)) = world.join(&client, &server).await;
    send(&theirs, "goodbye").await;
    let close = tokio::spawn({
        let server = server.clone();
        async move { server.close().await }
    });
    expect(world, &mut our_inbox, b"goodbye").await;
    assert_eq!(closed(&mut our_inbox).await, CloseReason::Shutdown);
    soon("closing", close).await.expect("it ends well");
    assert!(server.connect(world.to(&client)).await.is_err() && server.accept().await.is_err());
    let again = world.builder_in(&context).port(server.port()).open().await;
    assert!(again.is_ok(), "its port is free: {again:?}");
}

async fn closing_all_drains_what_was_taken(world: World) {
    let context = Context::new();
    let server = world.endpoint().await;
    let client = world.builder_in(&context).open().await.expect("a client");
    let ((ours, _our_inbox), (_theirs, mut their_inbox)) = world.join(&client, &server).await;
    for _ in 0..20 {
        send(&ours, vec![1; 10_000]).await;
    }
    let all = tokio::spawn(async move { context.close().await });
    let mut bytes = 0;
    loop {
        match soon("the rest", their_inbox.recv()).await {
            Some(Received::Message(message)) => bytes += message.payload.len(),
            Some(Received::Event(Event::Closed(reason))) => break assert_eq!(reason, CloseReason::Shutdown),
            Some(_) => {}
            None => panic!("no end was told"),
        }
    }
    assert_eq!(bytes, 200_000);
    soon("closing all", all).await.expect("it ends well");
}

async fn nobody_there_is_an_error_and_not_a_wait(world: World) {
    let (gone, client) = (world.endpoint().await, world.endpoint().await);
    let to = world.to(&gone);
    // Over UDP the other's sockets go with it, over raw IP its port: either way nobody answers for it.
    gone.close().await;
    drop(gone);
    let error = soon("an answer", client.connect(to)).await.expect_err("nobody is there");
    let esock::ConnectError::Closed(reason) = error else { panic!("{error:?}") };
    let expected = matches!(reason, CloseReason::Refused { .. } | CloseReason::Unreachable | CloseReason::TimedOut);
    assert!(expected, "{reason:?}");
}

async fn a_connect_that_is_dropped_leaves_nothing_behind(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    // The server does not accept yet.
    let waiting = tokio::time::timeout(millis(50), client.connect(world.to(&server))).await;
    drop(waiting);
    until("the client has given up", || client.association_count() == 0).await;
    let (ours, mut their_inbox) = {
        let (connected, accepted) = soon("connecting", async {
            tokio::join!(client.connect(world.to(&server)), async {
                loop {
                    // What the first attempt left in a backlog ends at once.
                    let (association, mut inbox) = server.accept().await.expect("it accepts");
                    if let Ok(Some(Received::Event(Event::Closed(_)))) =
                        tokio::time::timeout(millis(300), last_event(&mut inbox)).await
                    {
                        continue;
                    }
                    return (association, inbox);
                }
            })
        })
        .await;
        (connected.expect("now it accepts"), accepted.1)
    };
    send(&ours.0, "the second").await;
    expect(world, &mut their_inbox, b"the second").await;
    drop(ours.1);
}

/// Waits for the end.
async fn last_event(inbox: &mut esock::Receiver) -> Option<Received> {
    let reason = event(inbox, "Closed", |event| matches!(event, Event::Closed(_)).then_some(event)).await;
    Some(Received::Event(reason))
}
