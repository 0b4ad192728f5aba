//! What is on disk: the data directory, the records' bytes, RocksDB. It knows no slot table.

pub mod directory;
pub mod record;
pub mod rocks;
