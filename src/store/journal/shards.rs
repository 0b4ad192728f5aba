//! Where appends wait to be written: a buffer a thread.

use std::sync::OnceLock;

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::base::thread;

/// More threads than this share.
const SHARDS: usize = 256;
/// What a buffer may keep of its memory when it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

pub struct Shards {
    shards: Box<[OnceLock<CachePadded<Mutex<Shard>>>]>,
    /// Held while a shard is added and while all are cut, so that a new one never misses that the block has changed.
    layout: Mutex<Layout>,
}

struct Shard {
    buffer: Vec<u8>,
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
    buffers: Vec<Vec<u8>>,
}

/// Takes back what a writer that panics has begun.
struct Whole<'a> {
    buffer: &'a mut Vec<u8>,
    length: usize,
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        self.buffer.truncate(self.length);
    }
}

impl Shards {
    /// `block` is the first that will be cut.
    pub fn new(block: u64) -> Self {
        let shards = std::iter::repeat_with(OnceLock::new).take(SHARDS).collect();
        Self { shards, layout: Mutex::new(Layout { places: Vec::new(), block }) }
    }

    /// Lets `write` append to this thread's buffer, and returns the number of the block that will hold it.
    #[inline]
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let place = thread::index() % SHARDS;
        let mut shard = match self.shards[place].get() {
            Some(shard) => shard.lock(),
            None => self.add(place).lock(),
        };
        let length = shard.buffer.len();
        let mut whole = Whole { buffer: &mut shard.buffer, length };
        write(whole.buffer);
        whole.length = whole.buffer.len();
        let appended = whole.length != length;
        drop(whole);
        // Who appends nothing waits for no block that may never come.
        if appended { shard.block } else { shard.block - 1 }
    }

    #[cold]
    fn add(&self, place: usize) -> &CachePadded<Mutex<Shard>> {
        let mut layout = self.layout.lock();
        let block = layout.block;
        self.shards[place].get_or_init(|| {
            layout.places.push(place);
            CachePadded::new(Mutex::new(Shard { buffer: Vec::new(), block }))
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
        cut.buffers.resize_with(shards.len(), Vec::new);
        layout.block += 1;
        for (buffer, shard) in cut.buffers.iter_mut().zip(&mut shards) {
            if !shard.buffer.is_empty() {
                std::mem::swap(buffer, &mut shard.buffer);
            }
            shard.block = layout.block;
        }
        true
    }
}

impl Cut {
    pub fn is_empty(&self) -> bool {
        self.block == 0
    }

    pub fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.buffers.iter().map(Vec::as_slice).filter(|part| !part.is_empty())
    }

    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(Vec::len).sum()
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
