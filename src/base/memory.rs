//! How much memory the process has allocated: what `maxmemory` and INFO's `used_memory` mean.
//!
//! The allocator counts for itself, so that nothing has to be remembered elsewhere: entries, tables, buffers and
//! connections are all in the sum. Each thread keeps its own balance and adds it to the shared one once it has
//! grown past [`FLUSH_BYTES`], so the sum is exact within that amount a thread.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tikv_jemalloc_ctl::{Access, AsName, Mib};

use super::system;

const FLUSH_BYTES: i64 = 16 * 1024;

static USED_BYTES: AtomicI64 = AtomicI64::new(0);
/// What no counter of ours sees: what C++ code has allocated (RocksDB), and what the allocator needs beyond what was
/// asked of it.
static FOREIGN_BYTES: AtomicI64 = AtomicI64::new(0);
static RESERVED_BYTES: AtomicU64 = AtomicU64::new(0);
/// What is counted off and not yet free.
pub(super) static PENDING_BYTES: AtomicU64 = AtomicU64::new(0);

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

/// What counts towards `maxmemory`: what is used, and what is reserved.
#[inline]
pub fn committed_bytes() -> u64 {
    used_bytes() + RESERVED_BYTES.load(Ordering::Relaxed)
}

/// Asks the allocator, which serves all code of the process, for the pages that are in use, and takes what Rust code has
/// not counted for foreign: a page that entries have left holes in counts whole, so that what is resident stays near
/// the limit. Reserved is what the allocator has no part in (code, stacks) of what is resident, and
/// `expected_bytes`: what is going to be taken, sooner than entries could make room for it; both up to `reserved_max_bytes`.
/// Takes some 60 µs.
pub fn measure_foreign(expected_bytes: u64, reserved_max_bytes: u64) {
    let bytes = allocator_bytes();
    let counted = USED_BYTES.load(Ordering::Relaxed);
    let foreign = (bytes.active + bytes.metadata) as i64 - counted - PENDING_BYTES.load(Ordering::Relaxed) as i64;
    FOREIGN_BYTES.store(foreign.max(0), Ordering::Relaxed);
    let outside_bytes = system::resident_bytes().saturating_sub(bytes.resident);
    RESERVED_BYTES.store((outside_bytes + expected_bytes).min(reserved_max_bytes), Ordering::Relaxed);
}

/// What the allocator tells of itself, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocatorBytes {
    /// Given out and not given back, in the sizes that it has.
    pub allocated: u64,
    /// Of the pages that hold any of that.
    pub active: u64,
    /// Of the pages that it holds in memory, free ones and its own books included.
    pub resident: u64,
    /// Of its own books.
    pub metadata: u64,
}

/// As of now. Takes some 60 µs.
pub fn allocator_bytes() -> AllocatorBytes {
    let _ = tikv_jemalloc_ctl::epoch::advance();
    let bytes = |read: Result<usize, tikv_jemalloc_ctl::Error>| read.map_or(0, |bytes| bytes as u64);
    AllocatorBytes {
        allocated: bytes(tikv_jemalloc_ctl::stats::allocated::read()),
        active: bytes(tikv_jemalloc_ctl::stats::active::read()),
        resident: bytes(tikv_jemalloc_ctl::stats::resident::read()),
        metadata: bytes(tikv_jemalloc_ctl::stats::metadata::read()),
    }
}

/// Has a thread of the allocator give memory back to the system that has been free for a while (`dirty_decay_ms`).
/// Without it the threads that allocate do that in passing: when a million keys expire on an idle server, their memory
/// would stay.
///
/// # Errors
/// When the allocator cannot start threads; then memory is given back later.
pub fn give_back_in_background() -> Result<(), tikv_jemalloc_ctl::Error> {
    tikv_jemalloc_ctl::max_background_threads::write(1)?;
    tikv_jemalloc_ctl::background_thread::write(true)
}

/// Whether memory is given back to the system as soon as it is free, instead of a while later (`dirty_decay_ms`).
///
/// # Errors
/// When the allocator refuses.
pub fn give_back_at_once(at_once: bool) -> Result<(), tikv_jemalloc_ctl::Error> {
    let decay_ms: isize = if at_once { 0 } else { "opt.dirty_decay_ms\0".name().read()? };
    // Of arenas that are yet to come, and of those that there are.
    let coming = "arenas.dirty_decay_ms\0".name();
    if Access::<isize>::read(coming)? == decay_ms {
        return Ok(());
    }
    coming.write(decay_ms)?;
    let mut arena: Mib<[usize; 3]> = "arena.0.dirty_decay_ms\0".name().mib()?;
    for number in 0..tikv_jemalloc_ctl::arenas::narenas::read()? {
        arena[1] = number as usize;
        // One that no thread has used yet is refused; it takes the first setting.
        let _ = arena.write(decay_ms);
    }
    Ok(())
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

/// Counts memory off that is going to be freed soon; [`count_in`] has to come before it is.
pub(super) fn count_off(bytes: u64) {
    account(-(bytes as i64));
}

/// Counts memory in that was counted off.
pub(super) fn count_in(bytes: u64) {
    account(bytes as i64);
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
