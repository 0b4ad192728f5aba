//! RocksDB: records and their indexes, below the memory tier. Nothing else in the house knows the `rocksdb` crate.
//!
//! Five column families: the records, the slots' metas, two indexes in the order of time, by expiry and by age, and the leaves
//! of large collections. A round of the merger is one [`Batch`], and so whole or absent in all five. The records of a large one do
//! not go through RocksDB's log and memtables, see [`ingest`].

mod batch;
mod database;
mod error;
mod families;
mod filter;
mod ingest;
mod keys;
mod leaves;
mod opening;
mod options;
mod properties;
mod read;
mod recover;
mod slot;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod verify;

pub use batch::{Batch, RecordPosition};
pub use database::Rocks;
pub use error::{RocksError, RocksErrorKind};
pub use options::{BLOB_BYTES, OPEN_FILES_MAX, RocksOptions};
pub use read::{IndexEntry, Look};
pub use recover::Recovery;
pub use status::RocksStatus;
