//! Supervised associations: what is kept for them, and when they are made.

use crate::net::*;
use esock::{
    Direction, EndpointEvent, Event, Impairment, OnDrop, OwnerEvent, Received, SendOptions, State, Supervision,
};
use std::net::{Ipv4Addr, UdpSocket};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Tries again soon, and keeps what was not sent.
fn keeping() -> Supervision {
    let mut policy = Supervision::default();
    policy.first_retry = millis(50);
    policy.longest_retry = millis(200);
    policy.keep_unsent = true;
    policy
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lifetime_of_a_message_that_is_kept_goes_on() {
    let (client, place) = (endpoint().await, endpoint().await);
    let (port, udp_port, to) = (place.port(), place.backend().udp_port.unwrap(), to(&place));
    place.close().await;
    drop(place);
    let (near, mut near_rx) = client.supervise(to, keeping()).unwrap();
    let options = SendOptions { lifetime: Some(millis(100)), context: 7, ..on_stream(0) };
    near.send(options, numbered(1, 100)).await.unwrap();
    near.send(on_stream(0), numbered(2, 100)).await.unwrap();
    let expired = event(&mut near_rx, |event| match event {
        Event::Expired(message) => Some(message.clone()),
        _ => None,
    });
    let expired = expired.await;
    assert_eq!((expired.options, expired.payload), (options, numbered(1, 100)));
    let server = builder().port(port).udp_port(esock::UdpPort::Listen(udp_port)).open().await.unwrap();
    let (_far, mut far_rx) = soon(server.accept()).await.unwrap();
    assert_eq!(numbers(&mut far_rx, 1).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_after_the_peer_has_begun_to_end_is_kept_for_the_next_time() {
    let (client, server) = (endpoint().await, endpoint().await);
    let (near, mut near_rx) = client.supervise(to(&server), keeping()).unwrap();
    let (far, mut far_rx) = soon(server.accept()).await.unwrap();
    soon(near.connected()).await.unwrap();
    client.impairment(|network| network.block(v4(1), Direction::Outgoing));
    near.send(on_stream(0), numbered(1, 100)).await.unwrap();
    let ending = tokio::spawn(async move { far.shutdown().await });
    event(&mut near_rx, |event| matches!(event, Event::ShutdownReceived).then_some(())).await;
    assert_eq!(near.state(), State::ShutdownReceived);
    near.send(on_stream(0), numbered(2, 100)).await.unwrap();
    client.impairment(Impairment::clear);
    assert_eq!(numbers(&mut far_rx, 1).await, [1]);
    soon(ending).await.unwrap();
    drop(far_rx);
    let (_far, mut far_rx) = soon(server.accept()).await.unwrap();
    assert_eq!(numbers(&mut far_rx, 1).await, [2]);
}

/// Takes a port as soon as it is free: when it is told that the sockets have failed, and before they are opened anew.
struct Thief {
    port: u16,
    loot: Mutex<Option<UdpSocket>>,
}

impl Wake for Thief {
    fn wake(self: Arc<Self>) {
        let mut loot = self.loot.lock().unwrap();
        if loot.is_none() {
            *loot = UdpSocket::bind((Ipv4Addr::LOCALHOST, self.port)).ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_supervised_while_sockets_are_opened_anew_is_made_when_they_are() {
    let (client, server) = (endpoint().await, endpoint().await);
    let thief = Arc::new(Thief { port: client.backend().udp_port.unwrap(), loot: Mutex::default() });
    let mut events = client.events();
    assert!(matches!(events.recv().await, Some(EndpointEvent::Opened(_))));
    {
        let waker = Waker::from(thief.clone());
        let mut next = pin!(events.recv());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        client.impairment(Impairment::break_sockets);
        until("the port is taken", || thief.loot.lock().unwrap().is_some()).await;
        let Poll::Ready(failed) = next.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
        assert!(matches!(failed, Some(EndpointEvent::Failed { attempt: 1, .. })), "{failed:?}");
    }
    let (near, _near_rx) = client.supervise(to(&server), keeping()).expect("the endpoint is there");
    near.send(on_stream(0), numbered(1, 100)).await.unwrap();
    drop(thief.loot.lock().unwrap().take());
    let (_far, mut far_rx) = soon(server.accept()).await.unwrap();
    assert_eq!(numbers(&mut far_rx, 1).await, [1]);
    assert_eq!(near.generation(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_handed_an_association_over_begins_with_up_and_is_told_it_once() {
    for has_read in [false, true] {
        let (client, server) = (endpoint().await, endpoint().await);
        let mut first = server.register_owner(|_| true);
        first.on_drop(OnDrop::HandOver);
        let (near, _near_rx) = soon(client.connect(to(&server))).await.unwrap();
        if has_read {
            let up = soon(first.recv()).await.unwrap();
            assert!(matches!(up, OwnerEvent::Event { event: Event::Up(_), .. }), "{up:?}");
        }
        for number in 0..3 {
            near.send(on_stream(0), numbered(number, 100)).await.unwrap();
        }
        until("they are there", || near.stats().unwrap().send_buffered == 0).await;
        client.impairment(|network| network.block(v4(1), Direction::Incoming));
        let far = server.associations().pop().unwrap();
        tokio::spawn(async move { near.shutdown().await });
        let ends = || far.upgrade().is_some_and(|far| far.state() == State::ShutdownAckSent);
        until("it ends", ends).await;
        let mut second = server.register_owner(|_| true);
        drop(first);
        client.impairment(Impairment::clear);
        let mut got = Vec::new();
        loop {
            match soon(second.recv()).await.unwrap() {
                OwnerEvent::Message { message, .. } => got.push(number_of(&message).to_string()),
                OwnerEvent::Event { event: Event::Up(_), .. } => got.push("up".into()),
                OwnerEvent::Event { event: Event::ShutdownReceived, .. } => got.push("shutdown".into()),
                OwnerEvent::Event { event: Event::Closed(_), .. } => break,
                _ => {}
            }
        }
        assert_eq!(got, ["up", "0", "1", "2", "shutdown"], "the first owner has read: {has_read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_association_that_nobody_reads_comes_back_as_long_as_little_waits() {
    let (client, server) = (endpoint().await, endpoint().await);
    let (near, mut near_rx) = client.supervise(to(&server), keeping()).unwrap();
    for generation in 0..3 {
        let (far, far_rx) = soon(server.accept()).await.unwrap();
        until("it is up", || near.generation() == generation && near.state() == State::Established).await;
        drop(far_rx);
        far.abort(b"");
    }
    let mut ups = 0;
    while let Some(next) = near_rx.try_recv() {
        ups += u32::from(matches!(next, Received::Event(Event::Up(_))));
    }
    assert_eq!(ups, 3);
}
