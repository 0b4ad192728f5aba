//! The data directory: whose it is, and that it is whole.
//!
//! ```text
//! FORMAT        the format's number, the seed of the hash that places keys, when and by what it was made
//! LOCK          locked while a server has the directory open; holds its process number
//! rocksdb/      the records
//! journal/      what changed last
//! checkpoint/   the last SAVE: a data directory of its own
//! ```
//! Other files are left alone. A directory is made by creating its parts first and FORMAT last, so a half-made one has
//! no FORMAT, holds nothing, and is made anew; one that holds something but has no FORMAT is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use toml_edit::DocumentMut;

const FORMAT: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const ROCKSDB: &str = "rocksdb";
const JOURNAL: &str = "journal";
/// In `journal/`: there is none yet, and none is missed. Checkpoints have it.
const NO_JOURNAL: &str = "NONE";
const CHECKPOINT: &str = "checkpoint";
const CHECKPOINT_NEW: &str = "checkpoint.new";
const CHECKPOINT_OLD: &str = "checkpoint.old";

/// Why a data directory is not used: one line.
#[derive(Debug, Error)]
pub enum DirectoryError {
    #[error("data directory {0}: {1}")]
    Io(PathBuf, io::Error),
    #[error("data directory {0} is in use by another process{1}")]
    Locked(PathBuf, String),
    #[error("data directory {0} has format {1}, but this program knows formats up to {FORMAT}: use a newer one")]
    Newer(PathBuf, u64),
    #[error("data directory {0} holds data but no FORMAT file: it was not made by this program, or is damaged")]
    NoFormat(PathBuf),
    #[error("data directory {0}: its FORMAT file is damaged")]
    DamagedFormat(PathBuf),
    #[error("data directory {0} has a FORMAT file but no {1}: data is missing, and nothing is made anew")]
    Missing(PathBuf, &'static str),
    #[error("{0} is not empty: a checkpoint is restored into a new directory only")]
    NotEmpty(PathBuf),
    #[error("{0} is no checkpoint: it has no FORMAT file")]
    NoCheckpoint(PathBuf),
}

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    seed: u64,
    _lock: File,
}

impl DataDirectory {
    /// Opens a directory, or makes one where there is nothing, with `new_seed`. Tells whether it was made.
    ///
    /// # Errors
    /// When it is not usable; then nothing in it has changed.
    pub fn open(path: &Path, new_seed: u64) -> Result<(DataDirectory, bool), DirectoryError> {
        let failed = |error| DirectoryError::Io(path.to_owned(), error);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = lock(path)?;
        let read = read_format(path)?;
        let is_new = read.is_none();
        let seed = match read {
            Some(seed) => {
                for part in [ROCKSDB, JOURNAL] {
                    if !path.join(part).is_dir() {
                        return Err(DirectoryError::Missing(path.to_owned(), part));
                    }
                }
                if !path.join(ROCKSDB).join("CURRENT").is_file() {
                    return Err(DirectoryError::Missing(path.to_owned(), "database in rocksdb/"));
                }
                seed
            }
            None => {
                if holds_data(path).map_err(failed)? {
                    return Err(DirectoryError::NoFormat(path.to_owned()));
                }
                for part in [ROCKSDB, JOURNAL] {
                    fs::create_dir_all(path.join(part)).map_err(failed)?;
                }
                new_seed
            }
        };
        Ok((DataDirectory { path: path.to_owned(), seed, _lock: lock }, is_new))
    }

    /// Says that the parts of a new directory are there: from now on it holds data.
    ///
    /// # Errors
    /// When FORMAT cannot be written.
    pub fn finish(&self) -> Result<(), DirectoryError> {
        write_format(&self.path, self.seed).map_err(|error| DirectoryError::Io(self.path.clone(), error))
    }

