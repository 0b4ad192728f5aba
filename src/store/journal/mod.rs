//! The journal: what changed is in a file before it is acknowledged, and is read again after a crash.
//!
//! Threads append to buffers of their own ([`shards`]). A *cut* takes what is in all of them at one moment; it becomes
//! one *block*, written with one system call for everybody who waits ([`writer`]). Blocks are numbered without gaps,
//! lie in *segments* ([`files`]), and are *released* when what they say is safe elsewhere. A thread syncs ([`sync`]),
//! one more keeps spare segments ready. [`recovery`] reads the blocks again; [`repair`] drops what it cannot read.
//! `docs/journal.md` describes the bytes, and what is promised when.

mod block_mark;
mod direct;
mod error;
mod fault;
mod files;
mod format;
mod handle;
mod options;
mod recovery;
mod repair;
mod replay;
mod shards;
mod shared;
mod status;
mod sync;
#[cfg(test)]
mod tests;
mod threads;
mod waiters;
mod writer;

pub use error::JournalError;
pub use handle::{Journal, Ticket};
pub use options::{Options, SyncPolicy};
pub use repair::repair;
pub use replay::Replay;
pub use status::{JournalStatus, Latency};
