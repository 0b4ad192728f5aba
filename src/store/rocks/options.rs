//! How RocksDB is set up, and why.

use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, LogLevel, Options, WriteBufferManager,
};

use super::error::RocksError;
use super::filter::{self, Reclaim};
use super::{AGE, EXPIRY, META, RECORDS};

const MIB: usize = 1 << 20;

/// Values from this length on lie in blob files: compaction then moves their address alone.
pub const BLOB_BYTES: usize = 4096;
/// The log is cut, by flushing what it holds, before recovery has more than this to read: some 0.4 s of it.
const LOG_BYTES_MAX: usize = 24 * MIB;
/// One memtable of records; with two of them waiting to be flushed, the third stops the merger.
const WRITE_BUFFER_BYTES_MAX: usize = 64 * MIB;
const INDEX_BUFFER_BYTES_MAX: usize = 16 * MIB;
const TABLE_BYTES: u64 = 64 << 20;
/// A read may have to look into each of them.
const LEVEL_0_FILES_MAX: i32 = 24;
/// What waits to be compacted, at most: it takes disk space in the meantime.
const DEBT_BYTES_MAX: usize = 64 << 30;
/// Of the budget, what memtables may have.
const BUFFERS_SHARE: usize = 4;
const BUFFERS_BYTES_MAX: usize = 128 * MIB;
/// Below this, RocksDB would do nothing but flush and read again.
const MEMORY_BYTES_MIN: usize = 8 * MIB;

/// What the settings decide.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Makes a database where there is none. Without it, its absence is an error.
    pub create: bool,
    /// For cached blocks, filters, indexes and memtables together.
    pub memory_bytes: u64,
    /// Threads that flush and compact.
    pub background_jobs: i32,
    /// How many table files may be open. Those beyond are opened anew when they are read.
    pub max_open_files: i32,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions { create: false, memory_bytes: 64 << 20, background_jobs: 2, max_open_files: 4096 }
    }
}

/// What outlives a reopened database: caches, and what the compaction filter reads.
pub(super) struct Resources {
    pub cache: Cache,
    pub buffers: WriteBufferManager,
    pub reclaim: Arc<Reclaim>,
}

impl Resources {
    pub fn new(memory_bytes: u64) -> Resources {
        let memory_bytes = bounded(memory_bytes);
        // Its lookups take no lock. 0: it finds the size of its entries by itself.
        let cache = Cache::new_hyper_clock_cache(memory_bytes, 0);
        // Memtables are charged to the cache, so that one number bounds both. It never stalls writers by itself: a
        // memtable that cannot be flushed must not hold them for ever.
        let buffers =
            WriteBufferManager::new_write_buffer_manager_with_cache(buffer_bytes(memory_bytes), false, cache.clone());
        Resources { cache, buffers, reclaim: Arc::default() }
    }

    pub fn set_memory_bytes(&self, memory_bytes: u64) {
        let memory_bytes = bounded(memory_bytes);
        self.cache.clone().set_capacity(memory_bytes);
        self.buffers.set_buffer_size(buffer_bytes(memory_bytes));
    }
}

fn bounded(memory_bytes: u64) -> usize {
    usize::try_from(memory_bytes).unwrap_or(usize::MAX).max(MEMORY_BYTES_MIN)
}

fn buffer_bytes(memory_bytes: usize) -> usize {
    (memory_bytes / BUFFERS_SHARE).min(BUFFERS_BYTES_MAX)
}

/// Neither start nor end waits for a flush: the log is replayed into memtables, and its length is bounded. (The crate
/// has no setters for these.)
const AS_TEXT: &str = "avoid_flush_during_recovery=true;avoid_flush_during_shutdown=true";

