//! Owners.

use super::world::{World, closed, expect, millis, owned, owner_event, send, soon, until, up, v4};
use super::{Case, cases};
use esock::{CloseReason, ConnectError, Event, OnDrop, OwnerEvent, Received, peer};

pub(super) const CASES: &[Case] = cases![
    one_client_is_accepted_and_another_refused_by_its_port,
    the_first_owner_whose_filter_says_yes_has_the_peer,
    the_owner_may_send_before_it_has_received_anything,
    without_an_owner_a_client_waits_and_gets_through_when_there_is_one,
    a_dropped_owner_is_unregistered_and_its_associations_end,
    a_dropped_owner_hands_its_associations_to_the_next_that_accepts_them,
    associations_can_be_given_to_an_owner_and_taken_back,
    an_owner_may_connect_and_hears_what_comes_of_it,
    an_owner_sees_how_many_associations_there_are,
    a_peer_that_came_and_went_while_nobody_looked_is_heard,
];

async fn one_client_is_accepted_and_another_refused_by_its_port(world: World) {
    let server = world.endpoint().await;
    let (wanted, unwanted) = (world.endpoint().await, world.endpoint().await);
    // Plain TCP has no ports but the connections' own: there, everybody's data is looked at below.
    let mut owner = if world.keeps_boundaries() {
        server.register_owner(peer(v4(1), wanted.port()))
    } else {
        server.register_owner(|candidate| candidate.associations == 0)
    };
    let (ours, _ours_inbox) = soon("the wanted", wanted.connect(world.to(&server))).await.expect("accepted");
    send(&ours, "from the wanted").await;
    let (association, message) = owned(&mut owner).await;
    assert_eq!(message.payload, "from the wanted");

    match soon("the unwanted", unwanted.connect(world.to(&server))).await {
        Err(ConnectError::Closed(CloseReason::Refused { .. })) => {}
        // Over plain TCP, and where the kernel answers before anybody is asked, it is up for a moment.
        Err(ConnectError::Closed(CloseReason::PeerAbort { .. })) => {}
        Ok((other, mut inbox)) => {
            let _ = other.send(esock::SendOptions::default(), "from the unwanted").await;
            assert!(matches!(closed(&mut inbox).await, CloseReason::PeerAbort { .. } | CloseReason::Refused { .. }));
        }
        Err(other) => panic!("{other:?}"),
    }
    until("nothing is left of the refused", || server.association_count() == 1).await;
    send(&ours, "more").await;
    assert_eq!(owned(&mut owner).await.1.payload, "more", "the refused one's data does not reach the owner");
    assert_eq!(server.associations().len(), 1);
    assert!(server.associations()[0].upgrade() == Some(association));
}

async fn the_first_owner_whose_filter_says_yes_has_the_peer(world: World) {
    let server = world.endpoint().await;
    let (mut first, mut second) =
        (server.register_owner(|candidate| candidate.associations == 0), server.register_owner(|_| true));
    let clients = [world.endpoint().await, world.endpoint().await];
    let mut ends = Vec::new();
    for client in &clients {
        ends.push(soon("a client", client.connect(world.to(&server))).await.expect("accepted"));
        let count = ends.len();
        until("the server has it", || server.association_count() == count).await;
    }
    send(&ends[1].0, "second").await;
    send(&ends[0].0, "first").await;
    assert_eq!(owned(&mut first).await.1.payload, "first");
    assert_eq!(owned(&mut second).await.1.payload, "second");
}

async fn the_owner_may_send_before_it_has_received_anything(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let mut owner = server.register_owner(|_| true);
    let (ours, mut our_inbox) = soon("connecting", client.connect(world.to(&server))).await.expect("accepted");
    until("the server has it", || server.associations().len() == 1).await;
    let found = server.associations()[0].upgrade().expect("the owner keeps it");
    owner_event(&mut owner, "Up", |_, event| matches!(event, Event::Up(_)).then_some(())).await;
    send(&found, "hello Joe").await;
    expect(world, &mut our_inbox, b"hello Joe").await;
    send(&ours, "hello Robert").await;
    let (association, message) = owned(&mut owner).await;
    assert!(association == found && message.payload == "hello Robert");
}

async fn without_an_owner_a_client_waits_and_gets_through_when_there_is_one(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let (ours, mut our_inbox) = client.supervise(world.to(&server), super::world::eager()).expect("it can be tried");
    send_nothing_until(millis(500)).await;
    assert_eq!(server.association_count(), 0, "nobody accepts");
    let mut owner = server.register_owner(|_| true);
    up(&mut our_inbox).await;
    send(&ours, "at last").await;
    assert_eq!(owned(&mut owner).await.1.payload, "at last");
}

async fn send_nothing_until(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}

async fn a_dropped_owner_is_unregistered_and_its_associations_end(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let (first, mut second) = (server.register_owner(|_| true), server.register_owner(|_| true));
    let (_ours, mut our_inbox) = soon("connecting", client.connect(world.to(&server))).await.expect("accepted");
    until("the server has it", || server.association_count() == 1).await;
    drop(first);
    assert_eq!(closed(&mut our_inbox).await, CloseReason::Shutdown);
    until("it is gone", || server.association_count() == 0).await;
    let again = world.endpoint().await;
    let (ours, _our_inbox) = soon("another", again.connect(world.to(&server))).await.expect("the second owner accepts");
    send(&ours, "to the second").await;
    assert_eq!(owned(&mut second).await.1.payload, "to the second");
}

