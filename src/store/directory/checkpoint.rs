//! `checkpoint/`: what SAVE makes, a data directory within the data directory.
//!
//! Its names may be taken: only a directory that says it is a checkpoint of this data directory is replaced or removed.
//! So a new one has its mark before anything else, and one that is removed loses it last.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::data_directory::DataDirectory;
use super::error::{DirectoryError, Result, io_error, name};
use super::files::{check_whole, is_empty, make_directory, remove_all, remove_file, rename, sync_directory};
use super::format::{read_format, write_format};
use super::layout::{FORMAT_FILE, JOURNAL, LOCK_FILE, NEW_FILE, NO_JOURNAL, ROCKSDB};
use super::lock::take;

const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_NEW: &str = "checkpoint.new";
const CHECKPOINT_OLD: &str = "checkpoint.old";

impl DataDirectory {
    /// Replaces `checkpoint/` by a new one, whose database `make` makes at the path it is given, and answers where it is.
    /// There is a whole one at any moment, be it under the name that the next call takes it back from.
    ///
    /// # Errors
    /// When it cannot be made, or the place of it is taken by what is no checkpoint of this data directory; the old one stays.
    pub fn save_checkpoint<E: std::error::Error + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> io::Result<PathBuf> {
        let [present, new, old] = self.checkpoint_paths();
        self.clear_checkpoints().map_err(io::Error::other)?;
        let made = self.make_checkpoint(&new, make);
        if made.is_err() {
            // It would keep files on disk that nobody needs any more; what cannot be removed now is by the next call.
            let _ = remove_checkpoint(&new);
        }
        made?;
        if present.exists() {
            fs::rename(&present, &old)?;
        }
        fs::rename(&new, &present)?;
        sync_directory(&self.path).and_then(|()| remove_checkpoint(&old)).map_err(io::Error::other)?;
        Ok(present)
    }

    /// Removes what an interrupted call has left, and nothing that is the only whole one.
    fn clear_checkpoints(&self) -> Result<()> {
        let [present, new, old] = self.checkpoint_paths();
        // All of them are looked at before any is touched.
        let is_present = self.is_checkpoint(&present, &[FORMAT_FILE])?;
        let is_new = self.is_checkpoint(&new, &[NEW_FILE, FORMAT_FILE])?;
        let is_old = self.is_checkpoint(&old, &[NEW_FILE, FORMAT_FILE])?;
        if is_new {
            remove_checkpoint(&new)?;
        }
        match (is_old, is_present) {
            (true, true) => remove_checkpoint(&old),
            (true, false) => rename(&old, &present),
            (false, _) => Ok(()),
        }
    }

    /// Whether there is a checkpoint of this data directory, by one of `marks`. An empty directory is what a call leaves that was
    /// interrupted before the first mark or after the last, where there may be one without: there is nothing in it to lose.
    ///
    /// # Errors
    /// When there is something else, or another process serves it.
    fn is_checkpoint(&self, path: &Path, marks: &[&str]) -> Result<bool> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("read", path, error)),
            Ok(metadata) if !metadata.is_dir() => return Err(DirectoryError::NoCheckpoint(name(path))),
            Ok(_) => {}
        }
        let is_ours =
            |mark: &&str| matches!(read_format(path, mark), Ok(Some(found)) if found.is_of_same_data(&self.format));
        let may_be_empty = marks.contains(&NEW_FILE);
        if !(marks.iter().any(is_ours) || may_be_empty && is_empty(path)?) {
            return Err(DirectoryError::NoCheckpoint(name(path)));
        }
        match OpenOptions::new().read(true).write(true).open(path.join(LOCK_FILE)) {
            Ok(lock) => take(&lock, path, FlockOperation::NonBlockingLockExclusive).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(io_error("lock", path, error)),
        }
    }

    fn make_checkpoint<E: std::error::Error + Send + Sync + 'static>(
        &self,
        new: &Path,
        make: impl FnOnce(&Path) -> std::result::Result<(), E>,
    ) -> io::Result<()> {
        make_directory(new).and_then(|()| write_format(new, NEW_FILE, &self.format)).map_err(io::Error::other)?;
        fs::create_dir(new.join(JOURNAL))?;
        fs::write(new.join(JOURNAL).join(NO_JOURNAL), "")?;
        sync_directory(&new.join(JOURNAL)).map_err(io::Error::other)?;
        make(&new.join(ROCKSDB)).map_err(io::Error::other)?;
        check_whole(new)
            .and_then(|()| sync_directory(&new.join(ROCKSDB)))
            .and_then(|()| rename(&new.join(NEW_FILE), &new.join(FORMAT_FILE)))
            .and_then(|()| sync_directory(new))
            .map_err(io::Error::other)
    }

    pub(super) fn checkpoint_paths(&self) -> [PathBuf; 3] {
        [CHECKPOINT, CHECKPOINT_NEW, CHECKPOINT_OLD].map(|part| self.path.join(part))
    }
}

/// Removes what is known to be a checkpoint, or nothing if there is none.
fn remove_checkpoint(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| io_error("read", path, error))?,
    };
    for entry in entries {
        let part = entry.map_err(|error| io_error("read", path, error))?.path();
        let is_mark = [NEW_FILE, FORMAT_FILE].iter().any(|mark| part.ends_with(mark));
        if !is_mark {
            remove_all(&part)?;
        }
    }
    for mark in [NEW_FILE, FORMAT_FILE] {
        remove_file(&path.join(mark))?;
    }
    fs::remove_dir(path).map_err(|error| io_error("remove", path, error))
}
