//! How associations and endpoints end when something is wrong.

use crate::net::*;
use esock::{CloseReason, Config, ConnectError, Event, LINGER, SendError, SendOptions, Supervision};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_arrives_with_its_reason() {
    let mut pair = Pair::new().await;
    pair.near.abort(b"no more");
    let (_, _, reason) = rest(&mut pair.far_rx).await;
    // RFC 9260 section 3.3.10.12: User-Initiated Abort.
    assert_eq!(reason, CloseReason::PeerAbort { cause: Some(12), info: "no more".into() });
    assert_eq!(rest(&mut pair.near_rx).await.2, CloseReason::LocalAbort);
    assert_eq!((pair.client.association_count(), pair.server.association_count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_room_is_told_that_it_is_over() {
    let pair = Pair::new().await;
    let sender = tokio::spawn({
        let near = pair.near.clone();
        async move {
            let mut number = 0;
            loop {
                match near.send(on_stream(0), numbered(number, 10_000)).await {
                    Ok(()) => number += 1,
                    Err(rejected) => return (number, rejected),
                }
            }
        }
    });
    until("the window is closed", || pair.near.stats().unwrap().peer_rwnd < 10_000).await;
    tokio::time::sleep(millis(100)).await;
    pair.far.abort(b"");
    let (number, rejected) = soon(sender).await.unwrap();
    assert_eq!((rejected.error, rejected.payload), (SendError::Closed, numbered(number, 10_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_were_not_acknowledged_come_back_when_the_association_fails() {
    let mut hasty = fast();
    hasty.assoc_max_retrans = 2;
    hasty.send_buffer = 2 << 20;
    let mut pair = Pair::with([builder().config(hasty), builder()]).await;
    pair.near.send(on_stream(0), numbered(0, 100)).await.unwrap();
    assert_eq!(numbers(&mut pair.far_rx, 1).await, [0]);
    until("it is acknowledged", || pair.near.stats().unwrap().send_buffered == 0).await;
    pair.cut();
    for number in 1..=100 {
        let options = SendOptions { context: number, ..on_stream((number % 7) as u16) };
        pair.near.send(options, numbered(number, 15_000)).await.unwrap();
    }
    let (messages, events, reason) = rest(&mut pair.near_rx).await;
    assert_eq!((messages.len(), reason), (0, CloseReason::TimedOut));
    let back: Vec<_> = events
        .into_iter()
        .filter_map(|event| if let Event::Undelivered(message) = event { Some(message) } else { None })
        .collect();
    assert_eq!(back.iter().map(|message| message.options.context).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    for message in &back {
        let number = message.options.context;
        assert_eq!(message.payload, numbered(number, 15_000));
        assert_eq!(u64::from(message.options.stream.0), number % 7);
    }
    // The first was sent into the void; with a closed congestion window the last never left.
    assert!(back[0].maybe_received);
    assert!(!back[99].maybe_received);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_gives_back_what_was_on_its_way() {
    let mut pair = Pair::new().await;
    pair.cut();
    pair.near.send(SendOptions { context: 5, ..on_stream(0) }, "lost").await.unwrap();
    pair.near.abort(b"");
    let (_, events, reason) = rest(&mut pair.near_rx).await;
    assert_eq!(reason, CloseReason::LocalAbort);
    let back = |event: &Event| matches!(event, Event::Undelivered(message) if message.options.context == 5);
    assert_eq!(events.iter().filter(|event| back(event)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_association_whose_peer_is_silent_is_aborted_in_the_end() {
    let slow = || builder().config(Config::default());
    let pair = Pair::with([slow(), slow()]).await;
    pair.cut();
    let Pair { client, near, near_rx, .. } = pair;
    let start = Instant::now();
    drop((near, near_rx));
    until("it is gone", || client.association_count() == 0).await;
    let took = start.elapsed();
    assert!(took >= LINGER && took < LINGER + Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_peers_are_silent_closes_in_bounded_time() {
    let slow = || builder().config(Config::default());
    let mut pair = Pair::with([slow(), slow()]).await;
    pair.cut();
    let start = Instant::now();
    soon(pair.client.close()).await;
    let took = start.elapsed();
    assert!(took >= LINGER && took < LINGER + Duration::from_secs(3), "{took:?}");
    assert_eq!(rest(&mut pair.near_rx).await.2, CloseReason::EndpointClosed);
    assert_eq!(pair.near.send(on_stream(0), "late").await.unwrap_err().error, SendError::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_peer_takes_ends_the_association() {
    let mut small = fast();
    small.max_message = 10_000;
    let mut pair = Pair::with([builder(), builder().config(small)]).await;
    pair.near.send(on_stream(0), numbered(1, 10_000)).await.unwrap();
    assert_eq!(numbers(&mut pair.far_rx, 1).await, [1]);
    pair.near.send(on_stream(0), numbered(2, 10_001)).await.unwrap();
    assert_eq!(rest(&mut pair.far_rx).await.2, CloseReason::MessageTooLarge);
    let reason = rest(&mut pair.near_rx).await.2;
    assert!(matches!(reason, CloseReason::PeerAbort { cause: Some(_), .. }), "{reason:?}");
}

#[test]
fn when_the_runtime_goes_everybody_is_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut pair, kept) = runtime.block_on(async {
        let pair = Pair::new().await;
        let client = endpoint().await;
        let (kept, _) = client.supervise(to(&pair.server), Supervision::default()).unwrap();
        soon(kept.connected()).await.unwrap();
        (pair, kept)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        assert_eq!(soon(pair.near.closed()).await, CloseReason::EndpointClosed);
        assert_eq!(rest(&mut pair.far_rx).await.2, CloseReason::EndpointClosed);
        let rejected = soon(pair.near.send(on_stream(0), "hello")).await.unwrap_err();
        assert_eq!((rejected.error, rejected.payload), (SendError::Closed, "hello".into()));
        assert!(soon(pair.server.accept()).await.is_err());
        // Not that it is there already: to a peer of its own.
        let to = to_port(&pair.server, 9);
        let error = soon(pair.client.connect(to.clone())).await.unwrap_err();
        assert_eq!(error, ConnectError::Closed(CloseReason::EndpointClosed));
        let error = pair.client.supervise(to, Supervision::default()).unwrap_err();
        assert_eq!(error, ConnectError::Closed(CloseReason::EndpointClosed));
        // What is kept alive is so no longer.
        assert_eq!(soon(kept.connected()).await, Err(CloseReason::EndpointClosed));
        soon(pair.server.close()).await;
    });
}
