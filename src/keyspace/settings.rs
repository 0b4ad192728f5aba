//! What follows from settings, and from what memory is used for.

use super::disk::tier::{set_up_allocator, store_memory_bytes, sync_policy};
use super::whole::Keyspace;
use crate::base::{clock, memory};

/// Of `maxmemory`, what is kept free at most.
const RESERVED_SHARE: u64 = 2;

impl Keyspace {
    /// Looks at what memory is used for, with a disk, and has RocksDB take its share of what is left beside the slots: to be called
    /// every 100 ms or so.
    pub fn measure_memory(&self) {
        let Some(tier) = self.tier() else { return };
        // The cache and the memtables in it grow and shrink fast, so their place is kept free; and a round copies what
        // differs.
        let store_bytes = store_memory_bytes(&self.settings, self.slots_bytes());
        tier.store.set_memory_bytes(store_bytes);
        let unused_bytes = store_bytes.saturating_sub(tier.store.memory_bytes());
        let max_bytes = self.settings.maxmemory.get() / RESERVED_SHARE;
        memory::measure_foreign(unused_bytes + self.dirty_bytes(), max_bytes);
    }

    /// Makes the journal, the store and the allocator go by the present settings.
    pub fn apply_settings(&self) {
        let Some(tier) = self.tier() else { return };
        tier.store.set_memory_bytes(store_memory_bytes(&self.settings, self.slots_bytes()));
        set_up_allocator(&self.settings);
        if let Err(error) = tier.store.set_disk_bytes(self.settings.maxdisk.get()) {
            tracing::warn!(%error, "files keep the sizes that they had");
        }
        if self.settings.maxdisk.get() == 0 {
            self.merger.space.forget();
        }
        if let Some(journal) = tier.opened_journal() {
            journal.set_policy(sync_policy(&self.settings));
        }
        let journaling = self.settings.appendonly.get();
        let was_journaling = tier.set_journaling(journaling);
        if journaling && !was_journaling {
            // What was not journaled gets to disk before anybody is told that there is a journal.
            let has_failed = || tier.has_failed();
            if let Err(error) = self.merge(clock::now_ms(), has_failed) {
                tracing::warn!(%error, "what was changed without a journal is not on disk yet");
            }
        }
    }
}
