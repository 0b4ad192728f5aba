//! Expired records vanish in compaction, without being read or deleted for it.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{CompactionDecision, Options};

use crate::store::record::Record;

/// What compaction may drop.
#[derive(Default)]
pub(super) struct Reclaim {
    /// Records that expired at this time or before are counted off already: nobody misses them.
    swept_ms: AtomicU64,
    /// How many records compaction has dropped.
    dropped: AtomicU64,
}

impl Reclaim {
    pub fn set_swept_ms(&self, swept_ms: u64) {
        self.swept_ms.fetch_max(swept_ms, Ordering::Relaxed);
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Lives for one compaction.
pub(super) struct Filter {
    swept_ms: u64,
    dropped: u64,
    reclaim: Arc<Reclaim>,
}

struct Factory(Arc<Reclaim>);

impl Filter {
    pub fn install(options: &mut Options, reclaim: &Arc<Reclaim>) {
        options.set_compaction_filter_factory(Factory(Arc::clone(reclaim)));
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.reclaim.dropped.fetch_add(self.dropped, Ordering::Relaxed);
    }
}

impl CompactionFilter for Filter {
    /// RocksDB shows the newest version of a key, and what is removed here hides the older ones as a delete does.
    fn filter(&mut self, _level: u32, _key: &[u8], value: &[u8]) -> CompactionDecision {
        let expiry_ms = Record::decode(value).ok().and_then(|record| record.expiry_ms);
        if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.swept_ms) {
            self.dropped += 1;
            return CompactionDecision::Remove;
        }
        CompactionDecision::Keep
    }

    fn name(&self) -> &CStr {
        c"rockpool.expired"
    }
}

impl CompactionFilterFactory for Factory {
    type Filter = Filter;

    fn create(&mut self, _context: CompactionFilterContext) -> Filter {
        Filter { swept_ms: self.0.swept_ms.load(Ordering::Relaxed), dropped: 0, reclaim: Arc::clone(&self.0) }
    }

    fn name(&self) -> &CStr {
        c"rockpool.expired.factory"
    }
}
