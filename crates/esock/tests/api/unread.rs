//! Who sends and does not read.

use crate::net::*;
use esock::{Association, Event, Received, SendError, SendOptions};

/// A pair whose peer takes no more, with a small send buffer.
async fn stalled() -> Pair {
    let (mut near, mut far) = (fast(), fast());
    near.send_buffer = 64 << 10;
    far.receive_window = 8 << 10;
    let mut pair = Pair::with([builder().config(near), builder().config(far)]).await;
    event(&mut pair.near_rx, |event| matches!(event, Event::Up(_)).then_some(())).await;
    while pair.near.stats().unwrap().peer_rwnd > 0 {
        pair.near.try_send(on_stream(0), numbered(0, 1000)).unwrap();
        until("it is acknowledged, or cannot be sent", || {
            let stats = pair.near.stats().unwrap();
            stats.send_buffered == 0 || stats.peer_rwnd == 0
        })
        .await;
    }
    pair
}

/// Sends what is soon of no use until no more is taken, although there is room in the send buffer. Says how much was taken.
async fn fill(near: &Association) -> usize {
    let options = SendOptions { lifetime: Some(millis(1)), ..on_stream(0) };
    let mut taken = 0;
    loop {
        match near.try_send(options, numbered(1, 1000)) {
            Ok(()) => taken += 1,
            Err(rejected) => {
                assert_eq!(rejected.error, SendError::Full);
                // One may be on its way to ask whether the window is open again.
                if near.stats().unwrap().send_buffered <= 1000 {
                    return taken;
                }
            }
        }
        assert!(taken < 1000, "what has expired grows for ever");
        tokio::time::sleep(millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_expired_and_are_not_read_are_as_bounded_as_those_that_wait() {
    let mut pair = stalled().await;
    let taken = soon(fill(&pair.near)).await;
    assert!(taken > 10, "{taken}");

    let waiting = tokio::spawn({
        let near = pair.near.clone();
        async move { near.send(on_stream(0), numbered(2, 1000)).await }
    });
    tokio::time::sleep(millis(50)).await;
    assert!(!waiting.is_finished());
    while let Some(next) = pair.near_rx.try_recv() {
        assert!(matches!(next, Received::Event(Event::Expired(_) | Event::Path { .. })), "{next:?}");
    }
    soon(waiting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_dropped_the_receiver_is_not_kept_waiting_by_what_he_cannot_read() {
    let Pair { near_rx, near, far, far_rx, client, server } = stalled().await;
    let options = SendOptions { lifetime: Some(millis(1)), ..on_stream(0) };
    soon(fill(&near)).await;
    let waiting = tokio::spawn({
        let near = near.clone();
        async move {
            for _ in 0..200 {
                near.send(options, numbered(2, 1000)).await.unwrap();
                tokio::time::sleep(millis(2)).await;
            }
        }
    });
    tokio::time::sleep(millis(50)).await;
    assert!(!waiting.is_finished());
    drop(near_rx);
    soon(waiting).await.unwrap();
    drop((far, far_rx, client, server));
}
