//! Many associations that are written to at the same time, and answer.

use crate::net::*;
use esock::{ConnectTo, Context, OwnerEvent, Received};

const ASSOCIATIONS: u64 = 100;
const ROUNDS: u64 = 30;

/// Each association of a client sends a message and waits for the answer, again and again, all at the same time.
async fn all_are_answered(to: ConnectTo) {
    let context = Context::new();
    let mut playing = tokio::task::JoinSet::new();
    for association in 0..ASSOCIATIONS {
        let client = builder().context(context.clone()).config(patient()).open().await.unwrap();
        let (association_handle, mut receiver) = soon(client.connect(to.clone())).await.unwrap();
        playing.spawn(async move {
            let _client = client;
            for round in 0..ROUNDS {
                let number = association * ROUNDS + round;
                association_handle.send(on_stream(0), numbered(number, 64)).await.unwrap();
                assert_eq!(number_of(&message(&mut receiver).await), number);
            }
        });
    }
    // With a timer of an association in it, it would be longer than anybody waits here.
    soon(playing.join_all()).await;
}

#[tokio::test]
async fn a_crowd_is_answered_by_a_task_for_each_association() {
    let server = builder().config(patient()).open().await.unwrap();
    let to = to(&server);
    tokio::spawn(async move {
        while let Ok((association, mut receiver)) = server.accept().await {
            tokio::spawn(async move {
                while let Some(received) = receiver.recv().await {
                    if let Received::Message(message) = received {
                        association.send(on_stream(0), message.payload).await.unwrap();
                    }
                }
            });
        }
    });
    // Until it accepts, INITs are not answered.
    tokio::task::yield_now().await;
    all_are_answered(to).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_is_answered_by_its_one_owner() {
    let server = builder().config(patient()).open().await.unwrap();
    let to = to(&server);
    let mut owner = server.register_owner(|_| true);
    tokio::spawn(async move {
        let _server = server;
        while let Some(event) = owner.recv().await {
            if let OwnerEvent::Message { association, message } = event {
                association.send(on_stream(0), message.payload).await.unwrap();
            }
        }
    });
    all_are_answered(to).await;
}
