//! Servers that die under load, sockets that fail, and many associations.

use super::world::{End, World, eager, event, message, millis, soon, until, v4};
use super::{Case, cases};
use bytes::Bytes;
use esock::{Association, CloseReason, Direction, Endpoint, EndpointEvent, Event, Received, Receiver, SendOptions};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const CASES: &[Case] = cases![
    a_server_that_dies_ten_times_under_load_loses_nothing_without_a_word needs Impairment MessageBoundaries,
    sockets_that_fail_are_opened_anew needs Impairment,
    sockets_that_fail_too_often_are_given_up needs Impairment,
    three_hundred_associations_on_one_endpoint,
];

/// What became of the client's messages.
#[derive(Debug, Default)]
struct Ledger {
    sent: u64,
    maybe: HashSet<u64>,
    never: HashSet<u64>,
}

fn number(payload: &Bytes) -> u64 {
    u64::from_be_bytes(*payload.first_chunk().expect("eight bytes"))
}

/// Sends numbered messages as fast as they are taken, whenever the association is up.
async fn load(association: Association, stop: Arc<AtomicBool>) -> u64 {
    let mut next = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let mut payload = vec![0; 500];
        payload[..8].copy_from_slice(&next.to_be_bytes());
        match association.send(SendOptions::default(), payload).await {
            Ok(()) => next += 1,
            // Down: it comes up again.
            Err(_) => tokio::time::sleep(millis(5)).await,
        }
    }
    next
}

/// Reads what comes back until the end.
async fn account(mut inbox: Receiver) -> Ledger {
    let mut ledger = Ledger::default();
    while let Some(received) = inbox.recv().await {
        if let Received::Event(Event::Undelivered(back)) = received {
            let number = number(&back.payload);
            let list = if back.maybe_received { &mut ledger.maybe } else { &mut ledger.never };
            assert!(list.insert(number), "{number} came back twice");
        }
    }
    ledger
}

/// Reads until nothing more is there and the network is cut: all that was ever acknowledged.
async fn read_all(inbox: &mut Receiver, got: &mut HashSet<u64>) {
    while let Ok(Some(received)) = tokio::time::timeout(millis(100), inbox.recv()).await {
        if let Received::Message(message) = received {
            assert!(got.insert(number(&message.payload)), "{} came twice", number(&message.payload));
        }
    }
}

/// The server dies: nothing leaves it any more, so that what it acknowledged is what it had; what it had is read.
async fn die(server: Endpoint, (theirs, mut inbox): End, got: &mut HashSet<u64>) {
    server.impairment(|network| network.block(v4(1), Direction::Both));
    read_all(&mut inbox, got).await;
    // Nobody hears this; its sockets go at once.
    theirs.abort(b"");
}

