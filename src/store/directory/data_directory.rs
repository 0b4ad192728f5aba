//! A data directory that is open: taking it, making it, and what there is of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{DirectoryError, Result, io_error, name};
use super::files::{
    Identity, check_whole, free_bytes, free_files, identity, is_empty, make_data_directory, make_directory,
    remove_file, rename, sync_directory,
};
use super::format::{Format, has_mark, read_format, remove_mark, write_format};
use super::layout::{FORMAT_FILE, JOURNAL, NEW_FILE, NO_JOURNAL, RESERVE, RESTORING_FILE, ROCKSDB};
use super::lock::lock;
use super::reserve;
use crate::base::key_hash::HashSecret;
use crate::store::record::LongKeys;
/// With fewer to be had, the reserve is given up.
const RESERVED_FILES: u64 = 16;

/// A data directory that this process alone has, for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    _lock: File,
    /// Which directories these are, whatever lies at their paths later.
    parts: Vec<(PathBuf, Identity)>,
}

impl DataDirectory {
    /// Takes the directory. Where there is nothing yet, makes one with `new_secret`, and answers true: RocksDB and the
    /// journal are to be made within it, and then [`DataDirectory::finish`] called before anybody is served. One of an older
    /// format is to be made one of this: [`DataDirectory::is_older`].
    ///
    /// # Errors
    /// When it is not usable; then nothing in it has changed.
    pub fn open(path: &Path, new_secret: HashSecret) -> Result<(DataDirectory, bool)> {
        make_data_directory(path)?;
        let lock = lock(path)?;
        if let Some(found) = read_format(path, FORMAT_FILE)? {
            check_whole(path)?;
            remove_mark(path, NEW_FILE)?;
            return Ok((DataDirectory::of(path, found, lock)?, false));
        }
        if has_mark(path, RESTORING_FILE) {
            return Err(DirectoryError::Unrestored(name(path)));
        }
        let format = match read_format(path, NEW_FILE)? {
            // An earlier start ended before the directory was complete.
            Some(found) if !found.is_older() => found,
            // One of an older program. What it lacks is made as all the rest is.
            Some(found) => {
                let format = found.upgraded();
                write_format(path, NEW_FILE, &format)?;
                format
            }
            None => {
                if !is_empty(&path.join(ROCKSDB))? || !is_empty(&path.join(JOURNAL))? {
                    return Err(DirectoryError::NoFormat(name(path)));
                }
                let format = Format::new(new_secret);
                write_format(path, NEW_FILE, &format)?;
                format
            }
        };
        for part in [ROCKSDB, JOURNAL] {
            make_directory(&path.join(part))?;
        }
        sync_directory(path)?;
        Ok((DataDirectory::of(path, format, lock)?, true))
    }

    fn of(path: &Path, format: Format, lock: File) -> Result<DataDirectory> {
        let parts = [path.to_owned(), path.join(ROCKSDB), path.join(JOURNAL)].map(|part| {
            let identity = identity(&part).map_err(|error| io_error("read", &part, error))?;
            Ok((part, identity))
        });
        let parts = parts.into_iter().collect::<Result<_>>()?;
        Ok(DataDirectory { path: path.to_owned(), format, _lock: lock, parts })
    }

    /// Checks that the directory is still where it was opened. What is open of it goes on to be written wherever it is, but a
    /// start would not find it.
    ///
    /// # Errors
    /// When it is gone, or another is in its place.
    pub fn check_place(&self) -> Result<()> {
        for (part, opened) in &self.parts {
            let present = identity(part).map_err(|error| io_error("find", part, error))?;
            if present != *opened {
                return Err(DirectoryError::Replaced(name(part)));
            }
        }
        Ok(())
    }

    /// Where there is little room, gives up the reserve. True: there is little.
    ///
    /// # Errors
    /// When the system does not tell, or the reserve cannot be removed.
    pub fn make_room(&self, reserve_bytes: u64) -> io::Result<bool> {
        let has_little = free_bytes(&self.path)? < reserve_bytes || free_files(&self.path)? < RESERVED_FILES;
        if has_little && reserve::give_up(&self.path.join(RESERVE))? {
            tracing::warn!("the disk is full: the room that is reserved for a start is used");
        }
        Ok(has_little)
    }

    /// Makes what is missing of the reserve, where there is room for it, and much besides. With `from_the_rest`, most of what is
    /// left is taken for it. True: there is all of it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn keep_reserve(&self, reserve_bytes: u64, from_the_rest: bool) -> io::Result<bool> {
        let left_free_bytes = match from_the_rest {
            true if free_files(&self.path)? < 2 * RESERVED_FILES => return Ok(false),
            true => free_bytes(&self.path)? / 4,
            false => reserve_bytes * reserve::FREE_TIMES,
        };
        reserve::make(&self.path.join(RESERVE), reserve_bytes, left_free_bytes)
    }

    /// Declares a new directory complete: from now on, what it lacks is an error.
    ///
    /// # Errors
    /// When it is not.
    pub fn finish(&self) -> Result<()> {
        check_whole(&self.path)?;
        sync_directory(&self.rocksdb())?;
        sync_directory(&self.journal())?;
        rename(&self.path.join(NEW_FILE), &self.path.join(FORMAT_FILE))?;
        sync_directory(&self.path)
    }

    /// Whether its format is an older one than this program's. Then RocksDB is to be opened with the column families made that it
    /// lacks, and [`DataDirectory::upgrade`] called before anybody is served. An end in between leaves a directory that is
    /// still of the older format for this program, and that an older one refuses.
    pub fn is_older(&self) -> bool {
        self.format.is_older()
    }

    /// Declares the directory one of this program's format: older programs refuse it from now on.
    ///
    /// # Errors
    /// When that cannot be written; then it is what it was.
    pub fn upgrade(&mut self) -> Result<()> {
        let format = self.format.upgraded();
        sync_directory(&self.rocksdb())?;
        fail::fail_point!("directory::upgrade");
        write_format(&self.path, FORMAT_FILE, &format)?;
        fail::fail_point!("directory::upgraded");
        self.format = format;
        Ok(())
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Of the hash that places keys.
    pub fn secret(&self) -> HashSecret {
        self.format.secret
    }

    /// How long keys are in its records.
    pub fn long_keys(&self) -> LongKeys {
        self.format.long_keys()
    }

    /// Where RocksDB's files are.
    pub fn rocksdb(&self) -> PathBuf {
        self.path.join(ROCKSDB)
    }

    /// Where the journal's files are.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Whether it is right that there is no journal.
    pub fn has_no_journal(&self) -> bool {
        self.journal().join(NO_JOURNAL).exists()
    }

    /// There is a journal now.
    ///
    /// # Errors
    /// When the mark of its absence cannot be taken away.
    pub fn journal_begins(&self) -> io::Result<()> {
        remove_file(&self.journal().join(NO_JOURNAL)).map_err(io::Error::other)
    }
}
