//! Keys that were evicted not long ago: from which queue, and when.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

/// At least and at most so many keys are remembered, 2 bytes each.
const SIZE_MIN: usize = 1 << 10;
const SIZE_MAX: usize = 1 << 26;
/// The first has `SIZE_MIN` cells, each other as many as all before it.
const SEGMENTS: usize = (SIZE_MAX / SIZE_MIN).ilog2() as usize + 1;
/// A cell: some bits of the key's hash, which are not all 0; a bit for the queue; the time of the eviction.
const HASH_BITS: u32 = 7;
const MAIN: u16 = 1 << TIME_BITS;
const TIME_BITS: u32 = 8;
/// The time's unit, in ticks of eviction's clock.
const TIME_TICKS: u16 = 4;

/// What is remembered of an evicted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ghost {
    /// It went from the main queue, not on probation.
    pub was_in_main: bool,
    /// When that was, in ticks before now.
    pub ticks: u16,
}

/// A table without chains: new keys overwrite old ones, which is all the order it has. Of 127 keys that were never evicted, one
/// is taken for one that was; that costs a little hit ratio, never more.
#[derive(Default)]
pub struct Ghosts {
    /// Cells in use: as many as there were keys in memory when it was set. Another size forgets most keys.
    size: AtomicUsize,
    segments: [OnceLock<Box<[AtomicU16]>>; SEGMENTS],
}

/// The segment of the cell of that number, and its place there.
fn segment(cell: usize) -> (usize, usize) {
    match (cell / SIZE_MIN).checked_ilog2() {
        None => (0, cell),
        Some(exponent) => (exponent as usize + 1, cell - (SIZE_MIN << exponent)),
    }
}

fn segment_cells(number: usize) -> usize {
    SIZE_MIN << number.saturating_sub(1)
}

fn hash_part(hash: u64) -> u16 {
    ((hash >> 32) as u16 & ((1 << HASH_BITS) - 1)).max(1)
}

fn time(clock: u16) -> u8 {
    (clock / TIME_TICKS) as u8
}

impl Ghosts {
    /// Remembers from now on as many keys as there are in memory, give or take a quarter.
    pub fn resize(&self, keys: u64) {
        let (size, wanted) = (self.size.load(Ordering::Relaxed), (keys as usize).clamp(SIZE_MIN, SIZE_MAX));
        if wanted.abs_diff(size) <= size / 4 {
            return;
        }
        for number in 0..=segment(wanted - 1).0 {
            self.segments[number]
                .get_or_init(|| std::iter::repeat_with(AtomicU16::default).take(segment_cells(number)).collect());
        }
        self.size.store(wanted, Ordering::Release);
    }

    pub fn is_empty(&self) -> bool {
        self.size.load(Ordering::Relaxed) == 0
    }

    fn cell(&self, hash: u64) -> Option<&AtomicU16> {
        let size = self.size.load(Ordering::Acquire);
        let (number, index) = segment(((u64::from(hash as u32) * size as u64) >> 32) as usize);
        self.segments[number].get()?.get(index)
    }

    /// Remembers a key that is evicted now.
    pub fn put(&self, hash: u64, was_in_main: bool, clock: u16) {
        let queue = if was_in_main { MAIN } else { 0 };
        if let Some(cell) = self.cell(hash) {
            cell.store(hash_part(hash) << (16 - HASH_BITS) | queue | u16::from(time(clock)), Ordering::Relaxed);
        }
    }

    /// What is remembered of a key; it is not any more after this.
    pub fn take(&self, hash: u64, clock: u16) -> Option<Ghost> {
        let cell = self.cell(hash)?;
        let bits = cell.load(Ordering::Relaxed);
        if bits >> (16 - HASH_BITS) != hash_part(hash) {
            return None;
        }
        cell.store(0, Ordering::Relaxed);
        let ticks = u16::from(time(clock).wrapping_sub(bits as u8)) * TIME_TICKS;
        Some(Ghost { was_in_main: bits & MAIN != 0, ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as a good hash function makes them.
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|number| xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()))
    }

    #[test]
    fn segments_hold_every_cell_once() {
        let mut next = [0; SEGMENTS];
        for cell in 0..SIZE_MIN * 8 {
            let (number, index) = segment(cell);
            assert_eq!(index, next[number]);
            next[number] += 1;
        }
        assert_eq!(next[..4], [0, 1, 2, 3].map(segment_cells));
        assert_eq!(segment(SIZE_MAX - 1), (SEGMENTS - 1, segment_cells(SEGMENTS - 1) - 1));
    }

    #[test]
    fn an_evicted_key_is_known_once() {
        let ghosts = Ghosts::default();
        ghosts.put(7, true, 0);
        assert_eq!(ghosts.take(7, 0), None, "there is no room before there is a size");
        ghosts.resize(3000);
        ghosts.put(7 << 32, true, u16::MAX);
        assert_eq!(ghosts.take(7 << 32, 400), Some(Ghost { was_in_main: true, ticks: 404 }));
        assert_eq!(ghosts.take(7 << 32, 400), None);
        ghosts.put(7 << 32, false, 12);
        assert_eq!(ghosts.take(7 << 32, 15), Some(Ghost { was_in_main: false, ticks: 0 }));
    }

    #[test]
    fn about_as_many_are_remembered_as_there_are_keys() {
        let ghosts = Ghosts::default();
        for keys in [50_000, 5_000, 100_000] {
            ghosts.resize(keys);
            hashes(keys * 3).for_each(|hash| ghosts.put(hash, false, 0));
            let known = hashes(keys * 3).filter(|hash| ghosts.take(*hash, 0).is_some()).count() as u64;
            assert!((keys * 8 / 10..keys * 11 / 10).contains(&known), "{known} of {keys}");
        }
    }
}
