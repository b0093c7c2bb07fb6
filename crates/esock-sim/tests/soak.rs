//! The soak: days of virtual time, every message accounted for, no drift in memory.
//!
//! With nothing in the environment it takes seconds. `ESOCK_SOAK_DAYS=n` runs for n virtual days,
//! `ESOCK_SOAK_MINUTES=n` until n minutes have passed, `ESOCK_SOAK_SEED=n` runs another soak.
//! `cargo xtask soak` sets them.

use esock_proto::Time;
use esock_sim::soak::{Soak, Tally};
use std::alloc::{GlobalAlloc, Layout, System};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What tables keep of their largest size when nothing is left in them, and what eight idle ends need, in bytes.
const KEPT: usize = 256 << 10;

/// What the harness has captured of this test's output, in bytes; nothing with `--nocapture`.
const CAPTURED: usize = 64 << 10;

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

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// How long a soak is.
#[derive(Debug, Clone, Copy)]
struct Length {
    /// Virtual time of a round's traffic.
    round: Duration,
    /// Virtual time in all, or wall time; whatever comes first.
    virtual_time: Duration,
    wall_time: Duration,
}

const HOUR: Duration = Duration::from_secs(3600);

impl Length {
    /// A few short rounds, unless the environment says otherwise.
    fn wanted() -> Self {
        let (days, minutes) = (number::<f64>("ESOCK_SOAK_DAYS"), number::<f64>("ESOCK_SOAK_MINUTES"));
        if days.is_none() && minutes.is_none() {
            return Self { round: HOUR / 4, virtual_time: HOUR * 2, wall_time: Duration::MAX };
        }
        let time = |number: Option<f64>, unit: f64| number.map_or(Duration::MAX, |n| Duration::from_secs_f64(n * unit));
        Self { round: HOUR * 6, virtual_time: time(days, 86_400.0), wall_time: time(minutes, 60.0) }
    }
}

/// Soaks, and holds the memory of the rests against each other. Returns the figures at the end.
fn soak(seed: u64, start: Time, length: Length) -> Tally {
    let began = Instant::now();
    // What is made once for all is there before anything is counted.
    drop(Soak::new(seed, start));
    let empty = live();
    let mut soak = Soak::new(seed, start);
    let fresh = live();
    println!("seed {seed}, {length:?}: {} bytes live before anything happens", fresh - empty);
    let (mut shown, mut packets) = (Instant::now(), 0);
    let mut breathe = |tally: &Tally| {
        let since = shown.elapsed();
        if since >= Duration::from_secs(5) {
            let rate = (tally.packets - packets) as f64 / since.as_secs_f64();
            println!("{tally}; {rate:.0} packets/s, {} KiB live", (live() - empty) >> 10);
            (shown, packets) = (Instant::now(), tally.packets);
        }
    };
    let mut rests = Vec::with_capacity(10_000);
    loop {
        let outcome = soak.round(length.round, &mut breathe);
        let tally = soak.tally();
        rests.push(live() - empty);
        println!("at rest after {:.0?}: {tally}; {} bytes live", began.elapsed(), live() - empty);
        outcome.unwrap_or_else(|problem| panic!("seed {seed}, after {tally}: {problem}"));
        if tally.time >= length.virtual_time || began.elapsed() >= length.wall_time {
            break;
        }
    }
    soak.finish(&mut breathe).unwrap_or_else(|problem| panic!("seed {seed}, at the end: {problem}"));
    let (left, tally) = (live() - empty, soak.tally());
    println!(
        "all ended after {:.0?}: {} packets/s; {left} bytes live, {} at first",
        began.elapsed(),
        tally.packets * 1000 / began.elapsed().as_millis() as u64,
        fresh - empty
    );
    println!("live at rest: {rests:?}");
    let bound = fresh - empty + KEPT;
    let worst = rests.iter().copied().max().unwrap_or(0).max(left);
    assert!(worst <= bound, "seed {seed}: {worst} bytes are live at rest, {} were at first", fresh - empty);
    drop(soak);
    let kept = live() - empty - rests.capacity() * size_of::<usize>();
    assert!(kept <= CAPTURED, "seed {seed}: {kept} bytes are not freed");
    tally
}

#[test]
fn days_of_traffic_lose_no_message_and_no_memory() {
    let seed = number("ESOCK_SOAK_SEED").unwrap_or(1);
    let length = Length::wanted();
    // 2^32 milliseconds pass in the first round.
    let tally = soak(seed, Time::from_millis((1 << 32) - 60_000), length);
    assert!(tally.tsn_wraps > 0 && tally.ssn_wraps > 0 && tally.time_wraps == 1, "{tally}");
    assert!(tally.ups > 50 && tally.crashes > 0, "{tally}");
    if tally.time > HOUR * 24 {
        assert!(tally.restarts > 0 && tally.timeouts > 0 && tally.aborts > 0, "{tally}");
    }
    // And 2^63 nanoseconds.
    let short = Length { round: HOUR / 12, virtual_time: HOUR / 4, wall_time: Duration::MAX };
    let tally = soak(seed, Time::from_nanos((1 << 63) - 60_000_000_000), short);
    assert_eq!(tally.time_wraps, 1, "{tally}");
}
