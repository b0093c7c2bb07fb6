//! TCP, with peers that are not esock's: they do as they like.

use crate::net::{millis, soon, until, v4};
use esock::{
    CloseReason, ConnectError, ConnectTo, Context, Endpoint, EndpointBuilder, Event, OwnerEvent, Protocol, Received,
    SendError, SendOptions, TcpFraming,
};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn builder(framing: TcpFraming) -> EndpointBuilder {
    Endpoint::builder().protocol(Protocol::Tcp).tcp_framing(framing).address(v4(1)).context(Context::new())
}

fn dial(server: &Endpoint) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What an end says first; `port` is that of its endpoint.
fn hello(port: u16) -> Vec<u8> {
    let mut bytes = b"ESOCKTCP\x01\x00".to_vec();
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&[0, 10, 0, 10, 0, 0, 0, 0, 0, 4, 0, 0]);
    bytes
}

/// A frame with data on stream 0.
fn data(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&46u32.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn what_follows_a_hello_at_once_is_not_left_behind() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let mut owner = server.register_owner(|_| true);
    let mut peer = dial(&server);
    peer.write_all(&[hello(7), data(b"early")].concat()).unwrap();
    let message = soon(async {
        loop {
            match owner.recv().await.unwrap() {
                OwnerEvent::Message { message, .. } => return message,
                _ => continue,
            }
        }
    })
    .await;
    assert_eq!(message.payload, "early");
}

#[tokio::test]
async fn a_crowd_of_connections_that_waited_is_let_in_to_the_last() {
    for framing in [TcpFraming::Raw, TcpFraming::Framed] {
        let server = builder(framing).open().await.unwrap();
        let mut peers: Vec<TcpStream> = (0..600).map(|_| dial(&server)).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            let begin = if framing == TcpFraming::Framed { hello(number as u16 + 1) } else { b"x".to_vec() };
            peer.write_all(&begin).unwrap();
        }
        let _owner = server.register_owner(|_| true);
        until("all are in", || server.association_count() == 600).await;
    }
}

/// Reads until the other end closes or resets, and says what came.
fn read_all(mut peer: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it is still open"),
        _ => bytes,
    }
}

#[tokio::test]
async fn whoever_does_not_keep_to_the_frames_is_dropped_and_nothing_stays() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let mut owner = server.register_owner(|_| true);
    let mut huge = vec![0; 4];
    huge.extend_from_slice(&[0xff; 8]);
    let after_the_hello = [
        huge,                                                                 // data of 4 GiB
        data(b""),                                                            // an empty message
        [&[0, 0, 0, 10], &[0, 0, 0, 1, 0, 0, 0, 0, b'x'][..]].concat(),       // a stream that was not negotiated
        vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],                             // a confirmation of nothing
        [&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &data(b"late")].concat(), // data behind the end
        [&[9, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0][..]].concat(), // a long frame of a kind that is not known
    ];
    for (number, bytes) in after_the_hello.into_iter().enumerate() {
        let mut peer = dial(&server);
        peer.write_all(&[hello(number as u16 + 100), bytes].concat()).unwrap();
        let ended = async {
            loop {
                if let OwnerEvent::Event { event: Event::Closed(reason), .. } = owner.recv().await.unwrap() {
                    return reason;
                }
            }
        };
        let reason = soon(ended).await;
        let too_large = reason == CloseReason::MessageTooLarge;
        let violated = matches!(reason, CloseReason::ProtocolViolation { .. });
        assert!(if number == 0 { too_large } else { violated }, "{number}: {reason:?}");
        tokio::task::spawn_blocking(move || read_all(peer)).await.unwrap();
        until("it is forgotten", || server.association_count() == 0).await;
    }
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"ESOCKTCP\x02", &[0; 24]] {
        let mut peer = dial(&server);
        peer.write_all(garbage).unwrap();
        assert!(tokio::task::spawn_blocking(move || read_all(peer)).await.unwrap().is_empty());
    }
    assert_eq!(server.association_count(), 0);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_dropped_in_the_end() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let _owner = server.register_owner(|_| true);
    let start = Instant::now();
    let mut peer = dial(&server);
    // One byte now and then does not help.
    let slow = tokio::task::spawn_blocking(move || {
        for byte in &hello(1)[..20] {
            if peer.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(millis(400));
        }
        read_all(peer)
    });
    slow.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(12));
}

