//! Why a journal cannot be opened: each is one line that names the file.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Something that was on disk once cannot be read any more.
    #[error("{} is damaged at offset {offset}: {what}", file.display())]
    Corrupt { file: PathBuf, offset: u64, what: String },
    #[error("{} is of journal format {version}, newer than this version of the server reads", file.display())]
    Newer { file: PathBuf, version: u32 },
    #[error("{} holds no journal", directory.display())]
    Missing { directory: PathBuf },
    /// The block is intact; who replays it cannot make sense of it.
    #[error("block {block} in {} at offset {offset} cannot be replayed: {what}", file.display())]
    Replay { file: PathBuf, offset: u64, block: u64, what: String },
    /// The blocks make sense, but could not be taken over.
    #[error("{} cannot be replayed: {what}", directory.display())]
    NotReplayed { directory: PathBuf, what: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl JournalError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = path.to_owned();
        move |source| JournalError::Io { path, source }
    }
}
