use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// At least and at most so many keys are remembered, 4 bytes each.
const SIZE_MIN: u64 = 1 << 10;
const SIZE_MAX: u64 = 1 << 22;

/// Remembers, by a few bits of their hashes, keys that were evicted from the probationary queue: one that comes back
/// soon deserved better (S3-FIFO's ghost queue, <https://dl.acm.org/doi/10.1145/3600006.3613147>). New ones overwrite
/// old ones, which is all the order it has. A wrong answer costs a little hit ratio, never more.
#[derive(Default)]
pub struct Ghosts(OnceLock<Box<[AtomicU32]>>);

/// Where a key's mark lies, and what it is.
fn parts(hash: u64, size: usize) -> (usize, u32) {
    (hash as usize % size, (hash >> 32) as u32 | 1)
}

impl Ghosts {
    /// Remembers a key that was evicted. The first call decides, by the number of `keys` there are, how many will be.
    pub fn put(&self, hash: u64, keys: impl FnOnce() -> u64) {
        let marks = self.0.get_or_init(|| {
            let size = keys().next_power_of_two().clamp(SIZE_MIN, SIZE_MAX) as usize;
            std::iter::repeat_with(AtomicU32::default).take(size).collect()
        });
        let (index, mark) = parts(hash, marks.len());
        marks[index].store(mark, Ordering::Relaxed);
    }

    /// Whether the key is remembered; it is not any more after this.
    #[inline]
    pub fn take(&self, hash: u64) -> bool {
        let Some(marks) = self.0.get() else { return false };
        let (index, mark) = parts(hash, marks.len());
        marks[index].load(Ordering::Relaxed) == mark && {
            marks[index].store(0, Ordering::Relaxed);
            true
        }
    }
}
