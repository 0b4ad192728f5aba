use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Enough to remember about as many keys as a small cache holds; 4 bytes each, allocated with the first eviction.
const SIZE: usize = 1 << 20;

/// Remembers, by a few bits of their hashes, keys that were evicted from the probationary queue: one that comes back
/// soon deserved better (S3-FIFO's ghost queue, <https://dl.acm.org/doi/10.1145/3600006.3613147>). New ones overwrite
/// old ones, which is all the order it has. A wrong answer costs a little hit ratio, never more.
#[derive(Default)]
pub struct Ghosts(OnceLock<Box<[AtomicU32]>>);

impl Ghosts {
    fn parts(hash: u64) -> (usize, u32) {
        (hash as usize % SIZE, (hash >> 32) as u32 | 1)
    }

    pub fn put(&self, hash: u64) {
        let (index, mark) = Self::parts(hash);
        let marks = self.0.get_or_init(|| std::iter::repeat_with(AtomicU32::default).take(SIZE).collect());
        marks[index].store(mark, Ordering::Relaxed);
    }

    /// Whether the key is remembered; it is not any more after this.
    #[inline]
    pub fn take(&self, hash: u64) -> bool {
        let Some(marks) = self.0.get() else { return false };
        let (index, mark) = Self::parts(hash);
        marks[index].load(Ordering::Relaxed) == mark && {
            marks[index].store(0, Ordering::Relaxed);
            true
        }
    }
}
