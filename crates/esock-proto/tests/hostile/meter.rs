//! What the current thread has allocated: bytes held, the most held since a moment, how often, and how much in all.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

fn account(bytes: isize, allocations: usize) {
    // A thread that ends may free after its counters are gone; nobody asks them any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
    let _ = COUNT.try_with(|count| count.set(count.get() + allocations));
    let _ = TOTAL.try_with(|total| total.set(total.get() + bytes.max(0).cast_unsigned()));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells of the thread,
// initialised without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size().cast_signed(), 1);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        account(-layout.size().cast_signed(), 0);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Bytes that this thread holds.
pub fn held() -> isize {
    HELD.with(Cell::get)
}

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes held afterwards that were not held before.
    pub kept: isize,
    /// The most bytes held at once, beyond those held before.
    pub peak: isize,
    /// How often the allocator was asked, and for how many bytes in all.
    pub allocations: usize,
    pub allocated: usize,
}

/// Nothing at all.
pub const FREE: Cost = Cost { kept: 0, peak: 0, allocations: 0, allocated: 0 };

/// Counts what `call` allocates.
pub fn cost(call: impl FnOnce()) -> Cost {
    let (before, count, total) = (held(), COUNT.with(Cell::get), TOTAL.with(Cell::get));
    PEAK.with(|peak| peak.set(before));
    call();
    Cost {
        kept: held() - before,
        peak: PEAK.with(Cell::get) - before,
        allocations: COUNT.with(Cell::get) - count,
        allocated: TOTAL.with(Cell::get) - total,
    }
}

#[test]
fn the_meter_sees_what_is_kept_what_was_held_and_how_often() {
    assert_eq!(cost(|| {}), FREE);
    let mut kept = Vec::new();
    let measured = cost(|| {
        drop(vec![0u8; 1000]);
        kept = vec![0u8; 300];
    });
    assert_eq!(measured, Cost { kept: 300, peak: 1000, allocations: 2, allocated: 1300 });
    drop(kept);
}
