//! How associations begin, and how they do not.

use crate::net::*;
use esock::{Address, CloseReason, ConnectError, ConnectTo, Event, Received, State, StreamId};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_connect_and_echo() {
    let mut pair = Pair::new().await;
    assert_eq!((pair.near.state(), pair.far.state()), (State::Established, State::Established));
    assert_eq!(pair.near.peer_port(), pair.server.port());
    assert_eq!(pair.far.peer_port(), pair.client.port());
    assert_eq!(pair.near.peer_addresses(), [v4(1)]);

    pair.near.send(on_stream(3), "hello").await.unwrap();
    let heard = message(&mut pair.far_rx).await;
    assert_eq!((heard.stream, heard.payload.clone()), (StreamId(3), "hello".into()));
    pair.far.send(on_stream(heard.stream.0), heard.payload).await.unwrap();
    assert_eq!(message(&mut pair.near_rx).await.payload, "hello");
}

#[tokio::test]
async fn one_thread_is_enough() {
    let mut pair = Pair::new().await;
    pair.near.send(on_stream(0), "hello").await.unwrap();
    assert_eq!(message(&mut pair.far_rx).await.payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_begins_with_what_was_agreed_on() {
    let (mut few, mut many) = (fast(), fast());
    (few.outbound_streams, few.inbound_streams, few.adaptation) = (5, 3, Some(77));
    (many.outbound_streams, many.inbound_streams) = (100, 200);
    let mut pair = Pair::with([builder().config(few), builder().config(many)]).await;
    let up = |event: &Event| if let Event::Up(negotiated) = event { Some(*negotiated) } else { None };
    let near = event(&mut pair.near_rx, up).await;
    let far = event(&mut pair.far_rx, up).await;
    assert_eq!((near.outbound_streams, near.inbound_streams, near.adaptation), (5, 3, None));
    assert_eq!((far.outbound_streams, far.inbound_streams, far.adaptation), (3, 5, Some(77)));
    assert_eq!(pair.near.stats().unwrap().negotiated, near);
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_loopback_works_as_well() {
    let on_v6 = || builder_on([Ipv6Addr::LOCALHOST.into()]);
    let mut pair = Pair::with([on_v6(), on_v6()]).await;
    pair.near.send(on_stream(0), "over IPv6").await.unwrap();
    assert_eq!(message(&mut pair.far_rx).await.payload, "over IPv6");
    assert_eq!(pair.far.peer_addresses(), [Address::from(Ipv6Addr::LOCALHOST)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_trying_gets_through_as_soon_as_somebody_accepts() {
    let (client, server) = (endpoint().await, endpoint().await);
    let connecting = tokio::spawn({
        let (client, to) = (client.clone(), to(&server));
        async move { client.connect(to).await }
    });
    tokio::time::sleep(millis(300)).await;
    assert!(!connecting.is_finished(), "nobody accepts, and nobody refuses");
    assert_eq!(server.association_count(), 0);
    soon(server.accept()).await.unwrap();
    soon(connecting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_has_refuses() {
    let (client, server) = (builder().config(patient()).open().await.unwrap(), endpoint().await);
    // No retransmission is waited for.
    let refused = soon(client.connect(to_port(&server, 9))).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Closed(CloseReason::Refused { .. })), "{refused:?}");
    assert!(refused.to_string().contains("refused"), "{refused}");
    assert_eq!(client.association_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_sctp_is_unreachable_at_once() {
    let client = builder().config(patient()).open().await.unwrap();
    // A port that was free a moment ago.
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    // ICMP is heard without a retransmission.
    let nobody = soon(client.connect(ConnectTo::new([v4(1)], 7).encap_port(port))).await.unwrap_err();
    assert_eq!(nobody, ConnectError::Closed(CloseReason::Unreachable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_silent_times_out() {
    let mut hasty = fast();
    hasty.max_init_retransmits = 2;
    let client = builder().config(hasty).open().await.unwrap();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = ConnectTo::new([v4(1)], 7).encap_port(silent.local_addr().unwrap().port());
    let start = Instant::now();
    let timed_out = soon(client.connect(to)).await.unwrap_err();
    assert_eq!(timed_out, ConnectError::Closed(CloseReason::TimedOut));
    // 200, 400 and 400 ms: RTO.Initial, doubled, at most RTO.Max.
    assert!(start.elapsed() >= millis(900), "{:?}", start.elapsed());
    assert_eq!(client.association_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_associations_own_parameters_win_over_its_endpoints() {
    let client = builder().config(patient()).open().await.unwrap();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut hasty = fast();
    hasty.max_init_retransmits = 0;
    let to = ConnectTo::new([v4(1)], 7).encap_port(silent.local_addr().unwrap().port()).config(hasty);
    // With the endpoint's it would take minutes.
    assert_eq!(soon(client.connect(to)).await.unwrap_err(), ConnectError::Closed(CloseReason::TimedOut));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_peer_is_named() {
    let pair = Pair::new().await;
    let client = &pair.client;
    let none: [Address; 0] = [];
    let multicast: Address = Ipv4Addr::new(224, 0, 0, 1).into();
    let cases = [
        (ConnectTo::new(none, 7), esock_proto_errors::no_address()),
        (ConnectTo::new([v4(1)], 0), esock_proto_errors::bad_port()),
        (ConnectTo::new([multicast], 7), esock_proto_errors::bad_address(multicast)),
        (ConnectTo::new([v4(1)], client.port()), esock_proto_errors::bad_address(v4(1))),
        (to(&pair.server), esock_proto_errors::exists()),
    ];
    for (to, wanted) in cases {
        let error = soon(client.connect(to)).await.unwrap_err();
        assert_eq!(error.to_string(), wanted);
        assert!(matches!(error, ConnectError::Invalid(_)));
    }
    assert_eq!(client.association_count(), 1);
}

/// What the errors say.
mod esock_proto_errors {
    use esock::Address;

    pub fn no_address() -> String {
        "no peer address was given".into()
    }

    pub fn bad_port() -> String {
        "the peer's SCTP port is 0; give the port it listens on".into()
    }

    pub fn bad_address(address: Address) -> String {
        format!("{address} cannot be a peer's address here: use a unicast address of another endpoint")
    }

    pub fn exists() -> String {
        "this endpoint already has an association with that peer".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_at_once_is_let_in_without_a_retransmission() {
    let server = builder().config(patient()).open().await.unwrap();
    open_the_door(&server).await;
    let sockets = esock::Context::new();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..120 {
        let client = builder().context(sockets.clone()).config(patient()).open().await.unwrap();
        let to = to(&server);
        crowd.spawn(async move { client.connect(to).await.unwrap() });
    }
    // Whoever lost a packet would wait for a minute.
    let inside = soon(crowd.join_all()).await;
    assert_eq!(inside.len(), 120);
    for _ in 0..120 {
        soon(server.accept()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backlog_is_bounded_and_whoever_found_it_full_gets_in_later() {
    let mut persistent = fast();
    persistent.max_init_retransmits = 100;
    let server = endpoint().await;
    open_the_door(&server).await;
    let sockets = esock::Context::new();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..140 {
        let client = builder().context(sockets.clone()).config(persistent.clone()).open().await.unwrap();
        let to = to(&server);
        crowd.spawn(async move { client.connect(to).await.unwrap() });
    }
    let mut inside = Vec::new();
    for _ in 0..128 {
        inside.push(soon(crowd.join_next()).await.unwrap().unwrap());
    }
    tokio::time::sleep(millis(500)).await;
    assert_eq!(server.association_count(), 128);
    assert!(crowd.try_join_next().is_none());
    let mut accepted = Vec::new();
    for _ in 0..140 {
        accepted.push(soon(server.accept()).await.unwrap());
    }
    inside.extend(soon(crowd.join_all()).await);
    assert_eq!(server.association_count(), 140);
    for (association, _) in &inside {
        association.send(on_stream(0), "here").await.unwrap();
    }
    for (_, receiver) in &mut accepted {
        assert_eq!(message(receiver).await.payload, "here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_connect_to_each_other_at_once_have_one_association() {
    for _ in 0..20 {
        let (one, other) = (endpoint().await, endpoint().await);
        let both = async { tokio::join!(one.connect(to(&other)), other.connect(to(&one))) };
        let (from_one, from_other) = soon(both).await;
        let ((one_end, _one_rx), (other_end, mut other_rx)) = (from_one.unwrap(), from_other.unwrap());
        assert_eq!((one.association_count(), other.association_count()), (1, 1));
        one_end.send(on_stream(0), "hello").await.unwrap();
        assert_eq!(message(&mut other_rx).await.payload, "hello");
        assert_eq!(soon(other_end.shutdown()).await, CloseReason::Shutdown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_endpoint_accepts_nobody_and_says_so() {
    let server = endpoint().await;
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.accept().await }
    });
    tokio::time::sleep(millis(20)).await;
    soon(server.close()).await;
    assert!(soon(waiting).await.unwrap().is_err());
    assert!(soon(server.accept()).await.is_err());
    let error = soon(server.connect(ConnectTo::new([v4(1)], 7))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Invalid(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_may_accept_at_once() {
    let server = endpoint().await;
    let mut acceptors = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let server = server.clone();
        acceptors.spawn(async move { server.accept().await.unwrap() });
    }
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = endpoint().await;
        let (association, receiver) = soon(client.connect(to(&server))).await.unwrap();
        association.send(on_stream(0), numbered(client.port().into(), 8)).await.unwrap();
        clients.push((client, association, receiver));
    }
    let mut heard = Vec::new();
    for (_association, mut receiver) in soon(acceptors.join_all()).await {
        heard.push(number_of(&message(&mut receiver).await));
    }
    let mut sent: Vec<u64> = clients.iter().map(|(client, ..)| client.port().into()).collect();
    heard.sort_unstable();
    sent.sort_unstable();
    assert_eq!(heard, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_where_nothing_has_come() {
    let mut pair = Pair::new().await;
    assert!(matches!(pair.near_rx.try_recv(), Some(Received::Event(Event::Up(_)))));
    assert_eq!(pair.near_rx.try_recv().filter(|one| matches!(one, Received::Message(_))), None);
}