async fn a_dropped_owner_hands_its_associations_to_the_next_that_accepts_them(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let first = server.register_owner(|_| true);
    first.on_drop(OnDrop::HandOver);
    let (ours, _our_inbox) = soon("connecting", client.connect(world.to(&server))).await.expect("accepted");
    send(&ours, "unread").await;
    until("the server has it", || server.association_count() == 1).await;
    let (_never, mut second) = (server.register_owner(|_| false), server.register_owner(|_| true));
    drop(first);
    owner_event(&mut second, "Up", |_, event| matches!(event, Event::Up(_)).then_some(())).await;
    assert_eq!(owned(&mut second).await.1.payload, "unread");
    send(&ours, "afterwards").await;
    let (association, message) = owned(&mut second).await;
    assert_eq!(message.payload, "afterwards");
    send(&association, "still here").await;
}

async fn associations_can_be_given_to_an_owner_and_taken_back(world: World) {
    let (server, _client, (ours, mut our_inbox), (theirs, their_inbox)) = world.pair().await;
    let mut owner = server.register_owner(|_| false);
    let adopted = owner.adopt(their_inbox).expect("it is of this endpoint");
    assert!(adopted == theirs);
    send(&ours, "to the owner").await;
    assert_eq!(owned(&mut owner).await.1.payload, "to the owner");
    let mut taken_back = owner.release(&adopted).expect("it is this owner's");
    assert!(owner.release(&adopted).is_none(), "it is no longer");
    assert!(adopted.receiver().is_none(), "somebody has it");
    send(&ours, "to the receiver").await;
    expect(world, &mut taken_back, b"to the receiver").await;
    drop(taken_back);
    let mut again = adopted.receiver().expect("nobody has it now");
    send(&ours, "to the next").await;
    expect(world, &mut again, b"to the next").await;
    drop((owner, again));
    send(&theirs, "it lives, since there are handles").await;
    expect(world, &mut our_inbox, b"it lives, since there are handles").await;
}

async fn an_owner_may_connect_and_hears_what_comes_of_it(world: World) {
    let (server, client) = (world.endpoint().await, world.endpoint().await);
    let mut servers_owner = server.register_owner(|_| true);
    let mut owner = client.register_owner(|_| false);
    let ours = soon("connecting", owner.connect(world.to(&server))).await.expect("accepted");
    owner_event(&mut owner, "Up", |_, event| matches!(event, Event::Up(_)).then_some(())).await;
    send(&ours, "hello").await;
    let (theirs, _) = owned(&mut servers_owner).await;
    send(&theirs, "hello to you").await;
    let (association, message) = owned(&mut owner).await;
    assert!(association == ours && message.payload == "hello to you");
    theirs.abort(b"enough");
    let closed = owner_event(&mut owner, "Closed", |association, event| {
        matches!(event, Event::Closed(CloseReason::PeerAbort { .. })).then_some(association)
    });
    assert!(closed.await == ours);
}

async fn an_owner_sees_how_many_associations_there_are(world: World) {
    let server = world.endpoint().await;
    let mut owner = server.register_owner(|candidate| candidate.associations < 3);
    let mut ends = Vec::new();
    for _ in 0..3 {
        let client = world.endpoint().await;
        ends.push(soon("a client", client.connect(world.to(&server))).await.expect("there is room"));
        let count = ends.len();
        until("the server has it", || server.association_count() == count).await;
    }
    let fourth = world.endpoint().await;
    match soon("the fourth", fourth.connect(world.to(&server))).await {
        Err(_) => {}
        Ok((_ours, mut inbox)) => {
            closed(&mut inbox).await;
        }
    }
    until("three are left", || server.association_count() == 3).await;
    let mut ups = 0;
    while ups < 3 {
        let event = soon("Up", owner.recv()).await.expect("the owner goes on");
        let is_up = matches!(event.clone().into_received(), Some((_, Received::Event(Event::Up(_)))));
        ups += usize::from(is_up);
        assert!(!matches!(event, OwnerEvent::Message { .. }));
    }
}

/// The server's only thread is busy while a client connects, speaks and shuts down, as far as it can.
async fn a_peer_that_came_and_went_while_nobody_looked_is_heard(world: World) {
    let (ports, told) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = world.endpoint().await;
            let mut owner = server.register_owner(|_| true);
            ports.send((server.port(), server.backend().udp_port)).expect("the client waits");
            std::thread::sleep(std::time::Duration::from_millis(1000));
            let (mut bytes, mut up) = (Vec::new(), false);
            loop {
                match soon("the end", owner.recv()).await.expect("the owner goes on") {
                    OwnerEvent::Message { message, .. } => bytes.extend(message.payload),
                    OwnerEvent::Event { event: Event::Up(_), .. } => up = true,
                    OwnerEvent::Event { event: Event::Closed(reason), .. } => return (up, bytes, reason),
                    _ => {}
                }
            }
        })
    });
    let (port, udp_port) = told.recv().expect("the server opens");
    let mut persistent = world.config();
    persistent.max_init_retransmits = 30;
    let client = world.builder().config(persistent).open().await.expect("a client");
    let (ours, _our_inbox) =
        soon("connecting", client.connect(world.to_port(port, udp_port))).await.expect("it connects");
    for _ in 0..20 {
        send(&ours, vec![7; 1000]).await;
    }
    soon("the end", ours.shutdown()).await;
    let (up, bytes, reason) = server.join().expect("the server ends well");
    assert!(up && bytes == vec![7; 20_000], "{} bytes came", bytes.len());
    assert_eq!(reason, CloseReason::Shutdown);
}
