//! What a data directory takes on disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::data_directory::DataDirectory;
use super::layout::{JOURNAL, LOG_EXTENSION, RESERVE, ROCKSDB};

/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// What parts of a data directory take on disk, with what is allocated ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the journal, with its spares.
    pub journal_bytes: u64,
    /// Of RocksDB's log.
    pub log_bytes: u64,
    /// Of all other files of RocksDB.
    pub file_bytes: u64,
    /// Of the room for a start on a full disk.
    pub reserve_bytes: u64,
}

impl DataDirectory {
    /// What lies in it on disk, checkpoints apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        visit_files(&self.journal(), |_, bytes| usage.journal_bytes += bytes)?;
        visit_files(&self.rocksdb(), |path, bytes| {
            let is_log = path.extension().is_some_and(|extension| extension == LOG_EXTENSION);
            *if is_log { &mut usage.log_bytes } else { &mut usage.file_bytes } += bytes;
        })?;
        let reserve = self.path().join(RESERVE);
        if reserve.exists() {
            visit_files(&reserve, |_, bytes| usage.reserve_bytes += bytes)?;
        }
        Ok(usage)
    }
}

/// Visits the files of a directory with what they take on disk. One that vanishes meanwhile takes nothing.
fn visit_files(directory: &Path, mut visit: impl FnMut(&Path, u64)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) => visit(&entry.path(), metadata.blocks() * BLOCK_BYTES),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes of all files of the data directory `path`, checkpoints left out: they share most of theirs.
pub fn used_bytes(path: &Path) -> u64 {
    let of = |part: &str| {
        let entries = fs::read_dir(path.join(part)).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
        files.map(|file| file.len()).sum::<u64>()
    };
    of(ROCKSDB) + of(JOURNAL)
}
