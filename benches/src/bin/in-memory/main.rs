//! What is measured of the stack alone, two of them in memory: associations set up, the bytes that an idle one costs,
//! and the time that a message takes among many. A program of its own, for its allocator counts. Of other stacks without
//! I/O, how fast associations are set up between two of their ends in memory.

use esock_benches::lab::{Lab, config};
use esock_benches::peers::Peer;
#[cfg(feature = "peers")]
use esock_benches::peers::rust;
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

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size, Ordering::Relaxed);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(pointer, layout, size) }
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
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [peer, associations, rest @ ..] = &words[..] else {
        eprintln!("error: say of whom, and how many associations");
        return ExitCode::from(2);
    };
    let (Some(peer), Ok(associations)) = (Peer::from_name(peer), associations.parse()) else {
        eprintln!("error: `{peer}` with {associations} associations is no case");
        return ExitCode::from(2);
    };
    let time = match peer {
        Peer::Esock => set_up(associations),
        #[cfg(feature = "peers")]
        Peer::Dcsctp => rust::set_up_in_memory::<rust::dcsctp::Dcsctp>(associations),
        #[cfg(feature = "peers")]
        Peer::SctpProto => rust::set_up_in_memory::<rust::sctp_proto::SctpProto>(associations),
        _ => {
            eprintln!("error: {} is not measured in memory", peer.title());
            return ExitCode::from(2);
        }
    };
    println!("associations/s={}", associations as f64 / time.as_secs_f64());
    if peer == Peer::Esock && rest != ["--setup"] {
        send_among(associations);
    }
    ExitCode::SUCCESS
}

/// One path each, as the peers have; how long it took.
fn set_up(associations: usize) -> Duration {
    let mut lab = Lab::new(associations, 1, &Config::default());
    let began = Instant::now();
    while lab.a.associations.len() < associations {
        lab.set_up(BATCH.min(associations - lab.a.associations.len()));
    }
    began.elapsed()
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
