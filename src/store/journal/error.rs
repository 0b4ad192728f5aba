//! Why a journal cannot be opened: each is one line that names the file.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal cannot be opened. Nothing of it was changed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something that was on disk once cannot be read any more.
    #[error("{} is damaged at offset {offset}: {what}", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A later program wrote it.
    #[error("{} is of journal format {version}, newer than this version of the server reads", file.display())]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format.
        version: u32,
    },
    /// There is no segment, and none may be made.
    #[error("{} holds no journal", directory.display())]
    Missing {
        /// Where it should be.
        directory: PathBuf,
    },
    /// The block is intact; who replays it cannot make sense of it.
    #[error("block {block} in {} at offset {offset} cannot be replayed: {what}", file.display())]
    Replay {
        /// The segment.
        file: PathBuf,
        /// Where the block begins, in bytes.
        offset: u64,
        /// The block's number.
        block: u64,
        /// What is wrong with its payload.
        what: String,
    },
    /// The blocks make sense, but could not be taken over.
    #[error("{} cannot be replayed: {what}", directory.display())]
    NotReplayed {
        /// The journal's.
        directory: PathBuf,
        /// Why.
        what: String,
    },
    /// The file system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl JournalError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = path.to_owned();
        move |source| JournalError::Io { path, source }
    }
}
