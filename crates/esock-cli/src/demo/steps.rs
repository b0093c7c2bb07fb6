//! The steps of the demo, in order.

use super::director::{Director, Moment, Problem, all_active, paths};
use super::messages::{STREAMS, Side, payload};
use super::stage::{Cast, Stage};
use super::tree;
use crate::console::print;
use crate::style::Style;
use crate::words;
use esock::{Association, CloseReason, PathState, SendOptions, StreamId};
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Messages on each stream, each way, in the first exchange.
const FIRST: u32 = 60;

/// Messages that must arrive at each end to show that data flows.
const FLOW: u32 = 60;

/// Pause between two rounds of messages while paths come and go.
const PAUSE: Duration = Duration::from_millis(5);

/// Prints the steps and how long each took.
#[derive(Debug)]
struct Show {
    style: Style,
    number: u32,
    began: Instant,
}

impl Show {
    fn begin(&mut self) {
        self.number += 1;
        self.began = Instant::now();
    }

    fn done(&self, what: &str) {
        let took = words::duration(self.began.elapsed());
        let number = self.number;
        print(&format!("\n{} {}", self.style.strong(&format!("{number}. {what}")), self.style.faint(&took)));
    }

    fn line(&self, text: &str) {
        print(&format!("   {text}"));
    }

    /// What the two ends were told, in the order of time, since `zero`.
    fn moments(&self, zero: Instant, moments: &mut Vec<Moment>) {
        moments.sort_by_key(|moment| moment.at);
        for moment in moments.drain(..).filter(|moment| moment.at >= zero) {
            let after = words::duration(moment.at - zero);
            let after = self.style.faint(&format!("+ {after:>8}"));
            print(&format!("   {after}  {}: {}", moment.side.name(), moment.words));
        }
    }
}

/// Plays all steps; the error is the first thing that did not hold.
pub async fn play(style: Style) -> Result<(), Problem> {
    let mut show = Show { style, number: 0, began: Instant::now() };

    show.begin();
    let stage = Stage::open().await?;
    show.done("Open two endpoints");
    for side in Side::BOTH {
        show.line(&stage.root(side).described());
    }

    show.begin();
    let began = show.began;
    let (cast, mut director) = stage.connect().await?;
    director.until("the association to be up at both ends", |now| now.both(|end| end.up.is_some())).await?;
    let up = began.elapsed();
    confirm_paths(&cast, &mut director).await?;
    show.done("Connect them over two paths");
    show.line(&format!(
        "up after {}, both paths confirmed after {}",
        words::duration(up),
        words::duration(began.elapsed())
    ));
    director.moments.clear();

    show.begin();
    exchange(&cast, &mut director).await?;
    show.done(&format!("Exchange messages on {STREAMS} streams, both ways"));
    tell_arrived(&show, &director);

    fail_over(&mut show, &stage, &cast, &mut director).await?;

    print("");
    for side in Side::BOTH {
        let stats = cast.of(side).stats();
        let stats = stats.ok_or_else(|| Problem(format!("the {} has gone", side.name())))?;
        for line in tree::tree(&stage.root(side), &stats, style) {
            print(&line);
        }
    }

    show.begin();
    cast.of(Side::Client).shutdown().await;
    director.until("both ends to end", |now| now.both(|end| end.closed.is_some())).await?;
    if !director.both(|end| end.closed == Some(CloseReason::Shutdown)) {
        let ended = Side::BOTH.map(|side| director.end(side).closed.clone());
        return Err(Problem(format!("the association did not end gracefully: {ended:?}")));
    }
    stage.close().await;
    show.done("Shut down gracefully");
    Ok(())
}

/// Waits until both ends have confirmed both paths.
async fn confirm_paths(cast: &Cast, director: &mut Director) -> Result<(), Problem> {
    let confirmed = || Side::BOTH.iter().all(|side| all_active(cast.of(*side), 2));
    let deadline = Instant::now() + Duration::from_secs(3);
    while !confirmed() {
        if Instant::now() > deadline {
            let paths = Side::BOTH.map(|side| paths(cast.of(side)));
            return Err(Problem(format!("the two paths were not confirmed: {paths:?}")));
        }
        director.for_a_while(Duration::from_millis(2)).await?;
    }
    Ok(())
}

/// A fixed number of messages each way, all checked.
async fn exchange(cast: &Cast, director: &mut Director) -> Result<(), Problem> {
    let senders = Side::BOTH.map(|side| {
        let association = cast.of(side).clone();
        tokio::spawn(async move { send_rounds(&association, side, 0..FIRST).await })
    });
    let all = FIRST * u32::from(STREAMS);
    director.until("every message of the first exchange", |now| now.both(|end| end.arrived.messages() == all)).await?;
    for sender in senders {
        joined(sender.await)?;
    }
    Ok(())
}

