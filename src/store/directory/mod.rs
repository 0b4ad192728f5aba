//! The data directory: who has it, what made it, and whether it is whole.
//!
//! ```text
//! FORMAT        version of the layout, and what was decided when the directory was made
//! NEW           the same, under this name until the directory is complete
//! RESTORING     the same, under this name until it is a complete copy of another
//! LOCK          locked by the process that has the directory; holds its process number
//! rocksdb/      records
//! journal/      changes that the records may not hold yet
//! checkpoint/   the last SAVE: a data directory itself
//! reserve/      room for a start on a full disk
//! ```
//!
//! Nothing that may hold data is ever made a second time or deleted: a directory that is not as it should be is an error.
//! It may lie among files of others, since `dir` is `.` by default. What is not known to be ours, by one of the first three of
//! these files, is neither written over nor taken away, whatever it is called.

mod checkpoint;
mod data_directory;
mod error;
mod files;
mod format;
mod layout;
mod lock;
mod reserve;
mod restore;
#[cfg(test)]
mod tests;
mod usage;

pub use data_directory::DataDirectory;
pub use error::DirectoryError;
pub use files::free_bytes;
pub use reserve::reserve_bytes;
pub use restore::{Restored, restore};
pub use usage::{Usage, used_bytes};
