//! What lies in a data directory, by its names, and the version of that.

/// The version of the layout that this program makes. It also reads those before, and makes them this one: they lack RocksDB's
/// column family for elements. The first has XXH3 as the hash of keys, by a seed of 64 bits, and long keys whole; the second
/// the hash that new directories have.
pub const FORMAT: u32 = 3;
pub const FORMAT_FILE: &str = "FORMAT";
/// From before the first file until the last one is there. With it, and without `FORMAT`, nobody was ever served.
pub const NEW_FILE: &str = "NEW";
/// From before a copy of another directory is begun until it is complete.
pub const RESTORING_FILE: &str = "RESTORING";
pub const LOCK_FILE: &str = "LOCK";
pub const ROCKSDB: &str = "rocksdb";
pub const JOURNAL: &str = "journal";
/// In `journal/`: there is none yet, and none is missed. Checkpoints have it.
pub const NO_JOURNAL: &str = "NONE";
pub const RESERVE: &str = "reserve";
/// RocksDB's pointer to its present manifest: with it there is a database.
pub const CURRENT_FILE: &str = "CURRENT";
/// Of RocksDB's log.
pub const LOG_EXTENSION: &str = "log";
