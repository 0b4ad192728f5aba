//! Looking at files and directories, and changing them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{DirectoryError, Result, io_error, name};
use super::layout::{CURRENT_FILE, JOURNAL, ROCKSDB};

/// Of a file system's object: its device and number.
pub type Identity = (u64, u64);

/// Bytes that the file system of `path` still has for this process.
///
/// # Errors
/// When the system does not tell.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

/// Files that the file system of `path` can still have.
pub fn free_files(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    // Some have no such limit.
    Ok(if statistics.f_files == 0 { u64::MAX } else { statistics.f_favail })
}

pub fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Makes it, and those it lies in, if need be.
pub fn make_data_directory(path: &Path) -> Result<()> {
    // A file of that name is told apart below.
    if let Err(error) = fs::create_dir_all(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(io_error("make the data directory", path, error));
    }
    let metadata = fs::metadata(path).map_err(|error| io_error("read the data directory", path, error))?;
    if metadata.is_dir() { Ok(()) } else { Err(DirectoryError::NotADirectory(name(path))) }
}

/// Whether there is no such directory, or nothing of ours in it.
pub fn is_empty(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_error("read", path, error)),
    }
}

pub fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|error| io_error("read", path, error))
}

pub fn make_directory(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error("make the directory", path, error)),
        _ => Ok(()),
    }
}

pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| io_error("rename", from, error))
}

pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| io_error("sync", path, error))
}

/// A directory that has a format file must have all the rest.
pub fn check_whole(path: &Path) -> Result<()> {
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

/// Removes a file, a link, or a directory with all that is in it.
pub fn remove_all(path: &Path) -> Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    match if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, error)),
        _ => Ok(()),
    }
}
