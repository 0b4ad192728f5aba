use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options, WriteBufferManager,
};

use super::{FAMILIES, Family};
use crate::store::record::Record;

/// Values of so many bytes lie in blob files, which compactions do not rewrite.
const BLOB_MIN_BYTES: u64 = 4096;
/// Of the budget, what write buffers may take.
const WRITE_BUFFERS_SHARE: u64 = 2;
const WRITE_BUFFER_MAX_BYTES: u64 = 64 << 20;
const WRITE_BUFFER_MIN_BYTES: u64 = 2 << 20;
/// RocksDB's log, which a start replays.
const WAL_MAX_BYTES: u64 = 128 << 20;
const FILTER_BITS_A_KEY: f64 = 10.0;
const BLOCK_BYTES: usize = 8 * 1024;

pub struct RocksOptions {
    /// For the block cache and the write buffers together.
    pub memory_bytes: u64,
    /// Make the database if it is not there.
    pub create: bool,
    pub background_jobs: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions { memory_bytes: 64 << 20, create: false, background_jobs: 2 }
    }
}

pub(super) struct Made {
    pub database: Options,
    pub families: Vec<ColumnFamilyDescriptor>,
    pub cache: Cache,
}

pub(super) fn make(options: &RocksOptions, swept_ms: &Arc<AtomicU64>) -> Made {
    // Filters and indexes lie outside of it: a miss must never be a read.
    let cache = Cache::new_hyper_clock_cache(options.memory_bytes as usize, 0);
    let buffers_bytes = options.memory_bytes / WRITE_BUFFERS_SHARE;
    let mut database = Options::default();
    database.create_if_missing(options.create);
    database.create_missing_column_families(options.create);
    database.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
        buffers_bytes as usize,
        false,
        cache.clone(),
    ));
    database.set_manual_wal_flush(true);
    database.set_max_total_wal_size(WAL_MAX_BYTES);
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    database.set_max_background_jobs(options.background_jobs);
    database.set_bytes_per_sync(1 << 20);
    database.set_wal_bytes_per_sync(1 << 20);
    database.set_skip_stats_update_on_db_open(true);
    database.set_max_open_files(-1);
    database.set_max_file_opening_threads(2);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(16 << 20);
    database.set_paranoid_checks(true);
    let families = FAMILIES.map(|family| {
        ColumnFamilyDescriptor::new(family.name(), family_options(family, buffers_bytes, &cache, swept_ms))
    });
    Made { database, families: families.into(), cache }
}

fn family_options(family: Family, buffers_bytes: u64, cache: &Cache, swept_ms: &Arc<AtomicU64>) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_format_version(5);
    table.set_cache_index_and_filter_blocks(false);
    table.set_optimize_filters_for_memory(true);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    let buffer_bytes = (buffers_bytes / 2).clamp(WRITE_BUFFER_MIN_BYTES, WRITE_BUFFER_MAX_BYTES);
    options.set_write_buffer_size(buffer_bytes as usize);
    options.set_max_write_buffer_number(3);
    options.set_target_file_size_base(64 << 20);
    options.set_max_bytes_for_level_base(256 << 20);
    if family == Family::Records {
        table.set_bloom_filter(FILTER_BITS_A_KEY, false);
        table.set_whole_key_filtering(true);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_MIN_BYTES);
        options.set_blob_compression_type(DBCompressionType::Lz4);
        options.set_enable_blob_gc(true);
        options.set_blob_gc_age_cutoff(0.25);
        options.set_blob_gc_force_threshold(0.5);
        options.set_blob_cache(cache);
        options.set_compaction_filter_factory(ExpiredFactory(swept_ms.clone()));
    }
    options.set_block_based_table_factory(&table);
    options
}

/// Drops records that have expired and are counted off. Those that nobody has counted off must stay until somebody has.
struct ExpiredFactory(Arc<AtomicU64>);

impl CompactionFilterFactory for ExpiredFactory {
    type Filter = Expired;

    fn create(&mut self, _: CompactionFilterContext) -> Expired {
        Expired { swept_ms: self.0.load(Ordering::Relaxed) }
    }

    fn name(&self) -> &CStr {
        c"rockpool.expired"
    }
}

struct Expired {
    swept_ms: u64,
}

impl CompactionFilter for Expired {
    fn filter(&mut self, _: u32, _: &[u8], value: &[u8]) -> Decision {
        match Record::expiry_of(value) {
            Some(expiry_ms) if expiry_ms <= self.swept_ms => Decision::Remove,
            _ => Decision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        c"rockpool.expired"
    }
}
