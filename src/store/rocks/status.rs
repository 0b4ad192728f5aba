//! What RocksDB says of itself.

use std::ffi::{CStr, OsStr};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use rocksdb::{DB, properties};

use super::error::RocksError;
use super::{ELEMENTS, FAMILIES, RECORDS, Rocks};

const LIVE_BLOB_BYTES: &CStr = c"rocksdb.live-blob-file-size";
const BLOB_GARBAGE_BYTES: &CStr = c"rocksdb.live-blob-file-garbage-size";

/// Figures of one moment; where RocksDB is not open, 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RocksStatus {
    pub memtable_bytes: u64,
    /// With what memtables are charged to the cache.
    pub cache_bytes: u64,
    pub cache_pinned_bytes: u64,
    /// What open table files hold outside of the cache.
    pub table_readers_bytes: u64,
    /// How much there is to compact before the levels have the sizes they should have.
    pub pending_compaction_bytes: u64,
    pub running_compactions: u64,
    pub running_flushes: u64,
    pub is_write_stopped: bool,
    /// How often a write had to wait for RocksDB to catch up, and how long altogether.
    pub stalls: u64,
    pub stalled_ms: u64,
    /// Rounds whose records went to RocksDB as a table instead of through its log.
    pub tables_made: u64,
    pub sst_bytes: u64,
    pub blob_bytes: u64,
    pub blob_garbage_bytes: u64,
    pub log_bytes: u64,
    /// Of records. Many of them make reads slow and then stop writes.
    pub level_0_files: u64,
    /// Since the database was opened.
    pub background_errors: u64,
    /// Expired records that compaction has dropped.
    pub records_dropped: u64,
    pub failure: Option<String>,
}

impl RocksStatus {
    pub(super) fn read(rocks: &Rocks) -> RocksStatus {
        let mut status = RocksStatus {
            memtable_bytes: rocks.resources.buffers.get_usage() as u64,
            cache_bytes: rocks.memory_bytes(),
            cache_pinned_bytes: rocks.resources.cache.get_pinned_usage() as u64,
            log_bytes: log_bytes(&rocks.directory),
            records_dropped: rocks.resources.reclaim.dropped(),
            stalls: rocks.stalls.load(Ordering::Relaxed),
            stalled_ms: rocks.stalled_ms.load(Ordering::Relaxed),
            tables_made: rocks.tables_made.load(Ordering::Relaxed),
            failure: rocks.failure.message(),
            ..RocksStatus::default()
        };
        let state = rocks.state();
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

/// How many flushes and compactions have failed since the database was opened.
pub(super) fn background_errors(database: &DB) -> u64 {
    database.property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().unwrap_or(0)
}

/// How many files of records wait in level 0.
pub(super) fn level_0_files(database: &DB) -> u64 {
    let files = database.property_value(properties::num_files_at_level(0)).ok().flatten();
    files.and_then(|files| files.parse().ok()).unwrap_or(0)
}

/// Whether there are more bytes in the records' blob files than in their tables.
pub(super) fn is_mostly_blobs(database: &DB) -> bool {
    let bytes = |name: &CStr| database.property_int_value(name).ok().flatten().unwrap_or(0);
    bytes(LIVE_BLOB_BYTES) > bytes(properties::LIVE_SST_FILES_SIZE.as_ref())
}

/// What the tables of the records and of the leaves have.
pub(super) fn record_table_bytes(database: &DB) -> u64 {
    sum_of(&[RECORDS, ELEMENTS], database, properties::LIVE_SST_FILES_SIZE.as_ref())
}

/// What all present tables and blob files take.
pub(super) fn file_bytes(database: &DB) -> u64 {
    sum(database, properties::LIVE_SST_FILES_SIZE.as_ref()) + sum(database, LIVE_BLOB_BYTES)
}

/// RocksDB opens a blob file when it is first read. Those that are not needed have been removed by the time it is open.
///
/// # Errors
/// When the blob files that there are cannot be all.
pub(super) fn check_blobs(database: &DB, directory: &Path) -> Result<(), RocksError> {
    let needed_bytes = sum(database, LIVE_BLOB_BYTES);
    let present_bytes = bytes_of_files(directory, Metadata::len, |extension| extension == "blob");
    if present_bytes >= needed_bytes {
        return Ok(());
    }
    let directory = directory.display();
    let message = format!("{directory} is damaged: its blob files have {present_bytes} bytes of {needed_bytes}");
    Err(RocksError::corruption(message))
}

/// The property's sum over the column families.
fn sum(database: &DB, name: &CStr) -> u64 {
    sum_of(&FAMILIES, database, name)
}

fn sum_of(families: &[&str], database: &DB, name: &CStr) -> u64 {
    families
        .iter()
        .filter_map(|family| database.cf_handle(family))
        .filter_map(|family| database.property_int_value_cf(family, name).ok().flatten())
        .sum()
}

fn log_bytes(directory: &Path) -> u64 {
    bytes_of_files(directory, Metadata::len, |extension| extension == "log")
}

/// What files take on disk that are neither logs nor tables nor blob files.
pub(super) fn other_file_bytes(directory: &Path) -> u64 {
    let others = |extension: &OsStr| !["log", "sst", "blob"].iter().any(|known| extension == *known);
    bytes_of_files(directory, |metadata| metadata.blocks() * 512, others)
}

/// The sum over the files whose extension (empty: none) is wanted.
fn bytes_of_files(directory: &Path, bytes: fn(&Metadata) -> u64, is_wanted: impl Fn(&OsStr) -> bool) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .filter(|entry| is_wanted(entry.path().extension().unwrap_or_default()))
        .filter_map(|entry| entry.metadata().ok())
        .filter(Metadata::is_file)
        .map(|metadata| bytes(&metadata))
        .sum()
}
