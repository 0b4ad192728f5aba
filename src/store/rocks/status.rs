use std::ffi::CStr;

use rocksdb::properties;

use super::Rocks;

/// How RocksDB is, for INFO and the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct RocksStatus {
    pub memtable_bytes: u64,
    pub cache_bytes: u64,
    /// Filters and indexes.
    pub table_readers_bytes: u64,
    pub sst_bytes: u64,
    pub blob_bytes: u64,
    /// What compactions still have to rewrite.
    pub pending_compaction_bytes: u64,
    pub running_compactions: u64,
    pub is_write_stopped: bool,
    /// Writes are held to so many bytes a second; 0: they are not.
    pub delayed_write_rate: u64,
    pub background_errors: u64,
}

impl Rocks {
    pub fn status(&self) -> RocksStatus {
        let once = |name| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        let once_named = |name: &CStr| self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        RocksStatus {
            memtable_bytes: self.property(properties::CUR_SIZE_ALL_MEM_TABLES),
            cache_bytes: self.cache.get_usage() as u64,
            table_readers_bytes: self.property(properties::ESTIMATE_TABLE_READERS_MEM),
            sst_bytes: self.property(properties::LIVE_SST_FILES_SIZE),
            blob_bytes: once_named(c"rocksdb.live-blob-file-size"),
            pending_compaction_bytes: self.property(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
            running_compactions: once(properties::NUM_RUNNING_COMPACTIONS),
            is_write_stopped: once(properties::IS_WRITE_STOPPED) != 0,
            delayed_write_rate: once(properties::ACTUAL_DELAYED_WRITE_RATE),
            background_errors: once(properties::BACKGROUND_ERRORS),
        }
    }
}
