//! What look-ups find keeps nothing, and is taken from nobody.

use crate::net::*;
use esock::{Event, Received};

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_an_association_that_waits_for_accept_takes_nothing_from_it() {
    let (client, server) = (endpoint().await, endpoint().await);
    open_the_door(&server).await;
    let (near, _near_rx) = soon(client.connect(to(&server))).await.unwrap();
    let found = server.associations()[0].upgrade().unwrap();
    assert_eq!(found.stats().unwrap().peer_port, client.port());
    assert!(found.receiver().is_none(), "whoever accepts has it");
    drop(found);
    drop(server.find_association(v4(1), client.port()).unwrap().upgrade().unwrap());
    let (far, mut far_rx) = soon(server.accept()).await.unwrap();
    assert!(far.receiver().is_none());
    near.send(on_stream(0), "hello").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_that_ended_while_it_waited_is_accepted_though_somebody_looked() {
    let (client, server) = (endpoint().await, endpoint().await);
    open_the_door(&server).await;
    let (near, _near_rx) = soon(client.connect(to(&server))).await.unwrap();
    near.send(on_stream(0), "hello").await.unwrap();
    let found = server.associations()[0].upgrade().unwrap();
    soon(near.shutdown()).await;
    soon(found.closed()).await;
    drop(found);
    let (_far, mut far_rx) = soon(server.accept()).await.unwrap();
    assert_eq!(rest(&mut far_rx).await.0[0].payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_what_waited_for_accept_keeps_it_when_nobody_accepts_any_more() {
    let (client, server) = (endpoint().await, endpoint().await);
    open_the_door(&server).await;
    let (near, _near_rx) = soon(client.connect(to(&server))).await.unwrap();
    let found = server.associations()[0].upgrade().unwrap();
    drop(server);
    let mut receiver = found.receiver().expect("nobody has it");
    assert!(matches!(soon(receiver.recv()).await, Some(Received::Event(Event::Up(_)))));
    near.send(on_stream(0), "hello").await.unwrap();
    assert_eq!(message(&mut receiver).await.payload, "hello");
}
