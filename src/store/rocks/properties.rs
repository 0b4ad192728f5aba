//! What RocksDB tells of an open database, and what lies in its directory.

use std::ffi::{CStr, OsStr};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rocksdb::{DB, properties};

use super::error::RocksError;
use super::families::{ELEMENTS, FAMILIES, RECORDS};

pub(super) const LIVE_BLOB_BYTES: &CStr = c"rocksdb.live-blob-file-size";
pub(super) const BLOB_GARBAGE_BYTES: &CStr = c"rocksdb.live-blob-file-garbage-size";

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
pub(super) fn sum(database: &DB, name: &CStr) -> u64 {
    sum_of(&FAMILIES, database, name)
}

fn sum_of(families: &[&str], database: &DB, name: &CStr) -> u64 {
    families
        .iter()
        .filter_map(|family| database.cf_handle(family))
        .filter_map(|family| database.property_int_value_cf(family, name).ok().flatten())
        .sum()
}

pub(super) fn log_bytes(directory: &Path) -> u64 {
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
