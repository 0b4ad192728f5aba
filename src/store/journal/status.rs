//! What the journal tells of itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How long something took, over all times it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often it was done.
    pub count: u64,
    /// How long it took altogether, in microseconds.
    pub sum_us: u64,
    /// The longest of all, in microseconds.
    pub max_us: u64,
    /// The last, in microseconds.
    pub last_us: u64,
}

/// Figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// Files that a replay would read, the one that is written to included.
    pub segments: usize,
    /// Files that are kept to be written over.
    pub spare_segments: usize,
    /// What segments and spares take.
    pub bytes_on_disk: u64,
    /// Bytes of the blocks that are not in RocksDB yet.
    pub unreleased_bytes: u64,
    /// Blocks written since the journal was opened.
    pub blocks_written: u64,
    /// Bytes of them, with their headers.
    pub bytes_written: u64,
    /// Of writing a block.
    pub write_latency: Latency,
    /// Of a sync with the write before it.
    pub sync_latency: Latency,
    /// Tasks that wait for an acknowledgement.
    pub waiters: usize,
    /// The newest block in the file, on disk, and in RocksDB.
    pub written_block: u64,
    /// The newest block on disk.
    pub durable_block: u64,
    /// The newest block that is in RocksDB, with all before it.
    pub released_block: u64,
}

/// What the writer knows, told where nobody has to wait for it: a disk that hangs must not keep a status from being
/// shown.
#[derive(Default)]
pub(super) struct Gauges {
    pub segments: AtomicUsize,
    pub segment_bytes: AtomicU64,
    pub unreleased_bytes: AtomicU64,
}

#[derive(Default)]
pub(super) struct Meter {
    count: AtomicU64,
    sum_us: AtomicU64,
    max_us: AtomicU64,
    last_us: AtomicU64,
}

impl Meter {
    /// One writer at a time; readers may see the parts of two records.
    pub fn record(&self, duration_us: u64) {
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.sum_us.store(self.sum_us.load(Ordering::Relaxed) + duration_us, Ordering::Relaxed);
        self.max_us.fetch_max(duration_us, Ordering::Relaxed);
        self.last_us.store(duration_us, Ordering::Relaxed);
    }

    pub fn last_us(&self) -> u64 {
        self.last_us.load(Ordering::Relaxed)
    }

    pub fn latency(&self) -> Latency {
        Latency {
            count: self.count.load(Ordering::Relaxed),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            max_us: self.max_us.load(Ordering::Relaxed),
            last_us: self.last_us.load(Ordering::Relaxed),
        }
    }
}
