//! One endpoint over several shards.

use crate::net::{builder, to};
use esock::{
    Backend, Context, Endpoint, EndpointEvent, Event, OpenError, Owner, OwnerEvent, Protocol, Received, SendOptions,
    Supervision, UdpPort,
};
use std::net::Ipv4Addr;
use std::time::Duration;

async fn open(shards: u16) -> Endpoint {
    builder().shards(shards).open().await.unwrap()
}

/// What all shards have forwarded and dropped.
fn strayed(endpoint: &Endpoint) -> (u64, u64) {
    let all = endpoint.shards();
    (all.iter().map(|shard| shard.forwarded).sum(), all.iter().map(|shard| shard.forward_drops).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn associations_of_one_endpoint_work_in_several_shards_and_their_packets_find_them() {
    const MESSAGES: usize = 50;
    let server = open(2).await;
    let client = open(2).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        // Each from a context of its own: one peer has one association with an endpoint.
        let own = open(1).await;
        let (connected, accepted) = tokio::join!(own.connect(to(&server)), server.accept());
        let ((association, _receiver), (_there, mut receiver)) = (connected.unwrap(), accepted.unwrap());
        let reader = tokio::spawn(async move {
            let mut received = 0;
            while received < MESSAGES {
                match receiver.recv().await.unwrap() {
                    Received::Message(message) => {
                        assert!(message.payload.iter().all(|byte| usize::from(*byte) == received));
                        received += 1;
                    }
                    other => assert!(matches!(other, Received::Event(Event::Up(_))), "{other:?}"),
                }
            }
            _there
        });
        clients.push((own, association, _receiver, reader));
    }
    // And one that connects itself, to and fro.
    let (connected, accepted) = tokio::join!(client.connect(to(&server)), server.accept());
    let (_there, _receiver) = accepted.unwrap();
    let (there, _) = connected.unwrap();

    let spread: Vec<_> = server.shards().iter().map(|shard| shard.associations).collect();
    assert!(spread == [2, 3] || spread == [3, 2], "{spread:?}");
    assert_eq!(server.association_count(), 5);
    assert_eq!(server.associations().len(), 5);
    let before = strayed(&server);
    for number in 0..MESSAGES {
        for (_, association, ..) in &clients {
            association.send(SendOptions::default(), vec![number as u8; 20_000]).await.unwrap();
        }
    }
    for (own, association, _, reader) in clients {
        reader.await.unwrap();
        association.shutdown().await;
        own.close().await;
    }
    assert_eq!(strayed(&server), before, "no packet of these reached the wrong shard");
    let busy = |shard: &esock::ShardStats| shard.packets_received > 100 && shard.packets_sent > 10;
    assert!(server.shards().iter().all(busy), "{:?}", server.shards());
    let found = server.find_association(Ipv4Addr::LOCALHOST, client.port()).unwrap().upgrade().unwrap();
    assert_eq!(found, _there);
    drop(there);
    tokio::time::timeout(Duration::from_secs(5), server.close()).await.unwrap();
    assert!(server.accept().await.is_err());
}

/// The next message of an owner, or none in time.
async fn next_message(owner: &mut Owner) -> Vec<u8> {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), owner.recv()).await.unwrap().unwrap();
        if let OwnerEvent::Message { message, .. } = next {
            return message.payload.to_vec();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_owner_has_the_associations_of_all_shards_and_its_filter_counts_them_all() {
    let server = open(3).await;
    let counts = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = counts.clone();
    let mut owner = server.register_owner(move |candidate| {
        seen.lock().unwrap().push(candidate.associations);
        candidate.associations < 6
    });
    let mut clients = Vec::new();
    for number in 0..6u8 {
        let own = open(1).await;
        let (association, receiver) = own.connect(to(&server)).await.unwrap();
        association.send(SendOptions::default(), vec![number]).await.unwrap();
        assert_eq!(next_message(&mut owner).await, [number]);
        clients.push((own, association, receiver));
    }
    assert_eq!(*counts.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert!(server.shards().iter().all(|shard| shard.associations == 2), "{:?}", server.shards());
    assert!(open(1).await.connect(to(&server)).await.is_err(), "the filter has said no");
    for (_, association, _) in &clients {
        association.send(SendOptions::default(), "all").await.unwrap();
    }
    let mut associations = Vec::new();
    while associations.len() < 6 {
        if let OwnerEvent::Message { association, .. } = owner.recv().await.unwrap() {
            assert!(!associations.contains(&association));
            associations.push(association);
        }
    }
    drop((owner, associations));
    for (_, _, mut receiver) in clients {
        let end = async { while receiver.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), end).await.expect("all end with their owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_reopen_their_sockets_and_supervised_associations_come_back() {
    let server = open(2).await;
    let mut owner = server.register_owner(|_| true);
    let mut events = server.events();
    assert!(matches!(events.recv().await, Some(EndpointEvent::Opened(_))));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let own = open(1).await;
        let policy = Supervision::default();
        let (association, receiver) = own.supervise(to(&server), policy).unwrap();
        association.connected().await.unwrap();
        assert!(own.supervise(to(&server), Supervision::default()).is_err(), "it has that peer");
        clients.push((own, association, receiver));
    }
    let udp_port = server.backend().udp_port;
    server.impairment(|network| network.break_sockets()).unwrap();
    let mut reopened = 0;
    while reopened < 2 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await.unwrap().unwrap();
        if let EndpointEvent::Reopened(chosen) = event {
            assert_eq!(chosen.udp_port, udp_port);
            reopened += 1;
        }
    }
    for (_, association, _) in &clients {
        let again = async {
            while association.generation() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            association.connected().await.unwrap();
            association.send(SendOptions::default(), "again").await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(15), again).await.expect("it is made anew");
        assert_eq!(next_message(&mut owner).await, b"again");
    }
}

#[tokio::test]
async fn what_cannot_be_spread_says_so_and_sockets_are_shared_by_who_asks_for_no_number() {
    let udp = || Endpoint::builder().udp_port(UdpPort::Ephemeral);
    let refused = |opened: Result<Endpoint, OpenError>| {
        let Err(OpenError::Driver(error)) = opened else { panic!("{opened:?}") };
        assert!(error.to_string().contains("several shards are for our own SCTP stack"), "{error}");
    };
    refused(udp().context(Context::new()).backend(Backend::Kernel).shards(2).open().await);
    refused(udp().context(Context::new()).protocol(Protocol::Tcp).shards(2).open().await);
    // One shard is no special case.
    udp().context(Context::new()).protocol(Protocol::Tcp).shards(1).open().await.unwrap();

    let (context, udp) = (Context::new(), || udp().backend(Backend::Udp));
    let two = udp().context(context.clone()).shards(2).open().await.unwrap();
    let same = udp().context(context.clone()).open().await.unwrap();
    assert_eq!((same.shards().len(), same.backend().udp_port), (2, two.backend().udp_port));
    let three = udp().context(context).shards(3).open().await.unwrap();
    assert_ne!(three.backend().udp_port, two.backend().udp_port);
}
