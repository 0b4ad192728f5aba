//! How RocksDB is set up, and why.

use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DBCompressionType, DBRecoveryMode,
    DataBlockIndexType, LogLevel, Options, ReadOptions, ReadTier, WriteBufferManager, WriteOptions,
};

use super::error::RocksError;
use super::families::{AGE, ELEMENTS, EXPIRY, META, RECORDS};
use super::filter::{self, Reclaim};
use crate::store::disk_share;
use crate::store::record::LongKeys;

const MIB: usize = 1 << 20;

/// Values from this length on lie in blob files: compaction then moves their address alone.
pub const BLOB_BYTES: usize = 4096;
/// The log is cut, by flushing what it holds, before recovery has more than this to read: some 0.4 s of it.
const LOG_BYTES_MAX: u64 = 24 << 20;
const LOG_BYTES_MIN: u64 = 2 << 20;
/// One memtable of records; with two of them waiting to be flushed, the third stops the merger.
const WRITE_BUFFER_BYTES_MAX: u64 = 64 << 20;
const INDEX_BUFFER_BYTES_MAX: u64 = 16 << 20;
const TABLE_BYTES_MAX: u64 = 64 << 20;
const TABLE_BYTES_MIN: u64 = 1 << 20;
/// What the first level below level 0 holds; each compaction out of level 0 rewrites all of it.
const LEVEL_BYTES_MAX: u64 = 256 << 20;
const BLOB_FILE_BYTES_MAX: u64 = 256 << 20;
/// Of a disk with a limit, in parts of so many: one memtable of records (level 0 gathers four of them), a table, the first
/// level, a blob file, one compaction, the log. So a compaction of all that it may have to rewrite at a time takes about a
/// fifth.
const MEMTABLE_SHARE: u64 = 64;
const TABLE_SHARE: u64 = 64;
const LEVEL_SHARE: u64 = 16;
const BLOB_FILE_SHARE: u64 = 64;
const COMPACTION_SHARE: u64 = 8;
const LOG_SHARE: u64 = 16;
/// The same of what waits to be compacted. Without it the first level grows past its size while compactions further down have
/// their turn, and the next out of level 0 takes several times as much.
const DEBT_SHARE: u64 = 8;
/// The manifest, before it is written anew, what is reserved of it ahead, and RocksDB's own messages, which have four files.
const MANIFEST_SHARE: u64 = 64;
const MANIFEST_AHEAD_SHARE: u64 = 512;
const MESSAGES_SHARE: u64 = 512;
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const MANIFEST_AHEAD_BYTES_MAX: u64 = 4 << 20;
const MESSAGES_BYTES_MAX: u64 = 4 << 20;
const SMALL_BYTES_MIN: u64 = 64 << 10;
/// As many files in level 0 begin a compaction, or as many bytes as the first level below may have: with fewer, it rewrites
/// what lies there more often. Where the disk has a limit, what is deleted is to go soon.
const LEVEL_0_FILES_COMPACTED: u64 = 24;
const LEVEL_0_FILES_COMPACTED_LIMITED: u64 = 4;
/// Of the slots' metas: each file has all of them again, and a start reads all files.
const LEVEL_0_FILES_COMPACTED_META: u64 = 2;
/// From so many on, compaction no longer gives way to anything.
pub(super) const LEVEL_0_FILES_URGENT: u64 = 32;
/// A read may have to ask the filters of all of them.
const LEVEL_0_FILES_MAX: i32 = 64;
/// What waits to be compacted, at most: it takes disk space in the meantime.
const DEBT_BYTES_MAX: u64 = 64 << 30;
const COMPACTION_READ_BYTES: usize = 128 << 10;
/// Of the budget, what memtables may have.
const BUFFERS_SHARE: usize = 4;
const BUFFERS_BYTES_MAX: usize = 128 * MIB;
/// Of tables.
const FORMAT_VERSION: i32 = 6;
const FILTER_BITS: f64 = 10.0;
/// Below this, RocksDB would do nothing but flush and read again.
const MEMORY_BYTES_MIN: usize = 8 * MIB;