/// What holds for the database as a whole.
pub(super) fn database(options: &RocksOptions, resources: &Resources) -> Result<Options, RocksError> {
    let mut database = Options::default().get_options_from_string(AS_TEXT)?;
    database.create_if_missing(options.create);
    database.create_missing_column_families(options.create);
    database.set_paranoid_checks(true);
    database.set_max_background_jobs(options.background_jobs.max(2));
    database.set_write_buffer_manager(&resources.buffers);
    // A bounded number makes opening independent of how many files there are: each is opened when it is first read.
    database.set_max_open_files(options.max_open_files);
    database.set_skip_stats_update_on_db_open(true);
    // A round's WriteBatch is one write to the log. Buffering it there as well would make every failure of that write
    // fatal to the open database, where RocksDB otherwise recovers by itself once there is room.
    database.set_manual_wal_flush(false);
    database.set_max_total_wal_size(LOG_BYTES_MAX as u64);
    // What was not synced when the machine went down ends the log: the journal has what follows.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Spread over the time of writing, so that no sync at the end has much left to do.
    database.set_bytes_per_sync(MIB as u64);
    database.set_wal_bytes_per_sync(MIB as u64);
    database.set_max_manifest_file_size(16 * MIB);
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(4 * MIB);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    Ok(database)
}

/// The column families with their options.
pub(super) fn families(options: &RocksOptions, resources: &Resources) -> [(&'static str, Options); 4] {
    let buffer_bytes = buffer_bytes(bounded(options.memory_bytes));
    let index = || {
        let mut index = family(resources, (buffer_bytes / 4).min(INDEX_BUFFER_BYTES_MAX));
        // Nobody asks for a single key of them: they are read in order.
        index.set_block_based_table_factory(&table(resources, false));
        index
    };
    [
        (RECORDS, records(resources, (buffer_bytes / 2).min(WRITE_BUFFER_BYTES_MAX))),
        (META, index()),
        (EXPIRY, index()),
        (AGE, index()),
    ]
}

fn records(resources: &Resources, buffer_bytes: usize) -> Options {
    let mut records = family(resources, buffer_bytes);
    records.set_block_based_table_factory(&table(resources, true));
    // A miss in the memtable is then answered by two cache lines instead of a walk through the skip list.
    records.set_memtable_prefix_bloom_ratio(0.02);
    records.set_memtable_whole_key_filtering(true);
    records.set_enable_blob_files(true);
    records.set_min_blob_size(BLOB_BYTES as u64);
    records.set_blob_compression_type(DBCompressionType::Lz4);
    records.set_enable_blob_gc(true);
    // The oldest quarter of the blob files is rewritten as compaction meets it, and by force where half is garbage.
    records.set_blob_gc_age_cutoff(0.25);
    records.set_blob_gc_force_threshold(0.5);
    filter::install(&mut records, &resources.reclaim);
    records
}

fn family(resources: &Resources, buffer_bytes: usize) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(buffer_bytes);
    // With more, and with the two limits below unequal, RocksDB would hold writers back more and more before it stops
    // them, up to minutes in one call. As it is, a call either writes or is told at once to come again.
    family.set_max_write_buffer_number(3);
    family.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_MAX);
    family.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_MAX);
    family.set_soft_pending_compaction_bytes_limit(DEBT_BYTES_MAX);
    family.set_hard_pending_compaction_bytes_limit(DEBT_BYTES_MAX);
    family.set_write_buffer_manager(&resources.buffers);
    family.set_level_compaction_dynamic_level_bytes(true);
    family.set_target_file_size_base(TABLE_BYTES);
    family.set_compression_type(DBCompressionType::Lz4);
    // Nine tenths of the data lie there, and are rewritten least.
    family.set_bottommost_compression_type(DBCompressionType::Zstd);
    family
}

fn table(resources: &Resources, point_lookups: bool) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(6);
    table.set_block_cache(&resources.cache);
    // Filters and indexes are cut into blocks of the cache: the budget bounds them too, and the first read after a
    // start loads the piece it needs and not those of the whole file.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_index_type(rocksdb::BlockBasedIndexType::TwoLevelIndexSearch);
    if point_lookups {
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
        table.set_partition_filters(true);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
    }
    table
}

/// A compaction that somebody asked for reaches the bottommost level too, or it would leave garbage there.
pub(super) fn compaction() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    options.set_exclusive_manual_compaction(false);
    options
}
