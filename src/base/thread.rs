//! A small dense number for each thread, to pick its shard of a counter or a lock.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// This thread's number, counted from 0 in the order of first calls.
#[inline]
pub fn index() -> usize {
    INDEX.with(|index| {
        if index.get() == usize::MAX {
            index.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        index.get()
    })
}

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// A random number for choices that nobody gains by guessing: xorshift64*, seeded from the clock and the thread.
#[inline]
pub fn random() -> u64 {
    RANDOM.with(|state| {
        let mut bits = state.get();
        if bits == 0 {
            bits = super::clock::now_us() ^ (index() as u64 + 1) << 48 | 1;
        }
        bits ^= bits >> 12;
        bits ^= bits << 25;
        bits ^= bits >> 27;
        state.set(bits);
        bits.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

/// The same as a fraction: from 0 on and below 1.
#[inline]
pub fn random_fraction() -> f64 {
    (random() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}
