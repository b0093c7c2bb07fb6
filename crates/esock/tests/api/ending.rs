//! How associations and endpoints end when all goes well.

use crate::net::*;
use crate::polls::{Drop, give_up};
use esock::{CloseReason, Context, Event, Received, SendError, State};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_both_ends_gracefully() {
    let mut pair = Pair::new().await;
    let reason = soon(pair.near.shutdown()).await;
    assert_eq!(reason, CloseReason::Shutdown);
    let (messages, events, reason) = rest(&mut pair.far_rx).await;
    assert_eq!((messages.len(), reason), (0, CloseReason::Shutdown));
    assert!(events.contains(&Event::ShutdownReceived));
    assert_eq!(rest(&mut pair.near_rx).await.2, CloseReason::Shutdown);
    assert_eq!(soon(pair.far.closed()).await, CloseReason::Shutdown);
    assert_eq!((pair.near.state(), pair.far.state()), (State::Closed, State::Closed));
    // Again, it only says what has happened.
    assert_eq!(soon(pair.near.shutdown()).await, CloseReason::Shutdown);
    pair.near.abort(b"too late");
    assert_eq!(soon(pair.near.closed()).await, CloseReason::Shutdown);
    assert_eq!((pair.client.association_count(), pair.server.association_count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_may_shut_down_at_once() {
    for _ in 0..20 {
        let mut pair = Pair::new().await;
        pair.near.send(on_stream(0), "there").await.unwrap();
        pair.far.send(on_stream(0), "back").await.unwrap();
        let (one, other) = soon(async { tokio::join!(pair.near.shutdown(), pair.far.shutdown()) }).await;
        assert_eq!((one, other), (CloseReason::Shutdown, CloseReason::Shutdown));
        assert_eq!(rest(&mut pair.near_rx).await.0[0].payload, "back");
        assert_eq!(rest(&mut pair.far_rx).await.0[0].payload, "there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_a_shutdown_arrives_before_the_end() {
    let mut pair = Pair::new().await;
    for number in 0..300 {
        pair.near.send(on_stream((number % 10) as u16), numbered(number, 2000)).await.unwrap();
    }
    assert_eq!(soon(pair.near.shutdown()).await, CloseReason::Shutdown);
    assert_eq!(soon(pair.far.closed()).await, CloseReason::Shutdown);
    // It has ended, and only now somebody reads.
    let (messages, _, reason) = rest(&mut pair.far_rx).await;
    assert_eq!(reason, CloseReason::Shutdown);
    let mut heard: Vec<u64> = messages.iter().map(number_of).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_came_before_the_peers_shutdown_are_read_before_it_is_told() {
    let mut pair = Pair::new().await;
    pair.near.send(on_stream(0), "last words").await.unwrap();
    soon(pair.near.shutdown()).await;
    let mut seen = Vec::new();
    while let Some(received) = soon(pair.far_rx.recv()).await {
        match received {
            Received::Message(_) => seen.push("message"),
            Received::Event(Event::ShutdownReceived) => seen.push("shutdown"),
            Received::Event(Event::Closed(_)) => seen.push("closed"),
            _ => {}
        }
    }
    assert_eq!(seen, ["message", "shutdown", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_sent_while_it_ends_and_after() {
    let pair = Pair::new().await;
    pair.cut();
    let shutting_down = tokio::spawn({
        let near = pair.near.clone();
        async move { near.shutdown().await }
    });
    until("the shutdown has begun", || pair.near.state() != State::Established).await;
    let rejected = pair.near.send(on_stream(0), "late").await.unwrap_err();
    assert_eq!((rejected.error, rejected.payload), (SendError::ShuttingDown, "late".into()));
    pair.mend();
    assert_eq!(soon(shutting_down).await.unwrap(), CloseReason::Shutdown);
    let rejected = pair.near.send(on_stream(0), "later").await.unwrap_err();
    assert_eq!((rejected.error, rejected.payload), (SendError::Closed, "later".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_handle_shuts_down_gracefully() {
    let Pair { client, server, near, near_rx, far, mut far_rx } = Pair::new().await;
    near.send(on_stream(0), "farewell").await.unwrap();
    let clone = near.clone();
    drop(near);
    drop(clone);
    tokio::time::sleep(millis(100)).await;
    assert_eq!(client.association_count(), 1, "a receiver is a handle too");
    drop(near_rx);
    let (messages, _, reason) = rest(&mut far_rx).await;
    assert_eq!(messages[0].payload, "farewell");
    assert_eq!(reason, CloseReason::Shutdown);
    until("the client has forgotten it", || client.association_count() == 0).await;
    assert_eq!(far.state(), State::Closed);
    assert_eq!(server.association_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_handle_alone_keeps_it_too() {
    let Pair { client, near, near_rx, mut far_rx, .. } = Pair::new().await;
    drop(near_rx);
    tokio::time::sleep(millis(100)).await;
    assert_eq!(client.association_count(), 1);
    near.send(on_stream(0), "still here").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn associations_outlive_the_handles_of_their_endpoint() {
    let Pair { client, server, near, mut near_rx, far, mut far_rx } = Pair::new().await;
    let to = to(&server);
    drop(server);
    drop(client);
    near.send(on_stream(0), "still").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "still");
    far.send(on_stream(0), "here").await.unwrap();
    assert_eq!(message(&mut near_rx).await.payload, "here");

    // Nobody new gets in.
    let mut hasty = fast();
    hasty.max_init_retransmits = 1;
    let other = builder().config(hasty).open().await.unwrap();
    soon(other.connect(to)).await.unwrap_err();

    assert_eq!(soon(near.shutdown()).await, CloseReason::Shutdown);
    assert_eq!(rest(&mut far_rx).await.2, CloseReason::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_closes_shuts_its_associations_down() {
    let server = endpoint().await;
    let mut clients = Vec::new();
    let mut accepted = Vec::new();
    for _ in 0..5 {
        let client = endpoint().await;
        let (near, far) = connect(&client, &server).await;
        far.0.send(on_stream(0), "the end").await.unwrap();
        clients.push((client, near));
        accepted.push(far);
    }
    soon(server.close()).await;
    for (client, (_, mut near_rx)) in clients {
        let (messages, _, reason) = rest(&mut near_rx).await;
        assert_eq!(messages[0].payload, "the end");
        assert_eq!(reason, CloseReason::Shutdown);
        assert_eq!(client.association_count(), 0);
    }
    for (_, mut far_rx) in accepted {
        assert_eq!(rest(&mut far_rx).await.2, CloseReason::Shutdown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_nobody_accepted_are_shut_down_with_the_endpoint() {
    let (client, server) = (endpoint().await, endpoint().await);
    open_the_door(&server).await;
    let (_near, mut near_rx) = soon(client.connect(to(&server))).await.unwrap();
    drop(server);
    assert_eq!(rest(&mut near_rx).await.2, CloseReason::Shutdown);
}

#[tokio::test]
async fn closing_all_takes_no_longer_for_many_endpoints_than_for_one() {
    let server = builder().open().await.unwrap();
    let context = Context::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let client = builder().context(context.clone()).config(patient()).open().await.unwrap();
        held.push((connect(&client, &server).await, client));
    }
    // Nobody hears a SHUTDOWN.
    held[0].1.impairment(|network| network.block(v4(1), esock::Direction::Both));
    let start = std::time::Instant::now();
    soon(context.close()).await;
    let took = start.elapsed();
    assert!((esock::LINGER..esock::LINGER * 2).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_all_goes_on_when_it_is_called_again() {
    let context = Context::new();
    let pair = Pair::with([builder().context(context.clone()), builder()]).await;
    pair.cut();
    assert!(give_up(Drop::Pending(1), context.close()).await.is_none());
    assert!(context.endpoints().is_empty(), "they have been closed");
    pair.mend();
    soon(context.close()).await;
    assert_eq!(pair.client.association_count(), 0);
    assert_eq!(give_up(Drop::Pending(1), pair.near.closed()).await, Some(CloseReason::Shutdown));
}