/// More table files are not kept open.
pub const OPEN_FILES_MAX: i32 = 4096;

/// What the settings decide.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Makes a database where there is none. Without it, its absence is an error.
    pub create: bool,
    /// Makes the column families that the program did not know which made the database. Without it, the absence of one is an
    /// error.
    pub adds_families: bool,
    /// For cached blocks, filters, indexes and memtables together.
    pub memory_bytes: u64,
    /// Threads that flush and compact.
    pub background_jobs: i32,
    /// How many table files may be open. Those beyond are opened anew when they are read.
    pub max_open_files: i32,
    /// The limit of the disk, which the sizes of files go by; 0: none.
    pub disk_bytes: u64,
    /// What the log takes at most, near enough.
    pub log_bytes: u64,
    /// Whether compaction may begin.
    pub compacts: bool,
    /// Whether room is taken for files before they need it. Where there is little, one file would take that of the others.
    pub allocates_ahead: bool,
    /// How long keys are in its records.
    pub long_keys: LongKeys,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions::for_disk(0)
    }
}

impl RocksOptions {
    /// Those for a disk with a limit; 0: without.
    pub fn for_disk(disk_bytes: u64) -> RocksOptions {
        RocksOptions {
            create: false,
            adds_families: false,
            memory_bytes: 64 << 20,
            background_jobs: 2,
            max_open_files: OPEN_FILES_MAX,
            disk_bytes,
            log_bytes: disk_share(disk_bytes, LOG_SHARE, LOG_BYTES_MIN, LOG_BYTES_MAX),
            compacts: true,
            allocates_ahead: true,
            long_keys: LongKeys::default(),
        }
    }
}

/// How large a table becomes.
pub(super) fn table_bytes(disk_bytes: u64) -> u64 {
    disk_share(disk_bytes, TABLE_SHARE, TABLE_BYTES_MIN, TABLE_BYTES_MAX)
}