#[tokio::test]
async fn a_refused_peer_takes_nobody_elses_place_in_look_ups() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let _owner = server.register_owner(|candidate| candidate.associations == 0);
    let mut first = dial(&server);
    first.write_all(&hello(4000)).unwrap();
    until("the first is in", || server.association_count() == 1).await;
    let mut second = dial(&server);
    second.write_all(&hello(4000)).unwrap();
    let said = tokio::task::spawn_blocking(move || read_all(second)).await.unwrap();
    assert_eq!((said.len(), said[9]), (24, 2), "it was refused");
    assert!(server.find_association(Ipv4Addr::LOCALHOST, 4000).is_some());
}

#[tokio::test]
async fn raw_bytes_go_both_ways_and_the_end_of_either_half_is_an_end() {
    let server = builder(TcpFraming::Raw).open().await.unwrap();
    let mut peer = dial(&server);
    peer.write_all(b"hello").unwrap();
    let (association, mut receiver) = soon(server.accept()).await.unwrap();
    association.send(SendOptions::default(), "answer").await.unwrap();
    let mut buffer = [0; 6];
    peer.read_exact(&mut buffer).unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut got = Vec::new();
    let reason = soon(async {
        loop {
            match receiver.recv().await.unwrap() {
                Received::Message(message) => got.extend_from_slice(&message.payload),
                Received::Event(Event::Closed(reason)) => return reason,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((got, reason), (b"hello".to_vec(), CloseReason::Shutdown));
    assert!(tokio::task::spawn_blocking(move || read_all(peer)).await.unwrap().is_empty());
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let client = builder(TcpFraming::Raw).open().await.unwrap();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let refused = soon(client.connect(ConnectTo::new([Ipv4Addr::LOCALHOST], closed))).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Closed(CloseReason::Refused { .. })), "{refused:?}");
    // From loopback there is no way out of the host.
    let unreachable = soon(client.connect(ConnectTo::new([Ipv4Addr::new(192, 0, 2, 1)], 9))).await.unwrap_err();
    assert_eq!(unreachable, ConnectError::Closed(CloseReason::Unreachable));
}

#[tokio::test]
async fn a_peer_is_sent_no_message_larger_than_it_takes() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let mut peer = dial(&server);
    let mut begin = hello(7);
    begin[20..].copy_from_slice(&10u32.to_be_bytes());
    peer.write_all(&begin).unwrap();
    let (association, _receiver) = soon(server.accept()).await.unwrap();
    let rejected = association.send(SendOptions::default(), "eleven byte").await.unwrap_err();
    assert_eq!(rejected.error, SendError::TooLarge { len: 11, limit: 10 });
    association.send(SendOptions::default(), "ten bytes!").await.unwrap();
    let mut got = [0; 24 + 12 + 10];
    peer.read_exact(&mut got).unwrap();
    assert!(got.ends_with(b"ten bytes!"));
}

#[tokio::test]
async fn a_peer_that_comes_again_has_one_association_and_the_old_one_ends() {
    let server = builder(TcpFraming::Framed).open().await.unwrap();
    let mut old = dial(&server);
    old.write_all(&hello(7)).unwrap();
    let (_first, mut first_inbox) = soon(server.accept()).await.unwrap();
    // Nobody hears that the old connection has broken.
    let mut new = dial(&server);
    new.write_all(&[hello(7), data(b"again")].concat()).unwrap();
    let (second, mut second_inbox) = soon(server.accept()).await.unwrap();
    let closed = soon(async {
        loop {
            if let Some(Received::Event(Event::Closed(reason))) = first_inbox.recv().await {
                return reason;
            }
        }
    });
    assert!(matches!(closed.await, CloseReason::PeerAbort { .. }));
    let message = soon(async {
        loop {
            if let Some(Received::Message(message)) = second_inbox.recv().await {
                return message;
            }
        }
    });
    assert_eq!(message.await.payload, "again");
    until("one is left", || server.association_count() == 1).await;
    assert!(server.find_association(v4(1), 7).and_then(|weak| weak.upgrade()) == Some(second));
}
