//! What RocksDB says of itself.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use rocksdb::properties;

use super::database::Rocks;
use super::properties::{BLOB_GARBAGE_BYTES, LIVE_BLOB_BYTES, background_errors, level_0_files, log_bytes, sum};

/// Figures of one moment; where RocksDB is not open, 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RocksStatus {
    /// What memtables take of the cache's budget.
    pub memtable_bytes: u64,
    /// With what memtables are charged to the cache.
    pub cache_bytes: u64,
    /// Of the cache, what is in use at the moment.
    pub cache_pinned_bytes: u64,
    /// What open table files hold outside of the cache.
    pub table_readers_bytes: u64,
    /// How much there is to compact before the levels have the sizes they should have.
    pub pending_compaction_bytes: u64,
    /// Compactions under way.
    pub running_compactions: u64,
    /// Flushes under way.
    pub running_flushes: u64,
    /// Writes wait until flushes and compactions have caught up.
    pub is_write_stopped: bool,
    /// How often a write had to wait for RocksDB to catch up, and how long altogether.
    pub stalls: u64,
    /// How long writes have waited for that altogether, in milliseconds.
    pub stalled_ms: u64,
    /// Rounds whose records went to RocksDB as a table instead of through its log.
    pub tables_made: u64,
    /// Of the present tables.
    pub sst_bytes: u64,
    /// Of the present blob files.
    pub blob_bytes: u64,
    /// Of these, what no record refers to any more.
    pub blob_garbage_bytes: u64,
    /// Of the log's files.
    pub log_bytes: u64,
    /// Of records. Many of them make reads slow and then stop writes.
    pub level_0_files: u64,
    /// Since the database was opened.
    pub background_errors: u64,
    /// Expired records that compaction has dropped.
    pub records_dropped: u64,
    /// Why the last write failed, if it did.
    pub failure: Option<String>,
}

impl Rocks {
    /// Figures of this moment.
    pub fn status(&self) -> RocksStatus {
        let mut status = RocksStatus {
            memtable_bytes: self.resources.buffers.get_usage() as u64,
            cache_bytes: self.memory_bytes(),
            cache_pinned_bytes: self.resources.cache.get_pinned_usage() as u64,
            log_bytes: log_bytes(&self.directory),
            records_dropped: self.resources.reclaim.dropped(),
            stalls: self.stalls.load(Ordering::Relaxed),
            stalled_ms: self.stalled_ms.load(Ordering::Relaxed),
            tables_made: self.tables_made.load(Ordering::Relaxed),
            failure: self.failure.message(),
            ..RocksStatus::default()
        };
        let state = self.state();
        let Ok(database) = state.database() else { return status };
        // These are of the database as a whole, whichever family is asked.
        let of_database = |name: &CStr| database.property_int_value(name).ok().flatten().unwrap_or(0);
        status.running_compactions = of_database(properties::NUM_RUNNING_COMPACTIONS.as_ref());
        status.running_flushes = of_database(properties::NUM_RUNNING_FLUSHES.as_ref());
        status.is_write_stopped = of_database(properties::IS_WRITE_STOPPED.as_ref()) != 0;
        status.background_errors = background_errors(database);
        status.table_readers_bytes = sum(database, properties::ESTIMATE_TABLE_READERS_MEM.as_ref());
        status.pending_compaction_bytes = sum(database, properties::ESTIMATE_PENDING_COMPACTION_BYTES.as_ref());
        status.sst_bytes = sum(database, properties::LIVE_SST_FILES_SIZE.as_ref());
        status.blob_bytes = sum(database, LIVE_BLOB_BYTES);
        status.blob_garbage_bytes = sum(database, BLOB_GARBAGE_BYTES);
        status.level_0_files = level_0_files(database);
        status
    }
}
