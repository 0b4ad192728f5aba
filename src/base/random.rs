//! Numbers by chance, for choices that nobody gains from foreseeing (RANDOMKEY, sampling).

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0_u64));
}

/// 64 bits that every thread draws from a series of its own (SplitMix64: Steele, Lea, Flood, "Fast splittable
/// pseudorandom number generators", 2014).
#[inline]
pub fn next_u64() -> u64 {
    STATE.with(|state| {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mixed = (state.get() ^ state.get() >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn numbers_differ_within_a_thread_and_between_threads() {
        let draw = || (0..1000).map(|_| super::next_u64());
        let mut drawn: BTreeSet<u64> = draw().collect();
        drawn.extend(std::thread::spawn(move || draw().collect::<Vec<_>>()).join().unwrap());
        assert_eq!(drawn.len(), 2000);
        let ones: u32 = drawn.iter().map(|number| number.count_ones()).sum();
        assert!((62_000..66_000).contains(&ones), "{ones} of 128000 bits");
    }
}