/// Messages flow all the time while the primary path is blocked and comes back.
async fn fail_over(show: &mut Show, stage: &Stage, cast: &Cast, director: &mut Director) -> Result<(), Problem> {
    let [first, second] = stage.addresses();
    let flow = Flow::start(cast);
    flows(director).await?;

    show.begin();
    stage.block(first);
    let blocked = Instant::now();
    director.until(&format!("data to go over {second}"), |now| now.both(|end| end.in_use == Some(second))).await?;
    let before = cast.data_packets(second);
    flows(director).await?;
    if cast.data_packets(second) <= before {
        return Err(Problem(format!("no data was sent over {second} after the failover")));
    }
    director
        .until(&format!("the path to {first} to be down"), |now| {
            now.both(|end| end.paths.get(&first) == Some(&PathState::Inactive))
        })
        .await?;
    show.done(&format!("Block the path over {first} while messages flow: they take the other"));
    show.moments(blocked, &mut director.moments);

    show.begin();
    stage.unblock();
    let unblocked = Instant::now();
    director
        .until(&format!("the path to {first} to be up again, with data"), |now| {
            now.both(|end| end.paths.get(&first) == Some(&PathState::Active) && end.in_use == Some(first))
        })
        .await?;
    let before = cast.data_packets(first);
    flows(director).await?;
    if cast.data_packets(first) <= before {
        return Err(Problem(format!("no data was sent over {first} after its recovery")));
    }
    show.done("Unblock it: data comes back to the primary path");
    show.moments(unblocked, &mut director.moments);

    show.begin();
    let rounds = flow.stop().await?;
    director
        .until("every message that was sent", |now| {
            Side::BOTH.iter().all(|side| {
                let sent = FIRST + rounds[side.other() as usize];
                now.end(*side).arrived.per_stream().iter().all(|arrived| *arrived == sent)
            })
        })
        .await?;
    show.done("Count: everything arrived once, whole, and in the order of its stream");
    tell_arrived(show, director);
    Ok(())
}

/// Waits until a number of messages more has arrived at both ends.
async fn flows(director: &mut Director) -> Result<(), Problem> {
    let goals = Side::BOTH.map(|side| director.end(side).arrived.messages() + FLOW);
    director
        .until("messages to flow both ways", |now| {
            Side::BOTH.iter().all(|side| now.end(*side).arrived.messages() >= goals[*side as usize])
        })
        .await
}

fn tell_arrived(show: &Show, director: &Director) {
    for side in Side::BOTH {
        let arrived = &director.end(side).arrived;
        show.line(&format!(
            "{} → {}: {} messages, {} bytes, as they were sent",
            side.other().name(),
            side.name(),
            words::count(arrived.messages().into()),
            words::count(arrived.bytes),
        ));
    }
}

/// Messages both ways until told to stop.
struct Flow {
    stop: watch::Sender<bool>,
    senders: [JoinHandle<Result<u32, Problem>>; 2],
}

impl Flow {
    fn start(cast: &Cast) -> Self {
        let stop = watch::Sender::new(false);
        let senders = Side::BOTH.map(|side| {
            let association = cast.of(side).clone();
            let stopped = stop.subscribe();
            tokio::spawn(async move {
                let mut rounds = 0;
                while !*stopped.borrow() {
                    let number = FIRST + rounds;
                    send_rounds(&association, side, number..number + 1).await?;
                    rounds += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(rounds)
            })
        });
        Self { stop, senders }
    }

    /// How many rounds each side has sent.
    async fn stop(self) -> Result<[u32; 2], Problem> {
        self.stop.send_replace(true);
        let [client, server] = self.senders;
        Ok([joined(client.await)?, joined(server.await)?])
    }
}

/// In each round one message on each stream.
async fn send_rounds(association: &Association, side: Side, rounds: Range<u32>) -> Result<(), Problem> {
    for number in rounds {
        for stream in (0..STREAMS).map(StreamId) {
            let options = SendOptions { stream, ..SendOptions::default() };
            association
                .send(options, payload(side, stream, number))
                .await
                .map_err(|error| Problem(format!("the {} cannot send: {error}", side.name())))?;
        }
    }
    Ok(())
}

fn joined<T>(task: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, Problem> {
    task.map_err(|error| Problem(format!("a task of the demo failed: {error}")))?
}
