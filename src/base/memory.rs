//! How much memory the process has allocated: what `maxmemory` and INFO's `used_memory` mean.
//!
//! The allocator counts for itself, so that nothing has to be remembered elsewhere: entries, tables, buffers and
//! connections are all in the sum. Each thread keeps its own balance and adds it to the shared one once it has
//! grown past [`FLUSH_BYTES`], so the sum is exact within that amount a thread.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

const FLUSH_BYTES: i64 = 16 * 1024;

static USED_BYTES: AtomicI64 = AtomicI64::new(0);
/// What C++ code has allocated (RocksDB), which no counter of ours sees.
static FOREIGN_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static BALANCE_BYTES: Cell<i64> = const { Cell::new(0) };
}

/// Bytes allocated and not freed, process-wide; what is not allocated by Rust code, as of the last
/// [`measure_foreign`].
#[inline]
pub fn used_bytes() -> u64 {
    let unflushed = BALANCE_BYTES.try_with(Cell::get).unwrap_or(0);
    (USED_BYTES.load(Ordering::Relaxed) + FOREIGN_BYTES.load(Ordering::Relaxed) + unflushed).max(0) as u64
}

/// Asks the allocator, which serves all code of the process, how much is allocated, and takes what Rust code has not
/// for foreign. Takes some 60 µs.
pub fn measure_foreign() {
    let _ = tikv_jemalloc_ctl::epoch::advance();
    if let Ok(allocated) = tikv_jemalloc_ctl::stats::allocated::read() {
        let counted = USED_BYTES.load(Ordering::Relaxed);
        FOREIGN_BYTES.store((allocated as i64 - counted).max(0), Ordering::Relaxed);
    }
}

/// Has a thread of the allocator give memory back to the system that has been free for ten seconds. Without it the
/// threads that allocate do that in passing: when a million keys expire on an idle server, their memory would stay.
///
/// # Errors
/// When the allocator cannot start threads; then memory is given back later.
pub fn give_back_in_background() -> Result<(), tikv_jemalloc_ctl::Error> {
    tikv_jemalloc_ctl::max_background_threads::write(1)?;
    tikv_jemalloc_ctl::background_thread::write(true)
}

#[inline]
fn account(bytes: i64) {
    // A thread that is being torn down has no balance any more; its last frees go to the sum at once.
    let counted = BALANCE_BYTES.try_with(|balance| {
        let sum = balance.get() + bytes;
        if sum.abs() < FLUSH_BYTES {
            balance.set(sum);
        } else {
            balance.set(0);
            USED_BYTES.fetch_add(sum, Ordering::Relaxed);
        }
    });
    if counted.is_err() {
        USED_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Wraps the real allocator `A` and keeps the count.
pub struct Counting<A>(pub A);

// SAFETY: every call is passed on unchanged to `A`, which keeps GlobalAlloc's contract; counting neither allocates
// nor unwinds (the thread-local is const-initialised and has no destructor).
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        account(-(layout.size() as i64));
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        account(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(pointer, layout, new_size) }
    }
}
