//! How far something long is, for whoever wants to tell.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes of work. Several threads may count, and others read meanwhile.
#[derive(Debug, Default)]
pub struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Progress {
    /// Begins something of `total_bytes`, or of a length that is not known: 0.
    pub fn begin(&self, total_bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// So much more is done.
    pub fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that are done, and of how many.
    pub fn get(&self) -> (u64, u64) {
        let total_bytes = self.total_bytes.load(Ordering::Relaxed);
        (self.done_bytes.load(Ordering::Relaxed).min(total_bytes), total_bytes)
    }
}