    /// Of the hash that places keys.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn rocksdb(&self) -> PathBuf {
        self.path.join(ROCKSDB)
    }

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
        match fs::remove_file(self.journal().join(NO_JOURNAL)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces `checkpoint/` by a new one, whose database `make` makes at the path it is given. At every moment one of
    /// them is there whole. Returns where it is.
    ///
    /// # Errors
    /// When it cannot be made; the old one stays.
    pub fn save_checkpoint<E: std::error::Error + Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> io::Result<PathBuf> {
        let [new, now, old] = [CHECKPOINT_NEW, CHECKPOINT, CHECKPOINT_OLD].map(|name| self.path.join(name));
        remove(&new)?;
        remove(&old)?;
        fs::create_dir_all(new.join(JOURNAL))?;
        fs::write(new.join(JOURNAL).join(NO_JOURNAL), "")?;
        make(&new.join(ROCKSDB)).map_err(io::Error::other)?;
        write_format(&new, self.seed)?;
        if now.exists() {
            fs::rename(&now, &old)?;
        }
        fs::rename(&new, &now)?;
        sync_directory(&self.path)?;
        remove(&old)?;
        Ok(now)
    }
}

/// Makes `into`, a new directory, a copy of the checkpoint `from`.
///
/// # Errors
/// When `from` is none, or `into` holds anything.
pub fn restore(from: &Path, into: &Path) -> Result<(), DirectoryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| DirectoryError::Io(path, error)
    };
    let seed = read_format(from)?.ok_or_else(|| DirectoryError::NoCheckpoint(from.to_owned()))?;
    fs::create_dir_all(into).map_err(failed(into))?;
    if read_format(into)?.is_some() || holds_data(into).map_err(failed(into))? {
        return Err(DirectoryError::NotEmpty(into.to_owned()));
    }
    for part in [ROCKSDB, JOURNAL] {
        copy(&from.join(part), &into.join(part)).map_err(failed(from))?;
    }
    write_format(into, seed).map_err(failed(into))
}

/// Bytes that the file system of `path` still has for this process.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(path)?;
    Ok(system.f_bavail * system.f_frsize)
}

/// Bytes of all files below `path`, checkpoints left out: they share most of theirs.
pub fn used_bytes(path: &Path) -> u64 {
    let of = |part: &str| {
        let entries = fs::read_dir(path.join(part)).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.metadata().ok())
            .filter(|data| data.is_file())
            .map(|data| data.len())
            .sum::<u64>()
    };
    of(ROCKSDB) + of(JOURNAL)
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let failed = |error| DirectoryError::Io(path.to_owned(), error);
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(path.join(LOCK_FILE)).map_err(failed)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        let _ = file.read_to_string(&mut owner);
        let owner = owner.trim();
        let owner = if owner.is_empty() { String::new() } else { format!(", number {owner}") };
        return Err(DirectoryError::Locked(path.to_owned(), owner));
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}

/// The seed that FORMAT tells; `None`: there is no FORMAT.
fn read_format(path: &Path) -> Result<Option<u64>, DirectoryError> {
    let text = match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DirectoryError::Io(path.to_owned(), error)),
    };
    let damaged = || DirectoryError::DamagedFormat(path.to_owned());
    let document: DocumentMut = text.parse().map_err(|_| damaged())?;
    let number = |name: &str| document.get(name).and_then(|item| item.as_integer());
    let format = number("format").and_then(|format| u64::try_from(format).ok()).ok_or_else(damaged)?;
    if format > FORMAT {
        return Err(DirectoryError::Newer(path.to_owned(), format));
    }
    // The seed is 64 bits, which TOML's numbers have with a sign.
    number("seed").map(|seed| Some(seed as u64)).ok_or_else(damaged)
}

