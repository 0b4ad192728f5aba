//! Where appends wait to be written: a buffer a thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::base::gather::{Gather, Mark};
use crate::base::thread;

/// More threads than this share.
const SHARDS: usize = 256;
/// What a buffer may keep of its memory when it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

pub struct Shards {
    shards: Box<[OnceLock<CachePadded<Mutex<Shard>>>]>,
    /// Held while a shard is added and while all are cut, so that a new one never misses that the block has changed.
    layout: Mutex<Layout>,
    /// How many large appends there have been, and how many of them are in blocks that are written.
    large: AtomicU64,
    large_written: AtomicU64,
}

struct Shard {
    buffer: Gather,
    /// The block that will hold what is in the buffer.
    block: u64,
}

struct Layout {
    /// The shards in use, oldest first. Only a cut locks several, so their order can cause no deadlock.
    places: Vec<usize>,
    block: u64,
}

/// What one block holds, taken out of the shards.
#[derive(Default)]
pub struct Cut {
    /// The block's number; 0 if there is nothing.
    pub block: u64,
    /// How many large appends are in it and in the blocks before.
    large: u64,
    buffers: Vec<Gather>,
}

/// Looked at several times: for their checksum and for each attempt to write them.
pub type Parts<'a> = SmallVec<[&'a [u8]; 8]>;

/// Takes back what a writer that panics has begun.
struct Whole<'a> {
    buffer: &'a mut Gather,
    whole: Mark,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.whole);
    }
}

impl Shards {
    /// `block` is the first that will be cut.
    pub fn new(block: u64) -> Self {
        let shards = std::iter::repeat_with(OnceLock::new).take(SHARDS).collect();
        let layout = Mutex::new(Layout { places: Vec::new(), block });
        Self { shards, layout, large: AtomicU64::new(0), large_written: AtomicU64::new(0) }
    }

    /// Lets `write` append to this thread's buffer, and returns the number of the block that will hold it.
    #[inline]
    pub fn append(&self, write: impl FnOnce(&mut Gather)) -> u64 {
        let place = thread::index() % SHARDS;
        let mut shard = match self.shards[place].get() {
            Some(shard) => shard.lock(),
            None => self.add(place).lock(),
        };
        let before = shard.buffer.mark();
        let whole = Whole { buffer: &mut shard.buffer, whole: before };
        write(whole.buffer);
        std::mem::forget(whole);
        let after = shard.buffer.mark();
        if after.refers_more_than(before) {
            self.large.fetch_add(1, Ordering::SeqCst);
        }
        // Who appends nothing waits for no block that may never come.
        if after == before { shard.block - 1 } else { shard.block }
    }

    #[cold]
    fn add(&self, place: usize) -> &CachePadded<Mutex<Shard>> {
        let mut layout = self.layout.lock();
        let block = layout.block;
        self.shards[place].get_or_init(|| {
            layout.places.push(place);
            CachePadded::new(Mutex::new(Shard { buffer: Gather::default(), block }))
        })
    }

    /// Takes what all threads have appended, as of one moment: if a later change of something is in the cut, all
    /// earlier ones are in it or in one before. False if there is nothing. `cut` must be empty.
    pub fn cut(&self, cut: &mut Cut) -> bool {
        let mut layout = self.layout.lock();
        let mut shards: SmallVec<[MutexGuard<'_, Shard>; 32]> =
            layout.places.iter().filter_map(|&place| self.shards[place].get()).map(|shard| shard.lock()).collect();
        if shards.iter().all(|shard| shard.buffer.is_empty()) {
            return false;
        }
        cut.block = layout.block;
        cut.large = self.large.load(Ordering::SeqCst);
        cut.buffers.resize_with(shards.len(), Gather::default);
        layout.block += 1;
        for (buffer, shard) in cut.buffers.iter_mut().zip(&mut shards) {
            if !shard.buffer.is_empty() {
                std::mem::swap(buffer, &mut shard.buffer);
            }
            shard.block = layout.block;
        }
        true
    }

    /// Whether something large was appended, and is not written yet: that takes long.
    #[inline]
    pub fn has_large(&self) -> bool {
        self.large.load(Ordering::SeqCst) != self.large_written.load(Ordering::SeqCst)
    }

    /// What was cut is in the file.
    pub fn written(&self, cut: &Cut) {
        self.large_written.store(cut.large, Ordering::SeqCst);
    }
}

impl Cut {
    pub fn is_empty(&self) -> bool {
        self.block == 0
    }

    pub fn buffers(&self) -> &[Gather] {
        &self.buffers
    }

    /// The payload's parts, in order.
    #[inline]
    pub fn parts(&self) -> Parts<'_> {
        let mut parts = Parts::new();
        for buffer in &self.buffers {
            match buffer.plain() {
                Some(plain) => parts.push(plain),
                None => parts.extend(buffer.parts()),
            }
        }
        parts
    }

    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(Gather::len).sum()
    }

    /// Makes it ready for the next cut, which swaps the emptied buffers in.
    pub fn clear(&mut self) {
        self.block = 0;
        for buffer in &mut self.buffers {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
}
