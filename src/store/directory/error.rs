//! Why a directory cannot be used.

use std::io;
use std::path::Path;

use super::layout::FORMAT;

/// Why a directory cannot serve. Each says so in one line, with the directory's name.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it: the directory, and in brackets the process where that is known.
    #[error("the data directory {0} is in use by another process{1}")]
    InUse(String, String),
    /// A later program made it: the directory, its format, and the program's version.
    #[error(
        "the data directory {0} has format {1}, made by version {2}; this program, version {version}, reads formats up to {FORMAT}",
        version = env!("CARGO_PKG_VERSION")
    )]
    NewerFormat(String, i64, String),
    /// There is data in the directory and no `FORMAT`.
    #[error("{0} holds data but no FORMAT file; a data directory is not made over it")]
    NoFormat(String),
    /// The file that tells the format cannot be read: the file, and what is wrong.
    #[error("{0} is damaged: {1}, or it is not the file of a data directory")]
    DamagedFormat(String, String),
    /// The file that would be locked is somebody else's.
    #[error("{0} is no lock of ours, and a data directory needs this name; it is left as it is")]
    NoLock(String),
    /// What lies where SAVE puts its checkpoint is somebody else's.
    #[error("{0} is no checkpoint of this data directory, and SAVE needs this name; it is left as it is")]
    NoCheckpoint(String),
    /// An earlier start with `--restore` did not complete the directory.
    #[error("{0} is an unfinished copy of a checkpoint; start with --restore to make it anew")]
    Unrestored(String),
    /// A part of it is missing: the directory, and the part.
    #[error("the data directory {0} is incomplete: {1} is missing, and nothing is made anew")]
    Incomplete(String, String),
    /// The directory was moved away, and another lies in its place.
    #[error("the data directory is not where it was opened: {0} is another directory")]
    Replaced(String),
    /// There is a file where the directory should be.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// There is data where a copy was to be made: the directory, and what data that is.
    #[error("{0} is not empty: {1}; data is restored into a new or empty directory")]
    NotEmpty(String, String),
    /// The file system refused something: what, where, and why.
    #[error("cannot {0} {1}: {2}")]
    Io(&'static str, String, io::Error),
}

pub type Result<T> = std::result::Result<T, DirectoryError>;

pub fn io_error(action: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Io(action, name(path), error)
}

pub fn name(path: &Path) -> String {
    path.display().to_string()
}
