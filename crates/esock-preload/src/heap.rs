//! Memory of our own: the program's allocator is left alone, and so is what the program finds in memory that it gets
//! from there. It can be asked for in a signal handler, and after a `fork` in the midst of an allocation.
//!
//! Nothing is given back. Calls ask for nothing; only starting, complaints and panics do.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is asked of the kernel at once.
const CHUNK: usize = 64 << 10;

struct Heap {
    /// The first free byte of the chunk, which ends at a multiple of its size; 0 before there is one.
    next: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap { next: AtomicUsize::new(0) };

fn map(length: usize) -> Option<*mut u8> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    (mapped != libc::MAP_FAILED).then_some(mapped.cast())
}

// SAFETY: what is handed out is mapped, aligned, and handed out once.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let wanted = layout.size().saturating_add(layout.align());
        if wanted > CHUNK / 4 {
            // Pages are aligned for anything that is asked for here.
            return map(layout.size()).unwrap_or(std::ptr::null_mut());
        }
        loop {
            let next = self.next.load(Ordering::Acquire);
            let at = next.next_multiple_of(layout.align());
            let end = at + layout.size();
            if next != 0 && end <= (next - 1) / CHUNK * CHUNK + CHUNK {
                if self.next.compare_exchange(next, end, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                    return std::ptr::with_exposed_provenance_mut(at);
                }
                continue;
            }
            // Twice as much, of which the aligned half is used. Whoever comes second loses a chunk.
            let Some(fresh) = map(2 * CHUNK) else { return std::ptr::null_mut() };
            let start = fresh.expose_provenance().next_multiple_of(CHUNK) + 1;
            let _ = self.next.compare_exchange(next, start, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    unsafe fn dealloc(&self, _at: *mut u8, _layout: Layout) {}
}
