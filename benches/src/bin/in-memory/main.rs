//! What is measured of the stack alone, two of them in memory: associations set up, the bytes that an idle one costs,
//! and the time that a message takes among many. A program of its own, for its allocator counts.

use esock_benches::lab::{Lab, config};
use esock_proto::{Config, SendOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Associations that are set up at once.
const BATCH: usize = 100;

/// Messages of the last measurement.
const MESSAGES: usize = 100_000;

/// Associations that carry them, in turn.
const ACTIVE: usize = 1_000;

fn main() -> ExitCode {
    let words: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [associations] = words[..] else {
        eprintln!("error: say how many associations");
        return ExitCode::from(2);
    };
    set_up(associations);
    if std::env::args().all(|word| word != "--setup") {
        send_among(associations);
    }
    ExitCode::SUCCESS
}

/// One path each, as the peers in this table have; the rate.
fn set_up(associations: usize) {
    let mut lab = Lab::new(associations, 1, &Config::default());
    let began = Instant::now();
    while lab.a.associations.len() < associations {
        lab.set_up(BATCH.min(associations - lab.a.associations.len()));
    }
    println!("associations/s={}", associations as f64 / began.elapsed().as_secs_f64());
}

/// Two paths each; their memory, and messages on some of them.
fn send_among(associations: usize) {
    let mut lab = Lab::new(associations, 2, &config(1400));
    let before = LIVE.load(Ordering::Relaxed);
    while lab.a.associations.len() < associations {
        lab.set_up(BATCH.min(associations - lab.a.associations.len()));
    }
    // Heartbeats confirm the second paths.
    lab.pass(Duration::from_secs(10));
    if associations >= 10_000 {
        // Below, what the two stacks themselves cost would be most of it.
        let live = LIVE.load(Ordering::Relaxed) - before;
        println!("bytes per idle end={}", live as f64 / associations as f64 / 2.0);
    }
    let message = bytes::Bytes::from(vec![7; 64]);
    let step = (associations / ACTIVE).max(1);
    let active: Vec<usize> = (0..associations).step_by(step).collect();
    let mut exchange = |number: usize| {
        let sender = lab.a.associations[number];
        lab.a.stack.send(lab.now, sender, SendOptions::default(), message.clone()).expect("there is room");
        lab.settle();
        assert!(lab.b.stack.recv(lab.now, lab.b.associations[number]).is_some(), "it arrives");
    };
    active.iter().for_each(|number| exchange(*number));
    let began = Instant::now();
    (0..MESSAGES).for_each(|n| exchange(active[n % active.len()]));
    println!("ns per message={}", began.elapsed().as_nanos() as f64 / MESSAGES as f64);
}
