//! What is on disk: the data directory, the journal, RocksDB and the records in it. Nothing here knows a slot table.

#![deny(missing_docs)]

pub mod collection;
pub mod directory;
pub mod journal;
pub mod mark;
pub mod record;
pub mod rocks;

/// A part of a disk's limit, within bounds; of a disk without a limit (0), the most. In bytes.
pub fn disk_share(limit_bytes: u64, parts: u64, least_bytes: u64, most_bytes: u64) -> u64 {
    if limit_bytes == 0 { most_bytes } else { (limit_bytes / parts).clamp(least_bytes, most_bytes) }
}