/// What can change while it is open, for each column family: RocksDB's names and values.
pub(super) fn sizes(options: &RocksOptions) -> [(&'static str, Vec<(&'static str, String)>); 5] {
    let buffer_bytes = buffer_bytes(bounded(options.memory_bytes)) as u64;
    let disk_bytes = options.disk_bytes;
    let memtable_max = disk_share(disk_bytes, MEMTABLE_SHARE, TABLE_BYTES_MIN, u64::MAX);
    let level_bytes = disk_share(disk_bytes, LEVEL_SHARE, 4 * TABLE_BYTES_MIN, LEVEL_BYTES_MAX);
    let blob_file_bytes = disk_share(disk_bytes, BLOB_FILE_SHARE, TABLE_BYTES_MIN, BLOB_FILE_BYTES_MAX);
    // Without a limit it is what RocksDB takes by itself: 25 tables.
    let compaction_bytes = disk_share(disk_bytes, COMPACTION_SHARE, 4 * TABLE_BYTES_MIN, 25 * TABLE_BYTES_MAX);
    let level_0_files = if disk_bytes == 0 { LEVEL_0_FILES_COMPACTED } else { LEVEL_0_FILES_COMPACTED_LIMITED };
    let debt_bytes = disk_share(disk_bytes, DEBT_SHARE, 8 * TABLE_BYTES_MIN, DEBT_BYTES_MAX);
    let of = |memtable_bytes: u64, level_0_files: u64| {
        vec![
            ("disable_auto_compactions", (!options.compacts).to_string()),
            ("soft_pending_compaction_bytes_limit", debt_bytes.to_string()),
            ("hard_pending_compaction_bytes_limit", debt_bytes.to_string()),
            ("write_buffer_size", memtable_bytes.min(memtable_max).to_string()),
            ("target_file_size_base", table_bytes(disk_bytes).to_string()),
            ("max_bytes_for_level_base", level_bytes.to_string()),
            ("max_compaction_bytes", compaction_bytes.to_string()),
            ("blob_file_size", blob_file_bytes.to_string()),
            ("level0_file_num_compaction_trigger", level_0_files.to_string()),
        ]
    };
    let record_bytes = (buffer_bytes / 2).min(WRITE_BUFFER_BYTES_MAX);
    let index_bytes = (buffer_bytes / 4).min(INDEX_BUFFER_BYTES_MAX);
    [
        (RECORDS, of(record_bytes, level_0_files)),
        (META, of(index_bytes, LEVEL_0_FILES_COMPACTED_META)),
        (EXPIRY, of(index_bytes, level_0_files)),
        (AGE, of(index_bytes, level_0_files)),
        (ELEMENTS, of(record_bytes, level_0_files)),
    ]
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
    let as_text = format!("{AS_TEXT};allow_fallocate={}", options.allocates_ahead);
    let mut database = Options::default().get_options_from_string(as_text)?;
    database.create_if_missing(options.create);
    database.create_missing_column_families(options.create || options.adds_families);
    database.set_paranoid_checks(true);
    database.set_max_background_jobs(options.background_jobs.max(2));
    database.set_write_buffer_manager(&resources.buffers);
    // A bounded number makes opening independent of how many files there are: each is opened when it is first read.
    database.set_max_open_files(options.max_open_files);
    database.set_skip_stats_update_on_db_open(true);
    // A round's WriteBatch is one write to the log. Buffering it there as well would make every failure of that write
    // fatal to the open database, where RocksDB otherwise recovers by itself once there is room.
    database.set_manual_wal_flush(false);
    database.set_max_total_wal_size(options.log_bytes);
    // What was not synced when the machine went down ends the log: the journal has what follows.
    database.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // Each input of a compaction takes so much memory, which counts towards nothing.
    database.set_compaction_readahead_size(COMPACTION_READ_BYTES);
    // Spread over the time of writing, so that no sync at the end has much left to do.
    database.set_bytes_per_sync(MIB as u64);
    database.set_wal_bytes_per_sync(MIB as u64);
    let part = |parts: u64, most: u64| disk_share(options.disk_bytes, parts, SMALL_BYTES_MIN, most) as usize;
    database.set_max_manifest_file_size(part(MANIFEST_SHARE, MANIFEST_BYTES_MAX));
    database.set_manifest_preallocation_size(part(MANIFEST_AHEAD_SHARE, MANIFEST_AHEAD_BYTES_MAX));
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(4);
    database.set_max_log_file_size(part(MESSAGES_SHARE, MESSAGES_BYTES_MAX));
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    Ok(database)
}

/// The column families with their options.
///
/// # Errors
/// When RocksDB refuses one.
pub(super) fn families(
    options: &RocksOptions,
    resources: &Resources,
) -> Result<Vec<(&'static str, Options)>, RocksError> {
    let family = |(name, sizes): (&'static str, Vec<(&str, String)>)| {
        let sizes: Vec<String> = sizes.iter().map(|(option, value)| format!("{option}={value}")).collect();
        let family = family(resources, &sizes.join(";"))?;
        let family = match name {
            RECORDS => records(family, resources),
            ELEMENTS => elements(family, resources),
            _ => index(family, resources),
        };
        Ok((name, family))
    };
    sizes(options).into_iter().map(family).collect()
}

fn index(mut index: Options, resources: &Resources) -> Options {
    // Nobody asks for a single key of them: they are read in order.
    index.set_block_based_table_factory(&table(resources, false));
    index
}

