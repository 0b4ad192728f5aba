//! What RocksDB lacks, looked for before it is opened: it would take what is left of a log or of its manifest for all there
//! was, and remove what then belongs to nothing.
//!
//! After each sync the mark tells how long the manifest and the logs are. A log is needed until the manifest says that those
//! from a later one on are: so it is there, as long as it was at least, and whole up to there, or something was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, MutexGuard};

use super::error::{RocksError, RocksErrorKind};
use crate::base::checksum;
use crate::store::mark::{self, Mark, VALUES_MAX};

const CURRENT_FILE: &str = "CURRENT";
const MANIFEST_NAME: &str = "MANIFEST-";
const LOG_EXTENSION: &str = "log";
/// Of the files that RocksDB writes records to: a log, a manifest.
const BLOCK_BYTES: usize = 32 << 10;
const RECORD_HEADER_BYTES: usize = 7;

/// What a start has found, and must find again.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each log, and up to where it is whole.
    logs: BTreeMap<u64, u64>,
    /// The logs that had no more than that.
    complete: BTreeSet<u64>,
    /// The last batch whose table was taken over, if that is certain.
    pub taken_over: Option<u64>,
}

impl Found {
    /// Cuts off what lies behind the last whole record of a log, where nothing that counts can follow. RocksDB stops reading
    /// there, too, but not always: there are bytes over which it never comes to an end.
    ///
    /// # Errors
    /// When a log cannot be written.
    pub fn cut_torn_ends(&self, directory: &Path) -> io::Result<()> {
        let newest = self.logs.keys().next_back();
        for (number, whole_bytes) in &self.logs {
            let path = log_path(directory, *number);
            let bytes = fs::metadata(&path)?.len();
            if bytes > *whole_bytes && (self.complete.contains(number) || Some(number) == newest) {
                tracing::info!(log = %path.display(), bytes = bytes - whole_bytes, "a torn end is cut off");
                File::options().write(true).open(&path)?.set_len(*whole_bytes)?;
            }
        }
        Ok(())
    }
}