fn write_format(path: &Path, seed: u64) -> io::Result<()> {
    let text = format!(
        "# A data directory of Rockpool. Nothing in it is meant to be changed by hand.\nformat = {FORMAT}\nseed = {}\n\
         version = \"{}\"\n",
        seed as i64,
        env!("CARGO_PKG_VERSION"),
    );
    let temporary = path.join("FORMAT.new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(FORMAT_FILE))?;
    sync_directory(path)
}

/// Whether there is anything that somebody may miss: a database, or a journal with something in it.
fn holds_data(path: &Path) -> io::Result<bool> {
    let has = |part: &str, name: &dyn Fn(&str) -> bool| match fs::read_dir(path.join(part)) {
        Ok(entries) => Ok(entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(name))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    };
    Ok(has(ROCKSDB, &|name| name.ends_with(".sst") || name.ends_with(".blob"))?
        || has(JOURNAL, &|name| name.ends_with(".journal"))?)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the files of a directory: those that never change by a link where that can be.
fn copy(from: &Path, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target)?;
            continue;
        }
        let is_constant = source.extension().is_some_and(|extension| extension == "sst" || extension == "blob");
        if !is_constant || fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    sync_directory(into)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    fn refusal(path: &Path) -> String {
        DataDirectory::open(path, 1).unwrap_err().to_string()
    }

    /// As if a database had been opened in it.
    fn make(path: &Path) -> DataDirectory {
        let (directory, is_new) = DataDirectory::open(path, u64::MAX - 5).unwrap();
        assert!(is_new);
        fs::write(path.join("rocksdb/CURRENT"), "x").unwrap();
        directory.finish().unwrap();
        directory
    }

    #[test]
    fn a_directory_keeps_its_seed_and_has_one_user() {
        let place = tempdir().unwrap();
        let directory = make(place.path());
        assert!(refusal(place.path()).contains(&format!("in use by another process, number {}", std::process::id())));
        drop(directory);
        let (directory, is_new) = DataDirectory::open(place.path(), 1).unwrap();
        assert_eq!((directory.seed(), is_new), (u64::MAX - 5, false));
    }

    #[test]
    fn a_half_made_directory_is_made_and_data_without_a_format_is_not_touched() {
        let place = tempdir().unwrap();
        drop(DataDirectory::open(place.path(), 1).unwrap());
        fs::write(place.path().join("rocksdb/CURRENT"), "x").unwrap();
        assert!(DataDirectory::open(place.path(), 2).unwrap().1, "the crash came before FORMAT");
        for file in ["rocksdb/000007.sst", "journal/00000000000000000001.journal"] {
            fs::write(place.path().join(file), "x").unwrap();
            assert!(refusal(place.path()).contains("no FORMAT file"), "{file}");
            fs::remove_file(place.path().join(file)).unwrap();
        }
    }

    #[test]
    fn what_is_missing_damaged_or_newer_is_refused() {
        let place = tempdir().unwrap();
        drop(make(place.path()));
        fs::rename(place.path().join("journal"), place.path().join("gone")).unwrap();
        assert!(refusal(place.path()).contains("no journal"));
        fs::rename(place.path().join("gone"), place.path().join("journal")).unwrap();
        fs::remove_file(place.path().join("rocksdb/CURRENT")).unwrap();
        assert!(refusal(place.path()).contains("no database in rocksdb/"));
        for (text, message) in [("format = 2", "has format 2"), ("format =", "damaged"), ("format = 1", "damaged")] {
            fs::write(place.path().join("FORMAT"), text).unwrap();
            assert!(refusal(place.path()).contains(message), "{text}");
        }
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(refusal(&file).contains("data directory"), "{}", refusal(&file));
    }

    #[test]
    fn checkpoints_replace_each_other_and_are_restored_into_new_directories_only() {
        let place = tempdir().unwrap();
        let directory = make(place.path());
        let make_database = |text: &'static str| {
            move |to: &Path| {
                fs::create_dir(to)?;
                fs::write(to.join("CURRENT"), text)?;
                fs::write(to.join("000001.sst"), text)
            }
        };
        for text in ["one", "two"] {
            let path = directory.save_checkpoint(make_database(text)).unwrap();
            assert_eq!(fs::read_to_string(path.join("rocksdb/000001.sst")).unwrap(), text);
        }
        assert!(directory.save_checkpoint(|_: &Path| Err(io::Error::other("no"))).is_err());
        let checkpoint = place.path().join("checkpoint");
        let target = place.path().join("restored");
        restore(&checkpoint, &target).unwrap();
        let (restored, is_new) = DataDirectory::open(&target, 1).unwrap();
        assert_eq!((restored.seed(), is_new), (directory.seed(), false));
        assert_eq!(fs::read_to_string(restored.rocksdb().join("000001.sst")).unwrap(), "two");
        assert!(restore(&checkpoint, &target).unwrap_err().to_string().contains("not empty"));
        assert!(
            restore(&restored.journal(), &place.path().join("x")).unwrap_err().to_string().contains("no checkpoint")
        );
        assert!(free_bytes(place.path()).unwrap() > 0 && used_bytes(place.path()) > 0);
    }
}
