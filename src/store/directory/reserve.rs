//! A reserve: room that nobody uses, which a start gives up where the disk is full. Opening RocksDB and the journal makes files.
//!
//! It is several files, since a file system may be out of those, too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::files::free_bytes;

const FILES: u64 = 16;
/// Opening takes a tenth of it; the rest is for what is deleted while the disk stays full.
const BYTES_MAX: u64 = 8 << 20;
/// Of a disk with a limit.
const SHARE: u64 = 256;
const BYTES_MIN: u64 = 256 << 10;
/// As long as the disk is not full, so many times as much stays free.
pub const FREE_TIMES: u64 = 3;

/// How large the reserve is on a disk with this limit; 0: without one.
pub fn reserve_bytes(limit_bytes: u64) -> u64 {
    crate::store::disk_share(limit_bytes, SHARE, BYTES_MIN, BYTES_MAX)
}

fn file_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:02}"))
}

/// Makes what is missing of a reserve of so many bytes, as far as so many bytes stay free. True: nothing is missing any more.
pub fn make(directory: &Path, bytes: u64, left_free_bytes: u64) -> io::Result<bool> {
    let file_bytes = bytes / FILES;
    let is_missing = |number: &u64| {
        let present_bytes = fs::metadata(file_path(directory, *number)).map_or(0, |metadata| metadata.len());
        present_bytes < file_bytes
    };
    let parent = directory.parent().unwrap_or(directory);
    let room = free_bytes(parent)?.saturating_sub(left_free_bytes) / file_bytes.max(1);
    let missing: Vec<u64> = (0..FILES).filter(is_missing).collect();
    let possible = missing.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    for &number in &missing[..possible] {
        fs::create_dir_all(directory)?;
        let path = file_path(directory, number);
        let mut file = File::create(&path)?;
        if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, file_bytes).is_err() {
            // A file system that promises nothing has bytes written. Half a file would be of no use.
            file.write_all(&vec![0; file_bytes as usize]).inspect_err(|_| _ = fs::remove_file(&path))?;
        }
    }
    Ok(possible == missing.len())
}

/// Gives the reserve up. True: there was one.
pub fn give_up(directory: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}
