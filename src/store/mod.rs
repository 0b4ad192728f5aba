//! What is on disk: the data directory, the journal, RocksDB and the records in it. Nothing here knows a slot table.

pub mod directory;
pub mod journal;
pub mod record;
pub mod rocks;
