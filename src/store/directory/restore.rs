//! Making a data directory as a copy of a checkpoint, or of another data directory.
//!
//! `RESTORING` is there before anything is copied, and until all is. What it finds of itself, another start of the same kind
//! begins anew; a start that is not told what to restore refuses to serve it.

use std::fs::{self, File};
use std::hash::Hasher;
use std::io;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::error::{DirectoryError, Result, io_error, name};
use super::files::{check_whole, is_empty, make_data_directory, make_directory, remove_all, rename, sync_directory};
use super::format::{Format, Origin, has_mark, read_format, remove_mark, write_format};
use super::layout::{CURRENT_FILE, FORMAT_FILE, JOURNAL, LOCK_FILE, NEW_FILE, RESTORING_FILE, ROCKSDB};
use super::lock::{lock, lock_shared};
use crate::base::progress::Progress;

/// What RocksDB never changes once it is written.
const IMMUTABLE: [&str; 2] = ["sst", "blob"];
/// Copied together, between two looks at how far it is.
const COPY_BYTES: u64 = 4 << 20;

/// What a restore has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The copy is made.
    Now,
    /// It was made by an earlier start, and may have changed since.
    Before,
}

/// Makes `into`, which must be new or hold no data, a copy of the data directory or checkpoint `from`. Files that never change
/// are shared where both lie on one file system. `from` must not be served meanwhile. Where `into` was made of the same `from`
/// before, it stays as it is.
///
/// # Errors
/// When `from` is not whole, or `into` holds other data; then nothing is copied.
pub fn restore(from: &Path, into: &Path, progress: &Progress) -> Result<Restored> {
    if let Some(format) = read_format(into, FORMAT_FILE)? {
        return if is_copy(&format, from) { Ok(Restored::Before) } else { Err(other_data(&format, from, into)) };
    }
    if !from.is_dir() {
        return Err(DirectoryError::NotADirectory(name(from)));
    }
    let mut format = read_format(from, FORMAT_FILE)?
        .ok_or_else(|| DirectoryError::Incomplete(name(from), FORMAT_FILE.to_owned()))?;
    check_whole(from)?;
    make_data_directory(into)?;
    let _locks = (lock(into)?, lock_shared(from)?);
    let parts = [ROCKSDB, JOURNAL];
    if has_mark(into, RESTORING_FILE) || has_mark(into, NEW_FILE) {
        // Nobody was ever served from what is in there.
        parts.iter().try_for_each(|part| remove_all(&into.join(part)))?;
    } else if !is_empty(&into.join(ROCKSDB))? || !is_empty(&into.join(JOURNAL))? {
        return Err(DirectoryError::NoFormat(name(into)));
    }
    format.origin = Some(Origin { path: name(&absolute(from)), content: content(from)? });
    write_format(into, RESTORING_FILE, &format)?;
    progress.begin(parts.iter().map(|part| tree_bytes(&from.join(part))).sum());
    parts.iter().try_for_each(|part| copy_tree(&from.join(part), &into.join(part), progress))?;
    rename(&into.join(RESTORING_FILE), &into.join(FORMAT_FILE))?;
    remove_mark(into, NEW_FILE)?;
    sync_directory(into)?;
    Ok(Restored::Now)
}

/// Whether a directory began as a copy of what is in `from`; of `from` itself, where that is gone.
fn is_copy(format: &Format, from: &Path) -> bool {
    format.origin.as_ref().is_some_and(|origin| match content(from) {
        Ok(content) => content == origin.content,
        Err(_) => origin.path == name(&absolute(from)),
    })
}

fn other_data(format: &Format, from: &Path, into: &Path) -> DirectoryError {
    let what = match &format.origin {
        None => format!("it holds data that is not from {}", from.display()),
        Some(origin) if origin.path == name(&absolute(from)) => {
            format!("it was restored from an earlier content of {}", from.display())
        }
        Some(origin) => format!("it was restored from {}", origin.path),
    };
    DirectoryError::NotEmpty(name(into), what)
}

fn absolute(path: &Path) -> std::path::PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Tells a checkpoint from all others: a digest of its manifest, and of the names and lengths of its files. A data directory
/// that is served has another one at once.
fn content(from: &Path) -> Result<String> {
    let read = |file: &Path| fs::read(file).map_err(|error| io_error("read", file, error));
    let rocksdb = from.join(ROCKSDB);
    let current = read(&rocksdb.join(CURRENT_FILE))?;
    let manifest = rocksdb.join(String::from_utf8_lossy(&current).trim_end());
    let mut digest = Xxh3::new();
    digest.update(&read(&from.join(FORMAT_FILE))?);
    digest.update(&read(&manifest)?);
    let entries = fs::read_dir(&rocksdb).map_err(|error| io_error("read", &rocksdb, error))?;
    let mut files: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name() != LOCK_FILE)
        .map(|entry| (entry.file_name(), entry.metadata().map_or(0, |metadata| metadata.len())))
        .collect();
    files.sort();
    for (file, bytes) in files {
        digest.update(file.as_encoded_bytes());
        digest.write_u64(bytes);
    }
    Ok(format!("{:032x}", digest.digest128()))
}

/// Bytes of all files in it, where they can be told.
fn tree_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path()),
            metadata => metadata.map_or(0, |metadata| metadata.len()),
        })
        .sum()
}

fn copy_tree(from: &Path, into: &Path, progress: &Progress) -> Result<()> {
    make_directory(into)?;
    let entries = fs::read_dir(from).map_err(|error| io_error("read", from, error))?;
    for entry in entries {
        let source = entry.map_err(|error| io_error("read", from, error))?.path();
        let Some(file_name) = source.file_name() else { continue };
        let target = into.join(file_name);
        if source.is_dir() {
            copy_tree(&source, &target, progress)?;
        } else if file_name != LOCK_FILE {
            copy_file(&source, &target, progress).map_err(|error| io_error("copy", &source, error))?;
        }
    }
    sync_directory(into)
}

/// The copy has its own mode: that of the source may be too open, or keep it from being written to.
fn copy_file(source: &Path, target: &Path, progress: &Progress) -> io::Result<()> {
    fail::fail_point!("directory::copy", |_| Err(io::ErrorKind::StorageFull.into()));
    let is_immutable = source.extension().is_some_and(|extension| IMMUTABLE.iter().any(|name| extension == *name));
    if is_immutable && fs::hard_link(source, target).is_ok() {
        progress.advance(fs::metadata(target)?.len());
        return Ok(());
    }
    let (mut from, mut into) = (File::open(source)?, File::create_new(target)?);
    loop {
        let copied = io::copy(&mut io::Read::take(&mut from, COPY_BYTES), &mut into)?;
        progress.advance(copied);
        if copied == 0 {
            return into.sync_all();
        }
    }
}