fn records(mut records: Options, resources: &Resources) -> Options {
    records.set_block_based_table_factory(&table(resources, true));
    // A miss in the memtable is then answered by two cache lines instead of a walk through the skip list.
    records.set_memtable_prefix_bloom_ratio(0.02);
    records.set_memtable_whole_key_filtering(true);
    set_blob_files(&mut records);
    filter::install(&mut records, &resources.reclaim);
    records
}

/// Without a filter: a leaf has no expiry of its own, and goes with its collection.
fn elements(mut elements: Options, resources: &Resources) -> Options {
    elements.set_block_based_table_factory(&table(resources, true));
    // A leaf is that large only for one element that is.
    set_blob_files(&mut elements);
    elements
}

fn set_blob_files(family: &mut Options) {
    family.set_enable_blob_files(true);
    family.set_min_blob_size(BLOB_BYTES as u64);
    family.set_blob_compression_type(DBCompressionType::Lz4);
    family.set_enable_blob_gc(true);
    // The oldest quarter of the blob files is rewritten as compaction meets it, and by force where half is garbage.
    family.set_blob_gc_age_cutoff(0.25);
    family.set_blob_gc_force_threshold(0.5);
}

fn family(resources: &Resources, sizes: &str) -> Result<Options, RocksError> {
    let mut family = Options::default().get_options_from_string(sizes)?;
    // With more, and with the two limits below unequal (or those of what waits to be compacted), RocksDB would hold writers
    // back more and more before it stops them, up to minutes in one call. As it is, a call either writes or is told at once
    // to come again.
    family.set_max_write_buffer_number(3);
    family.set_level_zero_slowdown_writes_trigger(LEVEL_0_FILES_MAX);
    family.set_level_zero_stop_writes_trigger(LEVEL_0_FILES_MAX);
    family.set_write_buffer_manager(&resources.buffers);
    family.set_level_compaction_dynamic_level_bytes(true);
    // What is in level 0 is soon rewritten. Below, Zstandard would take a sixth less space for small JSON documents, and
    // more than half of the processor time of compaction.
    family.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::Lz4]);
    Ok(family)
}

fn table(resources: &Resources, point_lookups: bool) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(FORMAT_VERSION);
    table.set_block_cache(&resources.cache);
    // Filters and indexes are cut into blocks of the cache: the budget bounds them too, and the first read after a
    // start loads the piece it needs and not those of the whole file.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_pin_top_level_index_and_filter(true);
    table.set_index_type(rocksdb::BlockBasedIndexType::TwoLevelIndexSearch);
    if point_lookups {
        table.set_bloom_filter(FILTER_BITS, false);
        table.set_whole_key_filtering(true);
        table.set_partition_filters(true);
        set_hash_index(&mut table);
    }
    table
}

/// Within a block, a key is found by its hash.
fn set_hash_index(table: &mut BlockBasedOptions) {
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
}

/// Of a table that is made here, for level 0. It is small, so its filter and its index are whole, and both stay in memory.
pub(super) fn table_file() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(FORMAT_VERSION);
    table.set_bloom_filter(FILTER_BITS, false);
    table.set_whole_key_filtering(true);
    set_hash_index(&mut table);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_bytes_per_sync(MIB as u64);
    options
}

/// A compaction that somebody asked for reaches the bottommost level too, or it would leave garbage there.
pub(super) fn compaction() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
    options.set_exclusive_manual_compaction(false);
    options
}

pub(super) fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    // The merger goes through the slots in order, and through each in the order of its hashes.
    options.set_memtable_insert_hint_per_batch(true);
    options.set_no_slowdown(true);
    options
}

/// How a read is done; made once, since RocksDB allocates for it.
pub(super) struct ReadWays {
    pub point: ReadOptions,
    pub memory_only: ReadOptions,
}

impl Default for ReadWays {
    fn default() -> ReadWays {
        let mut memory_only = ReadOptions::default();
        memory_only.set_read_tier(ReadTier::BlockCache);
        ReadWays { point: ReadOptions::default(), memory_only }
    }
}
