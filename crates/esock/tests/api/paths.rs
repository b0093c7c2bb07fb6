//! Several paths.

use crate::net::*;
use esock::{Address, Direction, Event, PathParameters, PathState, Received};
use std::net::Ipv6Addr;

async fn dual_homed() -> Pair {
    let on_both = || builder_on([v4(1), v4(2)]);
    let pair = Pair::with([on_both(), on_both()]).await;
    until("both paths are confirmed", || {
        [&pair.near, &pair.far].into_iter().all(|end| {
            let paths = end.paths();
            paths.len() == 2 && paths.iter().all(|path| path.state() == Some(PathState::Active))
        })
    })
    .await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_path_is_left_and_found_again_and_nothing_is_lost() {
    const ALL: u64 = 400;
    let mut pair = dual_homed().await;
    let sender = tokio::spawn({
        let (near, client) = (pair.near.clone(), pair.client.clone());
        async move {
            for number in 0..ALL {
                if number == ALL / 2 {
                    client.impairment(|network| network.block(v4(1), Direction::Both));
                }
                near.send(on_stream((number % 3) as u16), numbered(number, 1000)).await.unwrap();
                tokio::time::sleep(millis(1)).await;
            }
        }
    });
    let mut next = [0, 1, 2];
    for _ in 0..ALL {
        let message = message(&mut pair.far_rx).await;
        let stream = usize::from(message.stream.0);
        assert_eq!(number_of(&message), next[stream]);
        next[stream] += 3;
    }
    soon(sender).await.unwrap();

    let moved = |event: &Event| match event {
        Event::PathInUse { remote, .. } if *remote == v4(2) => Some(()),
        _ => None,
    };
    event(&mut pair.near_rx, moved).await;
    let state_of = |remote: Address, wanted: PathState| {
        move |event: &Event| match event {
            Event::Path { remote: of, state, .. } if *of == remote && *state == wanted => Some(()),
            _ => None,
        }
    };
    event(&mut pair.near_rx, state_of(v4(1), PathState::Inactive)).await;
    let other = pair.near.paths().into_iter().find(|path| path.remote() == Some(v4(2))).unwrap();
    assert!(other.stats().unwrap().bytes_sent >= ALL / 2 * 1000);

    pair.mend();
    event(&mut pair.near_rx, state_of(v4(1), PathState::Active)).await;
    let back = |event: &Event| match event {
        Event::PathInUse { remote, .. } if *remote == v4(1) => Some(()),
        _ => None,
    };
    event(&mut pair.near_rx, back).await;
    // Timers as fast as these leave it now and then on a busy machine, and come back to it.
    let primary = pair.near.paths().into_iter().find(|path| path.remote() == Some(v4(1))).unwrap();
    let sent = |path: &esock::Path| path.stats().unwrap().bytes_sent;
    soon(async {
        for number in ALL.. {
            let before = [sent(&primary), sent(&other)];
            pair.near.send(on_stream(0), numbered(number, 5000)).await.unwrap();
            assert_eq!(numbers(&mut pair.far_rx, 1).await, [number]);
            if sent(&primary) >= before[0] + 5000 && sent(&other) == before[1] {
                break;
            }
            tokio::time::sleep(millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_path_can_be_chosen() {
    let mut pair = dual_homed().await;
    let paths = pair.near.paths();
    assert_eq!(paths.iter().map(|path| path.remote().unwrap()).collect::<Vec<_>>(), [v4(1), v4(2)]);
    assert!(paths[0].stats().unwrap().primary);
    paths[1].set_primary().unwrap();
    assert!(paths[1].stats().unwrap().primary && !paths[0].stats().unwrap().primary);
    let sent = |path: &esock::Path| path.stats().unwrap().bytes_sent;
    let before = [sent(&paths[0]), sent(&paths[1])];
    for number in 0..50 {
        pair.near.send(on_stream(0), numbered(number, 2000)).await.unwrap();
    }
    numbers(&mut pair.far_rx, 50).await;
    assert_eq!(sent(&paths[0]), before[0]);
    assert!(sent(&paths[1]) >= before[1] + 100_000);
    let in_use = |event: &Event| match event {
        Event::PathInUse { path, remote } => Some((*path, *remote)),
        _ => None,
    };
    assert_eq!(event(&mut pair.near_rx, in_use).await, (paths[1].id(), v4(2)));
    assert_eq!(pair.near.path(paths[1].id()).unwrap().remote(), Some(v4(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_a_path_change_while_it_runs() {
    let pair = dual_homed().await;
    let heartbeats = || pair.near.stats().unwrap().counters.heartbeats_sent;
    let mut quiet = PathParameters::default();
    quiet.heartbeat_interval = Some(None);
    for path in pair.near.paths() {
        path.set_parameters(quiet).unwrap();
    }
    // Those that are on their way.
    tokio::time::sleep(millis(500)).await;
    let before = heartbeats();
    tokio::time::sleep(millis(800)).await;
    assert_eq!(heartbeats(), before, "heartbeats are off");
    pair.near.paths()[1].request_heartbeat().unwrap();
    until("one was asked for", || heartbeats() == before + 1).await;

    let mut narrow = PathParameters::default();
    narrow.mtu = Some(1000);
    pair.near.paths()[0].set_parameters(narrow).unwrap();
    assert_eq!(pair.near.paths()[0].stats().unwrap().mtu, 1000);

    soon(pair.near.shutdown()).await;
    let paths = pair.near.paths();
    let path = &paths[0];
    assert!(path.stats().is_some(), "what was is still to be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv4_and_ipv6_are_paths_of_one_association() {
    let on_both = || builder_on([v4(1), Ipv6Addr::LOCALHOST.into()]);
    let mut pair = Pair::with([on_both(), on_both()]).await;
    until("both paths are confirmed", || {
        pair.near.paths().iter().filter(|path| path.state() == Some(PathState::Active)).count() == 2
    })
    .await;
    pair.client.impairment(|network| network.block(v4(1), Direction::Both));
    pair.near.send(on_stream(0), "which way?").await.unwrap();
    let heard = message(&mut pair.far_rx).await;
    let path = pair.far.path(heard.path).unwrap();
    assert_eq!(path.remote(), Some(Ipv6Addr::LOCALHOST.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_reads_do_not_pile_up() {
    let mut pair = dual_homed().await;
    let paths = pair.near.paths();
    for _ in 0..2000 {
        paths[1].set_primary().unwrap();
        paths[0].set_primary().unwrap();
    }
    pair.near.send(on_stream(0), "there").await.unwrap();
    assert_eq!(message(&mut pair.far_rx).await.payload, "there");
    pair.far.send(on_stream(0), "back").await.unwrap();
    let mut events = 0;
    soon(async {
        loop {
            match pair.near_rx.recv().await.unwrap() {
                Received::Message(message) => {
                    assert_eq!(message.payload, "back");
                    break;
                }
                _ => events += 1,
            }
        }
    })
    .await;
    assert!((10..=300).contains(&events), "{events}");
    soon(pair.near.shutdown()).await;
}
