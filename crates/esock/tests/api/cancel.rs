//! Cancel safety: each public future is dropped at every poll, and once more when it has just been woken.
//! Nothing may be lost, come twice, or stay behind.

use crate::net::*;
use crate::polls::{Drop, give_up};
use esock::{CloseReason, Config, Direction, Event, OwnerEvent, Received, State};
use std::collections::{BTreeMap, VecDeque};

/// More polls than any of the futures needs where something happens at each.
const POLLS: usize = 3;

/// Buffers that are full after a few messages.
fn cramped() -> Config {
    let mut config = fast();
    config.send_buffer = 50_000;
    config.receive_window = 50_000;
    config
}

async fn cramped_pair() -> Pair {
    Pair::with([builder().config(cramped()), builder().config(cramped())]).await
}

/// Sends numbered messages in bursts, with pauses in which a reader has nothing to read.
fn send_in_bursts(association: esock::Association, count: u64) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0..count {
            association.send(on_stream(0), numbered(number, 1000)).await.unwrap();
            // In no rhythm that a reader could fall into.
            if number.wrapping_mul(2_654_435_761) >> 5 & 3 == 0 {
                tokio::time::sleep(millis(1)).await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn recv_loses_and_repeats_nothing() {
    const ALL: u64 = 1200;
    let mut pair = Pair::new().await;
    let sender = send_in_bursts(pair.near.clone(), ALL);
    let (mut next, mut given_up) = (0, BTreeMap::new());
    for when in Drop::up_to(POLLS).cycle() {
        match soon(give_up(when, pair.far_rx.recv())).await {
            Some(Some(Received::Message(message))) => {
                assert_eq!(number_of(&message), next);
                next += 1;
            }
            Some(other) => assert!(matches!(other, Some(Received::Event(_))), "{other:?}"),
            None => *given_up.entry(format!("{when:?}")).or_insert(0) += 1,
        }
        if next == ALL {
            break;
        }
    }
    soon(sender).await.unwrap();
    println!("given up: {given_up:?}");
    assert!(given_up["Pending(1)"] > 10 && given_up["Woken(1)"] > 10, "{given_up:?}");
    soon(pair.near.shutdown()).await;
    assert_eq!(rest(&mut pair.far_rx).await.0.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn recv_many_loses_and_repeats_nothing() {
    const ALL: u64 = 600;
    let mut pair = Pair::new().await;
    let sender = send_in_bursts(pair.near.clone(), ALL);
    let (mut next, mut given_up, mut batch) = (0, 0, Vec::new());
    for when in Drop::up_to(POLLS).cycle() {
        match soon(give_up(when, pair.far_rx.recv_many(&mut batch, 2))).await {
            Some(count) => assert_eq!(count, batch.len()),
            None => {
                assert!(batch.is_empty(), "what was taken must be told");
                given_up += 1;
            }
        }
        for received in batch.drain(..) {
            if let Received::Message(message) = received {
                assert_eq!(number_of(&message), next);
                next += 1;
            }
        }
        if next == ALL {
            break;
        }
    }
    soon(sender).await.unwrap();
    assert!(given_up > 10, "{given_up}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_recv_loses_and_repeats_nothing() {
    const EACH: u64 = 300;
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = endpoint().await;
        let (association, receiver) = soon(client.connect(to(&server))).await.unwrap();
        let sender = send_in_bursts(association.clone(), EACH);
        clients.push((client, association, receiver, sender));
    }
    let mut next: BTreeMap<u16, u64> = clients.iter().map(|(client, ..)| (client.port(), 0)).collect();
    let mut given_up = 0;
    for when in Drop::up_to(POLLS).cycle() {
        match soon(give_up(when, owner.recv())).await {
            Some(Some(OwnerEvent::Message { association, message })) => {
                let next = next.get_mut(&association.peer_port()).unwrap();
                assert_eq!(number_of(&message), *next);
                *next += 1;
            }
            Some(None) => panic!("the owner ended"),
            Some(Some(_)) => {}
            None => given_up += 1,
        }
        if next.values().all(|next| *next == EACH) {
            break;
        }
    }
    assert!(given_up > 10, "{given_up}");
    for (.., sender) in clients {
        soon(sender).await.unwrap();
    }
}

/// Reads numbers, slowly, up to `last`.
fn read_up_to(mut receiver: esock::Receiver, last: u64) -> tokio::task::JoinHandle<Vec<u64>> {
    tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            let number = number_of(&message(&mut receiver).await);
            all.push(number);
            if number == last {
                return all;
            }
            if all.len() % 5 == 0 {
                tokio::time::sleep(millis(2)).await;
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn send_takes_a_message_whole_or_not_at_all() {
    const LAST: u64 = 800;
    let Pair { near, near_rx: _near_rx, far: _far, far_rx, client: _client, server: _server } = cramped_pair().await;
    let reader = read_up_to(far_rx, LAST);
    let mut moments = Drop::up_to(POLLS).cycle();
    let (mut taken, mut given_up) = (Vec::new(), BTreeMap::new());
    for number in 0..LAST {
        let when = moments.next().unwrap();
        match soon(give_up(when, near.send(on_stream(0), numbered(number, 9000)))).await {
            Some(sent) => {
                sent.unwrap();
                taken.push(number);
            }
            None => *given_up.entry(format!("{when:?}")).or_insert(0) += 1,
        }
    }
    near.send(on_stream(0), numbered(LAST, 8)).await.unwrap();
    taken.push(LAST);
    assert_eq!(soon(reader).await.unwrap(), taken);
    println!("given up: {given_up:?}");
    assert!(given_up["Pending(1)"] > 10 && given_up["Woken(1)"] > 10, "{given_up:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_many_leaves_in_the_queue_what_it_did_not_take() {
    const LAST: u64 = 1500;
    let Pair { near, near_rx: _near_rx, far: _far, far_rx, client: _client, server: _server } = cramped_pair().await;
    let reader = read_up_to(far_rx, LAST);
    let mut moments = Drop::up_to(POLLS).cycle();
    let (mut queue, mut given_up, mut number) = (VecDeque::new(), 0, 0);
    while number <= LAST || !queue.is_empty() {
        while queue.len() < 20 && number <= LAST {
            queue.push_back((on_stream(0), numbered(number, 4000)));
            number += 1;
        }
        let when = moments.next().unwrap();
        match soon(give_up(when, near.send_many(&mut queue))).await {
            Some(sent) => {
                sent.unwrap();
                assert!(queue.is_empty());
            }
            None => given_up += 1,
        }
    }
    assert_eq!(soon(reader).await.unwrap(), (0..=LAST).collect::<Vec<_>>());
    assert!(given_up > 10, "{given_up}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_gives_up_when_woken_does_not_keep_others_waiting() {
    const ALL: u64 = 400;
    let mut pair = cramped_pair().await;
    let steady = tokio::spawn({
        let near = pair.near.clone();
        async move {
            for number in 0..ALL {
                near.send(on_stream(1), numbered(number, 9000)).await.unwrap();
            }
        }
    });
    let fickle = tokio::spawn({
        let near = pair.near.clone();
        async move { while let None | Some(Ok(())) = give_up(Drop::Woken(1), near.send(on_stream(2), "maybe")).await {} }
    });
    let mut next = 0;
    while next < ALL {
        let message = message(&mut pair.far_rx).await;
        if message.stream.0 == 1 {
            assert_eq!(number_of(&message), next);
            next += 1;
        }
    }
    soon(steady).await.unwrap();
    pair.near.abort(b"");
    soon(fickle).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_hands_out_every_association_once() {
    let server = endpoint().await;
    let rounds: Vec<Drop> = Drop::up_to(POLLS).cycle().take(40).collect();
    let (mut ports, mut accepted, mut connections) = (Vec::new(), Vec::new(), Vec::new());
    for when in &rounds {
        // Somebody else accepts too: what the one leaves, the other must get.
        let (client, connected, one, other) = soon(async {
            let client = endpoint().await;
            let one = give_up(*when, server.accept());
            let other = tokio::time::timeout(millis(if accepted.len() % 2 == 0 { 1 } else { 50 }), server.accept());
            let connecting = client.connect(to(&server));
            let (connected, one, other) = tokio::join!(connecting, tokio::time::timeout(millis(50), one), other);
            (client, connected.unwrap(), one, other)
        })
        .await;
        let one = one.ok().flatten().map(Result::unwrap);
        let other = other.ok().map(Result::unwrap);
        accepted.extend(one);
        accepted.extend(other);
        ports.push(client.port());
        connections.push((client, connected));
    }
    while accepted.len() < rounds.len() {
        accepted.push(soon(server.accept()).await.unwrap());
    }
    let mut heard: Vec<u16> = accepted.iter().map(|(association, _)| association.peer_port()).collect();
    heard.sort_unstable();
    ports.sort_unstable();
    assert_eq!(heard, ports);
    assert!(tokio::time::timeout(millis(100), server.accept()).await.is_err(), "nobody comes twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_that_is_given_up_leaves_nothing_behind() {
    let (client, server) = (endpoint().await, endpoint().await);
    let accepting = tokio::spawn({
        let server = server.clone();
        async move {
            while let Ok((association, _receiver)) = server.accept().await {
                tokio::spawn(async move { association.closed().await });
            }
        }
    });
    let nothing_left = || client.association_count() == 0 && server.association_count() == 0;
    for when in Drop::up_to(POLLS).chain(Drop::up_to(POLLS)) {
        let connected = soon(give_up(when, client.connect(to(&server)))).await;
        if let Some(connected) = connected {
            soon(connected.unwrap().0.shutdown()).await;
        }
        until("both ends have forgotten it", nothing_left).await;
    }
    // In every state of the handshake: 5 ms each way.
    client.impairment(|network| network.set_delay(v4(1), Direction::Both, millis(5)));
    for given in 0..40 {
        let connecting = client.connect(to(&server));
        if let Ok(connected) = tokio::time::timeout(millis(given), connecting).await {
            soon(connected.unwrap().0.shutdown()).await;
        }
        // At once the next one can begin: nothing says that there is one already.
        let (association, _receiver) = soon(client.connect(to(&server))).await.unwrap();
        assert_eq!(soon(association.shutdown()).await, CloseReason::Shutdown);
        until("both ends have forgotten it", nothing_left).await;
    }
    soon(server.close()).await;
    soon(accepting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_goes_on_when_nobody_waits_for_it() {
    for when in Drop::up_to(POLLS) {
        let mut pair = Pair::new().await;
        pair.near.send(on_stream(0), "last words").await.unwrap();
        let reason = soon(give_up(when, pair.near.shutdown())).await;
        if when == Drop::Pending(0) {
            assert_eq!(pair.near.state(), State::Established, "what was never polled has not begun");
            continue;
        }
        assert!(matches!(reason, None | Some(CloseReason::Shutdown)), "{reason:?}");
        let (messages, _, reason) = rest(&mut pair.far_rx).await;
        assert_eq!((messages.len(), reason), (1, CloseReason::Shutdown));
        assert_eq!(soon(pair.near.closed()).await, CloseReason::Shutdown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_tells_whoever_asks_again() {
    for when in Drop::up_to(POLLS) {
        let pair = Pair::new().await;
        let waiting = tokio::spawn({
            let far = pair.far.clone();
            async move { (give_up(when, far.closed()).await, far.closed().await) }
        });
        tokio::time::sleep(millis(5)).await;
        soon(pair.near.shutdown()).await;
        let (first, second) = soon(waiting).await.unwrap();
        assert!(matches!(first, None | Some(CloseReason::Shutdown)), "{first:?}");
        assert_eq!(second, CloseReason::Shutdown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_goes_on_when_it_is_called_again() {
    for when in Drop::up_to(POLLS) {
        let mut pair = Pair::new().await;
        pair.far.send(on_stream(0), "the end").await.unwrap();
        let first = soon(give_up(when, pair.server.close())).await;
        if when == Drop::Pending(0) {
            assert_eq!((first, pair.far.state()), (None, State::Established));
        }
        soon(pair.server.close()).await;
        let (messages, _, reason) = rest(&mut pair.near_rx).await;
        assert_eq!((messages.len(), reason), (1, CloseReason::Shutdown));
        assert_eq!(rest(&mut pair.far_rx).await.2, CloseReason::Shutdown);
        assert!(soon(pair.server.accept()).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_does_not_wait() {
    let sockets = esock::Context::new();
    let open = || builder().port(7000).context(sockets.clone()).open();
    assert!(give_up(Drop::Pending(0), open()).await.is_none());
    let opened = give_up(Drop::Pending(1), open()).await.unwrap().unwrap();
    assert_eq!(opened.port(), 7000);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_not_lost_either() {
    for when in Drop::up_to(POLLS) {
        let mut pair = Pair::new().await;
        let mut seen = Vec::new();
        pair.far.abort(b"enough");
        for _ in 0..200 {
            match soon(give_up(when, pair.near_rx.recv())).await {
                Some(Some(Received::Event(event))) => seen.push(event),
                Some(other) => panic!("{other:?}"),
                None => match pair.near_rx.try_recv() {
                    Some(Received::Event(event)) => seen.push(event),
                    _ => tokio::time::sleep(millis(1)).await,
                },
            }
            if matches!(seen.last(), Some(Event::Closed(_))) {
                break;
            }
        }
        assert!(matches!(seen.first(), Some(Event::Up(_))), "{seen:?}");
        let closed = seen.iter().filter(|event| matches!(event, Event::Closed(_))).count();
        assert_eq!(closed, 1, "{seen:?}");
    }
}