/// Checks that what the mark in the directory tells of is there.
///
/// # Errors
/// When something is missing or cannot be read. Nothing was changed then.
pub(super) fn verify(directory: &Path) -> Result<Found, RocksError> {
    let mark = mark::find(directory).map_err(|error| lost(&directory.join(mark::FILE), &error.to_string()))?;
    let mut found = Found::default();
    for number in logs(directory)? {
        let mut file = File::open(log_path(directory, number))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        found.logs.insert(number, whole_bytes(&bytes) as u64);
        // A killed process has left what was not synced, and what comes now is worth nothing without it.
        file.sync_data()?;
    }
    let Some(mark) = mark else { return Ok(found) };
    let (head, marked_logs) = mark.values.split_at(mark.values.len().min(LOGS));
    let [known_number, known_bytes, taken_over] = *head.first_chunk().unwrap_or(&[0; LOGS]);
    let manifest = manifest(directory)?;
    let (number, bytes) = (number(&manifest), fs::read(&manifest)?);
    // Where the manifest has grown since, that may have been by a table that was taken over.
    let is_newest = mark.is_of_this_boot && (number, bytes.len() as u64) == (known_number, known_bytes);
    found.taken_over = Some(taken_over).filter(|_| is_newest);
    let is_older = number < known_number || number == known_number && (bytes.len() as u64) < known_bytes;
    // Its end may not have been synced yet, so that a power cut took it.
    if is_older && mark.is_of_this_boot {
        let what = format!("it has {} bytes, and {MANIFEST_NAME}{known_number:06} had {known_bytes}", bytes.len());
        return Err(lost(&manifest, &what));
    }
    // What is not understood here is left to RocksDB.
    let first_needed = first_needed(&bytes).unwrap_or(u64::MAX);
    for log in marked_logs.chunks_exact(2).filter(|log| log[0] >= first_needed) {
        let (path, known_bytes) = (log_path(directory, log[0]), log[1]);
        match found.logs.get(&log[0]) {
            None => return Err(lost(&path, "it is gone")),
            Some(&whole) if whole < known_bytes => {
                return Err(lost(&path, &format!("it is whole up to offset {whole}, and had {known_bytes} bytes")));
            }
            Some(&whole) if whole == known_bytes => drop(found.complete.insert(log[0])),
            // More was written, and not synced.
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Says in a line for a person what is missing by the mark, and with it takes the mark away: what is left is taken for all.
/// No lines: the mark is right.
///
/// # Errors
/// When the directory cannot be read, or the mark not be taken away.
pub(super) fn repair(directory: &Path) -> Result<Vec<String>, RocksError> {
    match verify(directory) {
        Ok(_) => Ok(Vec::new()),
        Err(error) if error.kind == RocksErrorKind::Corruption => {
            mark::remove(directory)?;
            Ok(vec![format!("{error}: the changes that are missing there are dropped")])
        }
        Err(error) => Err(error),
    }
}

/// The mark of RocksDB's directory: the manifest's number and length, the last batch whose table was taken over, and then each
/// log's number and length.
pub(super) struct LogMark {
    directory: PathBuf,
    mark: Mark,
    logs: Mutex<Logs>,
}

/// Where the logs' whole records end that are synced.
struct Logs {
    whole_bytes: BTreeMap<u64, u64>,
    /// The log that was written when they were looked at last: it may have grown since.
    growing: Option<u64>,
}

impl Logs {
    /// Takes over how long the logs were before a sync.
    ///
    /// # Errors
    /// When a log cannot be read.
    fn synced(&mut self, directory: &Path, lengths: &BTreeMap<u64, u64>) -> io::Result<()> {
        self.whole_bytes.retain(|log, _| lengths.contains_key(log));
        let newest = lengths.last_key_value();
        for (&log, &bytes) in lengths {
            if newest.is_some_and(|(&newest, _)| newest == log) {
                self.whole_bytes.insert(log, bytes);
            } else if self.growing == Some(log) || !self.whole_bytes.contains_key(&log) {
                // It was left, maybe because a write had failed: then it has half a record more.
                match File::open(log_path(directory, log)) {
                    Ok(file) => {
                        let mut content = Vec::new();
                        file.take(bytes).read_to_end(&mut content)?;
                        self.whole_bytes.insert(log, whole_bytes(&content) as u64);
                    }
                    // It is not needed any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => drop(self.whole_bytes.remove(&log)),
                    Err(error) => return Err(error),
                }
            }
        }
        self.growing = newest.map(|(&newest, _)| newest);
        Ok(())
    }
}

const TAKEN_OVER: usize = 2;
const LOGS: usize = 3;

impl LogMark {
    /// Begins the mark anew, once what was found has been taken over by RocksDB.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(directory: &Path, found: Found, last_batch: u64) -> io::Result<LogMark> {
        let values = values(directory, last_batch, &found.logs)?;
        let mark = Mark::begin(directory, values)?;
        Ok(LogMark {
            directory: directory.to_owned(),
            mark,
            logs: Mutex::new(Logs { whole_bytes: found.logs, growing: None }),
        })
    }

    /// Lets `sync` sync the logs, and marks how far that has brought them. Nobody may write to them while it looks, `alone`.
    ///
    /// # Errors
    /// That of `sync`.
    pub fn syncing(
        &self,
        alone: MutexGuard<'_, ()>,
        sync: impl FnOnce() -> Result<(), RocksError>,
    ) -> Result<(), RocksError> {
        let seen = log_lengths(&self.directory);
        drop(alone);
        sync()?;
        let mut logs = self.logs.lock();
        // A directory that has moved away tells nothing new.
        if seen.and_then(|lengths| logs.synced(&self.directory, &lengths)).is_ok() {
            self.set(|values| values[TAKEN_OVER], &logs.whole_bytes);
        }
        Ok(())
    }

    /// The table of the batch has been taken over.
    pub fn taken_over(&self, batch: u64) {
        self.set(|_| batch, &self.logs.lock().whole_bytes);
    }

    fn set(&self, taken_over: impl FnOnce(&[u64]) -> u64, logs: &BTreeMap<u64, u64>) {
        self.mark.set(|present| {
            let values = values(&self.directory, taken_over(present), logs);
            values.is_ok_and(|values| std::mem::replace(present, values) != *present)
        });
    }
}

fn values(directory: &Path, taken_over: u64, logs: &BTreeMap<u64, u64>) -> io::Result<Vec<u64>> {
    let manifest = manifest(directory)?;
    let mut values = vec![number(&manifest), fs::metadata(&manifest)?.len(), taken_over];
    let oldest = logs.len().saturating_sub((VALUES_MAX - LOGS) / 2);
    values.extend(logs.iter().skip(oldest).flat_map(|(number, bytes)| [*number, *bytes]));
    Ok(values)
}

/// The numbers of the logs, oldest first.
fn logs(directory: &Path) -> io::Result<BTreeSet<u64>> {
    let mut logs = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == LOG_EXTENSION) {
            logs.insert(number(&path));
        }
    }
    Ok(logs)
}

/// Each log's number and length.
fn log_lengths(directory: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let length = |log| match fs::metadata(log_path(directory, log)) {
        Ok(metadata) => Some(Ok((log, metadata.len()))),
        // RocksDB removes those that are not needed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    logs(directory)?.into_iter().filter_map(length).collect()
}

fn lost(path: &Path, what: &str) -> RocksError {
    RocksError::corruption(format!("{} is damaged: {what}", path.display()))
}

fn manifest(directory: &Path) -> io::Result<PathBuf> {
    let current = fs::read(directory.join(CURRENT_FILE))?;
    Ok(directory.join(String::from_utf8_lossy(&current).trim_end()))
}

fn log_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:06}.{LOG_EXTENSION}"))
}

/// The number in the name of a manifest or a log.
fn number(path: &Path) -> u64 {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.strip_prefix(MANIFEST_NAME).unwrap_or(stem).parse().unwrap_or_default()
}

