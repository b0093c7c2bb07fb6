//! A server that is a process of its own, killed ten times under load: the truth of SIGKILL over every backend.
//!
//! What a dead process had acknowledged and not yet handed to anybody died with it, and its peer cannot know: over one
//! stream that is a run of messages right behind the last one that the server told of. All others were delivered or came
//! back.

use super::world::{Over, World, eager, millis, soon, until};
use super::{Case, cases};
use crate::process::Process;
use esock::{Association, Event, Received, Receiver, SendOptions};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) const CASES: &[Case] =
    cases![a_server_process_that_is_killed_ten_times_under_load_leaves_nothing_unexplained];

/// The length of each message: over raw TCP they are told apart by it.
const LEN: usize = 500;

/// How many messages a life takes before it is ended.
const LIFE: usize = 300;

/// Accepts one association after the other and prints the number of each message, in the order in which they come,
/// until the process is killed.
pub async fn serve(over: Over, port: u16, udp_port: Option<u16>) {
    let server = World::new(over).endpoint_at(port, udp_port).await;
    println!("serving {} {}", server.port(), server.backend().udp_port.unwrap_or(0));
    while let Ok((_association, mut inbox)) = server.accept().await {
        let mut bytes = Vec::new();
        while let Some(received) = inbox.recv().await {
            if let Received::Message(message) = received {
                bytes.extend_from_slice(&message.payload);
                while bytes.len() >= LEN {
                    let rest = bytes.split_off(LEN);
                    let number = bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
                    println!("got {number}");
                    bytes = rest;
                }
            }
        }
    }
}

/// One life of the server.
struct Life {
    process: Process,
    said: Arc<Mutex<Said>>,
}

/// What it has said.
#[derive(Debug, Default)]
struct Said {
    serving: Option<(u16, Option<u16>)>,
    got: Vec<u64>,
}

impl Life {
    fn start(over: Over, port: u16, udp_port: Option<u16>) -> Self {
        let program = std::env::current_exe().expect("it has a name");
        let (over, port) = (over.to_string(), port.to_string());
        let udp_port = udp_port.unwrap_or(0).to_string();
        let words = [&program.to_string_lossy(), "--over", &over, "--serve", &port, "--udp-port", &udp_port];
        let mut process = Process::start(&words, |command| {
            command.stdout(Stdio::piped());
        });
        let said = Arc::new(Mutex::new(Said::default()));
        let told = said.clone();
        process.read_lines(move |line| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["got", number] => told.got.extend(number.parse::<u64>()),
                ["serving", port, udp] => {
                    let udp = udp.parse().ok().filter(|port| *port != 0);
                    told.serving = port.parse().ok().map(|port| (port, udp));
                }
                _ => {}
            }
        });
        Self { process, said }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its ports.
    async fn ports(&self) -> (u16, Option<u16>) {
        until("the server serves", || self.said().serving.is_some()).await;
        self.said().serving.expect("it serves")
    }

    /// Waits until it got so many.
    async fn gets(&self, count: usize) {
        until("the server gets messages", || self.said().got.len() >= count).await;
    }

    /// Kills it. All that it told of.
    async fn kill(self) -> Vec<u64> {
        let Self { process, said } = self;
        drop(process);
        // Its output is read to the end by a thread, which lets go of this then.
        until("its output ends", || Arc::strong_count(&said) == 1).await;
        std::mem::take(&mut said.lock().unwrap_or_else(PoisonError::into_inner).got)
    }
}

/// What became of the client's messages.
#[derive(Debug, Default)]
struct Back {
    maybe: BTreeSet<u64>,
    never: BTreeSet<u64>,
}

/// Sends numbered messages as fast as they are taken, whenever the association is up.
async fn load(association: Association, stop: Arc<AtomicBool>) -> u64 {
    let mut next = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let mut payload = vec![0; LEN];
        payload[..8].copy_from_slice(&next.to_be_bytes());
        match association.send(SendOptions { context: next, ..SendOptions::default() }, payload).await {
            Ok(()) => next += 1,
            // Down: it comes up again.
            Err(_) => tokio::time::sleep(millis(5)).await,
        }
    }
    next
}

/// Reads what comes back until the end.
async fn account(mut inbox: Receiver) -> Back {
    let mut all = Back::default();
    while let Some(received) = inbox.recv().await {
        if let Received::Event(Event::Undelivered(back)) = received {
            let number = back.options.context;
            let list = if back.maybe_received { &mut all.maybe } else { &mut all.never };
            assert!(list.insert(number), "{number} came back twice");
        }
    }
    all
}

async fn a_server_process_that_is_killed_ten_times_under_load_leaves_nothing_unexplained(world: World) {
    let client = world.endpoint().await;
    let mut life = Life::start(world.over(), 0, None);
    let (port, udp_port) = life.ports().await;
    let (ours, our_inbox) = client.supervise(world.to_port(port, udp_port), eager()).expect("it can be tried");
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(load(ours.clone(), stop.clone()));
    let accountant = tokio::spawn(account(our_inbox));
    let mut lives = Vec::new();
    for _ in 0..10 {
        life.gets(LIFE).await;
        lives.push(life.kill().await);
        life = Life::start(world.over(), port, udp_port);
        life.ports().await;
    }
    life.gets(LIFE).await;
    stop.store(true, Ordering::Relaxed);
    let sent = soon("the sender", sender).await.expect("it ends well");
    soon("the end", ours.shutdown()).await;
    let back = soon("the accountant", accountant).await.expect("it ends well");
    let last = sent - 1;
    let accounted =
        || life.said().got.last() == Some(&last) || back.maybe.contains(&last) || back.never.contains(&last);
    until("the last message is accounted for", accounted).await;
    lives.push(life.kill().await);
    check(world.over(), sent, &back, &lives);
}

/// Nothing is unexplained.
fn check(over: Over, sent: u64, back: &Back, lives: &[Vec<u64>]) {
    let mut got = BTreeSet::new();
    // Behind the last message that a life told of: what it may have acknowledged and not told of.
    let mut may_have_died: BTreeSet<u64> = BTreeSet::new();
    for (number, life) in lives.iter().enumerate() {
        assert!(life.is_sorted(), "life {number} got messages out of order");
        for message in life {
            assert!(got.insert(*message), "{message} came twice");
        }
        if number + 1 < lives.len() {
            may_have_died.extend(life.last().map(|last| last + 1));
        }
    }
    let mut died = 0;
    for number in 0..sent {
        if got.contains(&number) || back.maybe.contains(&number) || back.never.contains(&number) {
            continue;
        }
        assert!(may_have_died.contains(&number), "{number} of {sent} was lost without a word");
        may_have_died.insert(number + 1);
        died += 1;
    }
    // The kernel's SCTP over its own loopback acknowledges for the dead: there all that was cut off may have died with
    // it. Everywhere else something was on its way.
    let cut_off = !back.maybe.is_empty() || (over == Over::Kernel && died > 0);
    assert!(cut_off, "ten deaths under load, and nothing was on its way?");
    if let Some(number) = back.never.intersection(&got).next() {
        panic!("{number} came back as never sent, and was delivered");
    }
}
