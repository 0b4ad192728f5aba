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
mod format;
mod reserve;
mod restore;
#[cfg(test)]
mod tests;

pub use restore::{Restored, restore};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use format::{FORMAT, Format, read_format, remove_mark, write_format};
pub use reserve::reserve_bytes;
use restore::has_mark;

use crate::base::key_hash::HashSecret;
use crate::store::record::LongKeys;

const FORMAT_FILE: &str = "FORMAT";
/// From before the first file until the last one is there. With it, and without `FORMAT`, nobody was ever served.
const NEW_FILE: &str = "NEW";
/// From before a copy of another directory is begun until it is complete.
const RESTORING_FILE: &str = "RESTORING";
const LOCK_FILE: &str = "LOCK";
/// A process number is shorter.
const LOCK_BYTES_MAX: u64 = 32;
const ROCKSDB: &str = "rocksdb";
const JOURNAL: &str = "journal";
/// In `journal/`: there is none yet, and none is missed. Checkpoints have it.
const NO_JOURNAL: &str = "NONE";
const RESERVE: &str = "reserve";
/// RocksDB's pointer to its present manifest: with it there is a database.
const CURRENT_FILE: &str = "CURRENT";
/// Of RocksDB's log.
const LOG_EXTENSION: &str = "log";
/// With fewer to be had, the reserve is given up.
const RESERVED_FILES: u64 = 16;
/// What `st_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// What parts of a data directory take on disk, with what is allocated ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub journal_bytes: u64,
    /// Of RocksDB's log.
    pub log_bytes: u64,
    /// Of all other files of RocksDB.
    pub file_bytes: u64,
    /// Of the room for a start on a full disk.
    pub reserve_bytes: u64,
}

/// Why a directory cannot serve. Each says so in one line, with the directory's name.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("the data directory {0} is in use by another process{1}")]
    InUse(String, String),
    #[error(
        "the data directory {0} has format {1}, made by version {2}; this program, version {version}, reads formats up to {FORMAT}",
        version = env!("CARGO_PKG_VERSION")
    )]
    NewerFormat(String, i64, String),
    #[error("{0} holds data but no FORMAT file; a data directory is not made over it")]
    NoFormat(String),
    #[error("{0} is damaged: {1}, or it is not the file of a data directory")]
    DamagedFormat(String, String),
    #[error("{0} is no lock of ours, and a data directory needs this name; it is left as it is")]
    NoLock(String),
    #[error("{0} is no checkpoint of this data directory, and SAVE needs this name; it is left as it is")]
    NoCheckpoint(String),
    #[error("{0} is an unfinished copy of a checkpoint; start with --restore to make it anew")]
    Unrestored(String),
    #[error("the data directory {0} is incomplete: {1} is missing, and nothing is made anew")]
    Incomplete(String, String),
    #[error("the data directory is not where it was opened: {0} is another directory")]
    Replaced(String),
    #[error("{0} is not a directory")]
    NotADirectory(String),
    #[error("{0} is not empty: {1}; data is restored into a new or empty directory")]
    NotEmpty(String, String),
    #[error("cannot {0} {1}: {2}")]
    Io(&'static str, String, io::Error),
}

type Result<T> = std::result::Result<T, DirectoryError>;

/// A data directory that this process alone has, for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    format: Format,
    _lock: File,
    /// Which directories these are, whatever lies at their paths later.
    parts: Vec<(PathBuf, Identity)>,
}

/// Of a file system's object: its device and number.
type Identity = (u64, u64);

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

    pub fn rocksdb(&self) -> PathBuf {
        self.path.join(ROCKSDB)
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

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
        let reserve = self.path.join(RESERVE);
        if reserve.exists() {
            visit_files(&reserve, |_, bytes| usage.reserve_bytes += bytes)?;
        }
        Ok(usage)
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

/// Bytes that the file system of `path` still has for this process.
///
/// # Errors
/// When the system does not tell.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

/// Files that the file system of `path` can still have.
fn free_files(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    // Some have no such limit.
    Ok(if statistics.f_files == 0 { u64::MAX } else { statistics.f_favail })
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
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

/// Makes it, and those it lies in, if need be.
fn make_data_directory(path: &Path) -> Result<()> {
    // A file of that name is told apart below.
    if let Err(error) = fs::create_dir_all(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(io_error("make the data directory", path, error));
    }
    let metadata = fs::metadata(path).map_err(|error| io_error("read the data directory", path, error))?;
    if metadata.is_dir() { Ok(()) } else { Err(DirectoryError::NotADirectory(name(path))) }
}

/// A directory that has a format file must have all the rest.
fn check_whole(path: &Path) -> Result<()> {
    for part in [format!("{ROCKSDB}/{CURRENT_FILE}"), JOURNAL.to_owned()] {
        if !exists(&path.join(&part))? {
            return Err(DirectoryError::Incomplete(name(path), part));
        }
    }
    // CURRENT names the manifest that has to be there.
    let current = path.join(ROCKSDB).join(CURRENT_FILE);
    let manifest = fs::read_to_string(&current).map_err(|error| io_error("read", &current, error))?;
    let manifest = format!("{ROCKSDB}/{}", manifest.trim_end());
    let is_there = exists(&path.join(&manifest))?;
    if is_there { Ok(()) } else { Err(DirectoryError::Incomplete(name(path), manifest.escape_debug().to_string())) }
}

fn lock(path: &Path) -> Result<File> {
    fail::fail_point!("directory::lock", |_| Err(io_error("lock", path, io::ErrorKind::PermissionDenied.into())));
    let file_path = path.join(LOCK_FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(&file_path);
    let mut file = file.map_err(|error| io_error("write", &file_path, error))?;
    take(&file, path, FlockOperation::NonBlockingLockExclusive)?;
    if !holds_number(&file).map_err(|error| io_error("read", &file_path, error))? {
        return Err(DirectoryError::NoLock(name(&file_path)));
    }
    match file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
        // It only tells others who has the directory.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(io_error("write", &file_path, error)),
        _ => Ok(file),
    }
}

/// Whether there is nothing in it but a process number, or nothing at all. A power cut may leave zeros.
fn holds_number(mut file: &File) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(LOCK_BYTES_MAX).read_to_end(&mut bytes)?;
    file.rewind()?;
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || *byte == 0;
    Ok((bytes.len() as u64) < LOCK_BYTES_MAX && bytes.iter().all(is_of_number))
}

/// Keeps a directory that nobody has from being taken. One that cannot be locked, as on a read-only medium, is read all the same.
fn lock_shared(path: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(path.join(LOCK_FILE)) else { return Ok(None) };
    take(&file, path, FlockOperation::NonBlockingLockShared)?;
    Ok(Some(file))
}

fn take(mut file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
    let Err(error) = flock(file, operation) else { return Ok(()) };
    if error != rustix::io::Errno::WOULDBLOCK {
        return Err(io_error("lock", path, error.into()));
    }
    let mut text = String::new();
    let holder =
        file.rewind().and_then(|()| file.read_to_string(&mut text)).ok().and_then(|_| text.trim().parse().ok());
    let holder = holder.map_or_else(String::new, |holder: u32| format!(" (pid {holder})"));
    Err(DirectoryError::InUse(name(path), holder))
}

/// Whether there is no such directory, or nothing of ours in it.
fn is_empty(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_error("read", path, error)),
    }
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| io_error("read", path, error))
}

fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make the directory", path, error)),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| io_error("rename", from, error))
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| io_error("sync", path, error))
}

fn io_error(action: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Io(action, name(path), error)
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