/// Up to where a log's records are whole, each a batch of later operations than the one before.
fn whole_bytes(log: &[u8]) -> usize {
    let (mut records, mut whole, mut next) = (Records::new(log), 0, 0);
    while let Some(record) = records.next() {
        // A batch begins with the number of its first operation and the count of them.
        let (Some(first), Some(count)) = (record.first_chunk(), record.get(8..).and_then(<[u8]>::first_chunk)) else {
            break;
        };
        let first = u64::from_le_bytes(*first);
        if first < next {
            break;
        }
        next = first + u64::from(u32::from_le_bytes(*count));
        whole = records.offset;
    }
    whole
}

/// The records of a log or a manifest, up to the first that is not whole.
struct Records<'a> {
    bytes: &'a [u8],
    /// Where the next record begins.
    offset: usize,
}

impl<'a> Records<'a> {
    fn new(bytes: &'a [u8]) -> Records<'a> {
        Records { bytes, offset: 0 }
    }

    /// A part of a record: what it is, its bytes, and where the next begins.
    fn part(&self, offset: usize) -> Option<(u8, &'a [u8], usize)> {
        let left = BLOCK_BYTES - offset % BLOCK_BYTES;
        let offset = if left < RECORD_HEADER_BYTES { offset + left } else { offset };
        let header = self.bytes.get(offset..offset + RECORD_HEADER_BYTES)?;
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let begin = offset + RECORD_HEADER_BYTES;
        let data = self.bytes.get(begin..begin + length)?;
        let checksum = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let is_whole = masked(checksum::crc32c_append(checksum::crc32c(&header[6..]), data)) == checksum;
        is_whole.then_some((header[6], data, begin + length))
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        const FULL: u8 = 1;
        const FIRST: u8 = 2;
        const MIDDLE: u8 = 3;
        const LAST: u8 = 4;
        let (mut record, mut offset, mut has_begun) = (Vec::new(), self.offset, false);
        loop {
            let (kind, data, end) = self.part(offset)?;
            match kind {
                FULL | FIRST if has_begun => return None,
                MIDDLE | LAST if !has_begun => return None,
                FULL | FIRST | MIDDLE | LAST => record.extend_from_slice(data),
                // What RocksDB says of the file.
                _ if !has_begun => {
                    self.offset = end;
                    offset = end;
                    continue;
                }
                _ => return None,
            }
            (offset, has_begun) = (end, true);
            if kind == FULL || kind == LAST {
                self.offset = end;
                return Some(record);
            }
        }
    }
}

/// RocksDB's checksums of bytes that may hold checksums themselves.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The first log that is needed, by what a manifest tells; `None`: something in it is not known here.
fn first_needed(manifest: &[u8]) -> Option<u64> {
    let mut first = 0;
    let mut records = Records::new(manifest);
    while let Some(record) = records.next() {
        first = first.max(Edit(&record).first_needed()?);
    }
    Some(first)
}

/// A record of a manifest: fields, each after its number.
struct Edit<'a>(&'a [u8]);

impl Edit<'_> {
    /// The first log that is needed; 0: it does not tell.
    fn first_needed(mut self) -> Option<u64> {
        // A field of this kind begins with its length.
        const WITH_LENGTH: u64 = 1 << 13;
        let mut first = 0;
        while !self.0.is_empty() {
            match self.number()? {
                10 => first = self.number()?,
                // The name of a comparator, of a column family.
                1 | 201 => self.skip_bytes()?,
                // Numbers of logs and files, of operations, of column families, of entries that belong together.
                2 | 3 | 4 | 9 | 200 | 203 | 300 => self.skip_numbers(1)?,
                // A column family is dropped.
                202 => {}
                // Where a compaction has come to: a level and a key.
                5 => {
                    self.skip_numbers(1)?;
                    self.skip_bytes()?;
                }
                // A file that is no more: its level and number.
                6 => self.skip_numbers(2)?,
                // A new file: level, number, length; its first and last key; their operations' numbers; fields, up to a 1.
                103 => {
                    self.skip_numbers(3)?;
                    self.skip_bytes()?;
                    self.skip_bytes()?;
                    self.skip_numbers(2)?;
                    self.skip_fields(1)?;
                }
                // A blob file: number, values, bytes; how its checksum is made, and it; fields, up to a 0.
                400 => {
                    self.skip_numbers(3)?;
                    self.skip_bytes()?;
                    self.skip_bytes()?;
                    self.skip_fields(0)?;
                }
                // Of a blob file, what is not needed any more: number, values, bytes; fields, up to a 0.
                401 => {
                    self.skip_numbers(3)?;
                    self.skip_fields(0)?;
                }
                field if field & WITH_LENGTH != 0 => self.skip_bytes()?,
                _ => return None,
            }
        }
        Some(first)
    }

    /// Of base 128, the lowest digits first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (digits, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(digits & 0x7f) << shift;
            if digits & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip_numbers(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    fn skip_bytes(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.get(length..)?;
        Some(())
    }

    fn skip_fields(&mut self, end: u64) -> Option<()> {
        while self.number()? != end {
            self.skip_bytes()?;
        }
        Some(())
    }
}
