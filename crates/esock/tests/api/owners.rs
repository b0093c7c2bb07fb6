//! Owners and their filters.

use crate::net::*;
use esock::{CloseReason, ConnectError, Context, Endpoint, Event, OnDrop, OwnerEvent, Received};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A client of its own for a server.
async fn client_of(server: &Endpoint) -> (Endpoint, esock::Association, esock::Receiver) {
    let client = endpoint().await;
    let (association, receiver) = soon(client.connect(to(server))).await.unwrap();
    (client, association, receiver)
}

fn is_refusal(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Closed(CloseReason::Refused { .. } | CloseReason::PeerAbort { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_sees_the_peer_and_can_refuse_it() {
    let server = endpoint().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let _owner = server.register_owner({
        let seen = seen.clone();
        move |candidate| {
            seen.lock().unwrap().push(candidate.clone());
            false
        }
    });
    let mut asked_for = patient();
    (asked_for.outbound_streams, asked_for.adaptation) = (6, Some(42));
    let client = builder().config(asked_for).open().await.unwrap();
    let refused = match soon(client.connect(to(&server))).await {
        Err(error) => error,
        Ok(_) => panic!("it was let in"),
    };
    assert!(is_refusal(&refused), "{refused:?}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "asked once");
    assert_eq!((seen[0].port, seen[0].associations), (client.port(), 0));
    assert_eq!(seen[0].addresses, [v4(1)]);
    assert_eq!((seen[0].negotiated.inbound_streams, seen[0].negotiated.adaptation), (6, Some(42)));
    assert_eq!(seen[0].encap_port, client.backend().udp_port);
    assert_eq!((client.association_count(), server.association_count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_that_says_yes_wins() {
    let server = endpoint().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let register = |name: &'static str, says: bool| {
        let asked = asked.clone();
        server.register_owner(move |_| {
            asked.lock().unwrap().push(name);
            says
        })
    };
    let _no = register("no", false);
    let mut yes = register("yes", true);
    let _late = register("late", true);
    let (_client, association, _receiver) = client_of(&server).await;
    association.send(on_stream(0), "whose?").await.unwrap();
    let (owned_association, message) = owned(&mut yes).await;
    assert_eq!(message.payload, "whose?");
    assert_eq!(owned_association.peer_port(), association.stats().unwrap().local_port);
    assert_eq!(*asked.lock().unwrap(), ["no", "yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_every_message_of_every_association_in_order() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(client_of(&server).await);
    }
    // One at a time, each after the one before it was read.
    for number in 0..3 {
        for (client, association, _) in &clients {
            association.send(on_stream(0), numbered(number, 100)).await.unwrap();
            let (from, message) = owned(&mut owner).await;
            assert_eq!((from.peer_port(), number_of(&message)), (client.port(), number));
        }
    }
    let senders: Vec<_> = clients
        .iter()
        .map(|(_, association, _)| {
            let association = association.clone();
            tokio::spawn(async move {
                for number in 3..503 {
                    association.send(on_stream(0), numbered(number, 5000)).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = std::collections::HashMap::new();
    for _ in 0..2500 {
        let (from, message) = owned(&mut owner).await;
        let next = next.entry(from.peer_port()).or_insert(3);
        assert_eq!(number_of(&message), *next);
        *next += 1;
    }
    for sender in senders {
        soon(sender).await.unwrap();
    }
    // The last words, and the end.
    for (client, association, _) in &clients {
        association.send(on_stream(0), "bye").await.unwrap();
        let (from, _) = owned(&mut owner).await;
        assert_eq!(from.peer_port(), client.port());
        drop(from);
        assert_eq!(soon(association.shutdown()).await, CloseReason::Shutdown);
        let closed = soon(async {
            loop {
                let (association, received) = owner.recv().await.unwrap().into_received().unwrap();
                if let Received::Event(Event::Closed(reason)) = received {
                    return (association.peer_port(), reason);
                }
            }
        });
        assert_eq!(closed.await, (client.port(), CloseReason::Shutdown));
    }
    assert_eq!(server.association_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_association_does_not_keep_others_waiting() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let (noisy_client, noisy, _noisy_rx) = client_of(&server).await;
    let (quiet_client, quiet, _quiet_rx) = client_of(&server).await;
    let noise = tokio::spawn({
        let noisy = noisy.clone();
        async move { while noisy.send(on_stream(0), numbered(1, 500)).await.is_ok() {} }
    });
    until("there is a lot to read", || noisy.stats().unwrap().peer_rwnd < 100_000).await;
    quiet.send(on_stream(0), numbered(2, 500)).await.unwrap();
    until("it has arrived", || quiet.stats().unwrap().send_buffered == 0).await;
    let mut before = 0;
    loop {
        let (from, message) = owned(&mut owner).await;
        if from.peer_port() == quiet_client.port() {
            assert_eq!(number_of(&message), 2);
            break;
        }
        assert_eq!(from.peer_port(), noisy_client.port());
        before += 1;
    }
    assert!(before <= 2, "{before} messages of the noisy one came first");
    noisy.abort(b"");
    soon(noise).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_may_use_the_endpoint_and_take_its_time() {
    let server = endpoint().await;
    let sleeping = Arc::new(AtomicBool::new(false));
    let (enough, thinks) = std::sync::mpsc::channel();
    let thinks = Mutex::new(thinks);
    let mut owner = server.register_owner({
        let (server, sleeping) = (server.clone(), sleeping.clone());
        move |candidate| {
            assert_eq!(server.association_count(), candidate.associations);
            if candidate.associations == 1 {
                sleeping.store(true, Ordering::SeqCst);
                // Until the first has gone on, or for long if it cannot. The runtime's thread is not its own: others of its
                // tasks may be waiting for it.
                let _ = tokio::task::block_in_place(|| thinks.lock().unwrap().recv_timeout(millis(10_000)));
                sleeping.store(false, Ordering::SeqCst);
            }
            true
        }
    });
    let (_first_client, first, mut first_rx) = client_of(&server).await;
    first.send(on_stream(0), "first").await.unwrap();
    let (first_end, _) = owned(&mut owner).await;
    let second = endpoint().await;
    let connecting = tokio::spawn({
        let to = to(&server);
        async move { second.connect(to).await.map(|_| ()) }
    });
    until("the filter thinks", || sleeping.load(Ordering::SeqCst)).await;
    // Meanwhile the first goes on sending: nothing is locked.
    first_end.send(on_stream(0), "meanwhile").await.unwrap();
    assert_eq!(first_end.stats().unwrap().counters.messages_sent, 1);
    assert!(sleeping.load(Ordering::SeqCst), "it has had to wait for the filter");
    enough.send(()).unwrap();
    assert_eq!(message(&mut first_rx).await.payload, "meanwhile");
    soon(connecting).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_panics_says_no_and_harms_nobody_else() {
    let server = endpoint().await;
    let _broken = server.register_owner(|_| panic!("this panic belongs to the test"));
    let client = endpoint().await;
    let refused = soon(client.connect(to(&server))).await.map(|_| ()).unwrap_err();
    assert!(is_refusal(&refused), "{refused:?}");
    // A repetition of the first client's COOKIE ECHO may still be on its way.
    let refused = client.port();
    let mut owner = server.register_owner(move |candidate| candidate.port != refused);
    let (_client, association, _receiver) = client_of(&server).await;
    association.send(on_stream(0), "hello").await.unwrap();
    assert_eq!(owned(&mut owner).await.1.payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_does_not_release_what_another_endpoint_has() {
    // Each the first of its sockets.
    let (one, other) = (Pair::new().await, Pair::new().await);
    let mut owner = one.server.register_owner(|_| true);
    let far = owner.adopt(one.far_rx).unwrap();
    assert!(owner.release(&other.far).is_none());
    one.near.send(on_stream(0), "still its own").await.unwrap();
    assert_eq!(owned(&mut owner).await.0, far);
    assert!(owner.release(&far).is_some() && owner.release(&far).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_an_association_gets_what_an_owner_has_left_of_a_closed_endpoint() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    owner.on_drop(OnDrop::HandOver);
    let (_client, association, _receiver) = client_of(&server).await;
    association.send(on_stream(0), "hello").await.unwrap();
    let (far, _) = owned(&mut owner).await;
    association.send(on_stream(0), "unread").await.unwrap();
    until("it has arrived", || association.stats().unwrap().send_buffered == 0).await;
    soon(server.close()).await;
    drop(owner);
    let mut receiver = far.receiver().expect("nobody has it any more");
    assert_eq!(rest(&mut receiver).await.0[0].payload, "unread");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_without_endpoint_and_associations_ends() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let (_client, association, _receiver) = client_of(&server).await;
    let waiting = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some((_, received)) = owner.recv().await.and_then(OwnerEvent::into_received) {
            all.push(received);
        }
        (all, owner.recv().await.is_none())
    });
    drop(server);
    association.send(on_stream(0), "hello").await.unwrap();
    soon(association.shutdown()).await;
    let (all, none) = soon(waiting).await.unwrap();
    assert!(all.iter().any(|one| matches!(one, Received::Message(_))), "{all:?}");
    assert!(none);

    // And one that never had any.
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let waiting = tokio::spawn(async move { owner.recv().await.is_none() });
    tokio::time::sleep(millis(20)).await;
    drop(server);
    assert!(soon(waiting).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_goes_does_not_open_a_shut_door() {
    let server = endpoint().await;
    let _stays = server.register_owner(|_| true);
    let goes = server.register_owner(|_| true);
    let to = to(&server);
    drop(server);
    drop(goes);
    let mut hasty = fast();
    hasty.max_init_retransmits = 1;
    let client = builder().config(hasty).open().await.unwrap();
    let error = soon(client.connect(to)).await.map(|_| ()).unwrap_err();
    assert_eq!(error, ConnectError::Closed(CloseReason::TimedOut));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_goes_ends_its_associations_and_makes_room_for_the_next() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let (_client, known, mut known_rx) = client_of(&server).await;
    known.send(on_stream(0), "hello").await.unwrap();
    let (kept, _) = owned(&mut owner).await;
    let (_client, _unread, mut unread_rx) = client_of(&server).await;
    drop(owner);
    assert_eq!(rest(&mut unread_rx).await.2, CloseReason::Shutdown);
    known.send(on_stream(0), "who holds it keeps it").await.unwrap();
    drop(kept);
    assert_eq!(rest(&mut known_rx).await.2, CloseReason::Shutdown);

    // Nobody owns the endpoint: a client waits, and gets in with the next owner.
    let client = endpoint().await;
    let connecting = tokio::spawn({
        let to = to(&server);
        async move { client.connect(to).await.map(|connected| (client, connected)) }
    });
    tokio::time::sleep(millis(300)).await;
    assert!(!connecting.is_finished());
    let mut owner = server.register_owner(|_| true);
    let (_client, (association, _receiver)) = soon(connecting).await.unwrap().unwrap();
    association.send(on_stream(0), "at last").await.unwrap();
    assert_eq!(owned(&mut owner).await.1.payload, "at last");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_all_owners_refuse_accept_still_takes() {
    let server = endpoint().await;
    let _owner = server.register_owner(|_| false);
    let client = endpoint().await;
    // It is accepting from the first poll on; before, the peer would be refused.
    let accepting = server.accept();
    tokio::pin!(accepting);
    tokio::select! {
        biased;
        _ = &mut accepting => panic!("nobody has connected"),
        () = std::future::ready(()) => {}
    }
    let (near, _near_rx) = soon(client.connect(to(&server))).await.unwrap();
    let (_far, mut far_rx) = soon(accepting).await.unwrap();
    near.send(on_stream(0), "hello").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_nothing_more_when_its_endpoint_has_closed() {
    let server = endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let (_client, association, _receiver) = client_of(&server).await;
    association.send(on_stream(0), "unread").await.unwrap();
    until("it has arrived", || association.stats().unwrap().send_buffered == 0).await;
    let waiting = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some((_, received)) = owner.recv().await.and_then(OwnerEvent::into_received) {
            all.push(received);
        }
        all
    });
    soon(server.close()).await;
    let all = soon(waiting).await.unwrap();
    assert!(matches!(all.last(), Some(Received::Event(Event::Closed(CloseReason::Shutdown)))), "{all:?}");
    assert_eq!(all.iter().filter(|one| matches!(one, Received::Message(_))).count(), 1);
}

#[test]
fn a_filter_that_counts_is_told_of_whom_it_has_just_let_in() {
    let one_thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (here, elsewhere) = (one_thread(), tokio::runtime::Runtime::new().unwrap());
    let (server, _owner) = here.block_on(async {
        let server = endpoint().await;
        let owner = server.register_owner(|candidate| candidate.associations < 1);
        (server, owner)
    });
    // No packet is sent twice, and each is under way for so long.
    let under_way = millis(300);
    server.impairment(|network| network.set_delay(v4(1), esock::Direction::Incoming, under_way)).unwrap();
    let clients: Vec<_> =
        (0..2).map(|_| elsewhere.block_on(async { builder().config(patient()).open().await.unwrap() })).collect();
    let connecting: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, to) = (client.clone(), to(&server));
            elsewhere.spawn(async move { client.connect(to).await })
        })
        .collect();
    let echoed = |client: &Endpoint| {
        let found = client.associations().first().and_then(esock::WeakAssociation::upgrade);
        found.is_some_and(|association| association.state() == esock::State::CookieEchoed)
    };
    here.block_on(until("both have sent COOKIE ECHO", || {
        clients.iter().all(echoed) && server.impairment(|network| network.held()) == Some(2)
    }));
    // Nobody is awake when they arrive: the next turn finds both.
    std::thread::sleep(under_way);
    let decided = here.block_on(soon(async {
        let mut decided = Vec::new();
        for connecting in connecting {
            decided.push(connecting.await.unwrap());
        }
        decided
    }));
    assert_eq!(decided.iter().filter(|connected| connected.is_ok()).count(), 1);
    let refused = decided.iter().find_map(|connected| connected.as_ref().err()).unwrap();
    assert!(is_refusal(refused), "{refused:?}");
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl std::ops::Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_filter_that_holds_the_endpoint_or_an_association_goes_without_a_deadlock() {
    must_end(|| {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let dropped = Arc::new(AtomicUsize::new(0));
            // With its owner: the filter holds the last handle of an endpoint, on the same sockets.
            let sockets = Context::new();
            let server = builder().context(sockets.clone()).open().await.unwrap();
            let other = builder().context(sockets).open().await.unwrap();
            let counted = Counted(dropped.clone());
            let owner = server.register_owner(move |_| {
                let _ = &counted;
                other.association_count() == 0
            });
            drop(owner);
            assert_eq!(dropped.load(Ordering::SeqCst), 1);

            // With its endpoint: the filter holds the last handle of an association.
            let Pair { server, near, near_rx, far, far_rx, client } = Pair::new().await;
            let counted = Counted(dropped.clone());
            let owner = server.register_owner(move |_| {
                let _ = (&counted, &far, &far_rx);
                true
            });
            drop((near, near_rx));
            soon(server.close()).await;
            drop(owner);
            assert_eq!(dropped.load(Ordering::SeqCst), 2);
            until("it has ended", || client.association_count() == 0).await;
        });
    });
}
