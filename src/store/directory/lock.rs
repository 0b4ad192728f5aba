//! `LOCK`: one process has the directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::error::{DirectoryError, Result, io_error, name};
use super::layout::LOCK_FILE;

/// A process number is shorter.
const LOCK_BYTES_MAX: u64 = 32;

pub fn lock(path: &Path) -> Result<File> {
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
pub fn lock_shared(path: &Path) -> Result<Option<File>> {
    let Ok(file) = File::open(path.join(LOCK_FILE)) else { return Ok(None) };
    take(&file, path, FlockOperation::NonBlockingLockShared)?;
    Ok(Some(file))
}

pub fn take(mut file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
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