async fn a_server_that_dies_ten_times_under_load_loses_nothing_without_a_word(world: World) {
    let client = world.endpoint().await;
    let mut server = world.endpoint().await;
    let (port, udp_port) = (server.port(), server.backend().udp_port);
    let (ours, our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(load(ours.clone(), stop.clone()));
    let accountant = tokio::spawn(account(our_inbox));
    let mut got = HashSet::new();
    for life in 0..=10 {
        let (theirs, mut inbox) = soon("accepting", server.accept()).await.expect("it accepts");
        let before = got.len();
        while got.len() < before + 200 {
            let message = message(&mut inbox).await;
            assert!(got.insert(number(&message.payload)), "a message came twice");
        }
        if life == 10 {
            stop.store(true, Ordering::Relaxed);
            let sent = soon("the sender", sender).await.expect("it ends well");
            let end = tokio::spawn(async move { ours.shutdown().await });
            // To the end: a retransmission may take longer than a pause.
            while let Some(received) = soon("the rest", inbox.recv()).await {
                if let Received::Message(message) = received {
                    assert!(got.insert(number(&message.payload)), "{} came twice", number(&message.payload));
                }
            }
            soon("the end", end).await.expect("it ends well");
            let mut ledger = soon("the accountant", accountant).await.expect("it ends well");
            ledger.sent = sent;
            return check(&ledger, &got);
        }
        die(server, (theirs, inbox), &mut got).await;
        server = world.endpoint_at(port, udp_port).await;
    }
}

/// Every message was delivered or came back; none that came back as never sent was delivered.
fn check(ledger: &Ledger, got: &HashSet<u64>) {
    assert!(!ledger.maybe.is_empty(), "ten deaths under load, and nothing was on its way?");
    for number in 0..ledger.sent {
        let back = ledger.maybe.contains(&number) || ledger.never.contains(&number);
        assert!(got.contains(&number) || back, "{number} was lost without a word, of {}", ledger.sent);
    }
    if let Some(number) = ledger.never.intersection(got).next() {
        panic!("{number} came back as never sent, and was delivered");
    }
}

async fn sockets_that_fail_are_opened_anew(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let mut events = client.events();
    let mut owner = client.register_owner(|_| true);
    let (ours, mut our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    let (_theirs, _their_inbox) = soon("accepting", server.accept()).await.expect("it accepts");
    super::world::up(&mut our_inbox).await;
    let udp_port = client.backend().udp_port;
    client.impairment(esock::Impairment::break_sockets);
    let reason = event(&mut our_inbox, "Down", |event| match event {
        Event::Down { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(reason.await, CloseReason::DriverFailed);
    assert!(matches!(events.recv().await, Some(EndpointEvent::Opened(_))));
    assert!(matches!(soon("Failed", events.recv()).await, Some(EndpointEvent::Failed { attempt: 1, .. })));
    // Each shard has sockets of its own, which fail and are opened for themselves.
    let mut others = 1..world.shards();
    loop {
        match soon("Reopened", events.recv()).await {
            Some(EndpointEvent::Failed { attempt: 1, .. }) if others.next().is_some() => {}
            Some(EndpointEvent::Reopened(chosen)) => break assert_eq!(chosen.udp_port, udp_port, "it keeps its port"),
            other => panic!("{other:?}"),
        }
    }
    let told = soon("the owner is told", owner.recv()).await;
    assert!(matches!(told, Some(esock::OwnerEvent::Endpoint(EndpointEvent::Failed { .. }))), "{told:?}");
    super::world::up(&mut our_inbox).await;
    // It also accepts as before.
    let other = world.endpoint().await;
    let (theirs, _inbox) = soon("connecting", other.connect(world.to(&client))).await.expect("the owner accepts");
    super::world::send(&theirs, "as before").await;
    assert_eq!(super::world::owned(&mut owner).await.1.payload, "as before");
    ours.abort(b"");
}

async fn sockets_that_fail_too_often_are_given_up(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let mut events = client.events();
    let (_ours, mut our_inbox) = client.supervise(world.to(&server), eager()).expect("it can be tried");
    // Each shard counts its own, and gives up for itself.
    let (mut failures, mut left) = (0, world.shards());
    soon("giving up", async {
        client.impairment(esock::Impairment::break_sockets);
        loop {
            match events.recv().await {
                Some(EndpointEvent::Failed { attempt, .. }) => {
                    assert!(
                        attempt == failures + 1 || (world.shards() > 1 && attempt <= failures),
                        "{attempt} after {failures}"
                    );
                    failures = failures.max(attempt);
                }
                Some(EndpointEvent::Reopened(_)) => {
                    client.impairment(esock::Impairment::break_sockets);
                }
                Some(EndpointEvent::GaveUp { .. }) if left == 1 => break,
                Some(EndpointEvent::GaveUp { .. }) => left -= 1,
                Some(_) => {}
                None => panic!("no word of giving up"),
            }
        }
    })
    .await;
    assert_eq!(failures, 6, "five are forgiven");
    assert_eq!(super::world::closed(&mut our_inbox).await, CloseReason::DriverFailed);
    assert!(client.accept().await.is_err() && events.recv().await.is_none());
}

async fn three_hundred_associations_on_one_endpoint(world: World) {
    let server = world.endpoint().await;
    let mut owner = server.register_owner(|_| true);
    let reader = tokio::spawn(async move {
        let mut bytes = 0;
        while bytes < 300 * 4 {
            bytes += super::world::owned(&mut owner).await.1.payload.len();
        }
        owner
    });
    let mut ends = Vec::new();
    // In one registry, so that no two have the same port.
    let clients = esock::Context::new();
    for _ in 0..300 {
        let mut client = world.builder_in(&clients).open().await.expect("a client");
        if client.port() == server.port() {
            // It would be its own peer.
            client = world.builder_in(&clients).open().await.expect("a client");
        }
        let end = soon("a client", client.connect(world.to(&server))).await.expect("accepted");
        super::world::send(&end.0, "here").await;
        ends.push((client, end));
    }
    let owner = soon("all messages", reader).await.expect("the reader ends well");
    assert_eq!(server.association_count(), 300);
    let (first, _) = &ends[0];
    until("each is found", || !first.associations().is_empty()).await;
    drop(owner);
    until("all have ended", || server.association_count() == 0).await;
}
