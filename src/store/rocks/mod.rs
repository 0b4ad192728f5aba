//! RocksDB: records and their indexes, below the memory tier. Nothing else in the house knows the `rocksdb` crate.
//!
//! Four column families: the records, the slots' metas, and two indexes in the order of time, by expiry and by age. A
//! round of the merger is one [`Batch`], and so whole or absent in all four.

mod batch;
mod error;
mod filter;
mod options;
mod read;
mod status;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::ShardedLock;
use parking_lot::Mutex;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, WaitForCompactOptions, WriteBatch, WriteOptions};

use super::record::{RECORD_HEADER_BYTES_MAX, database_bounds};
pub use batch::Batch;
pub use error::{RocksError, RocksErrorKind};
use options::Resources;
pub use options::{BLOB_BYTES, RocksOptions};
use read::ReadWays;
pub use read::{Look, Pinned, Reader};
pub use status::RocksStatus;

const RECORDS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;
const META: &str = "meta";
const EXPIRY: &str = "expiry";
const AGE: &str = "age";
const FAMILIES: [&str; 4] = [RECORDS, META, EXPIRY, AGE];

/// RocksDB's numbers of the column families: the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FamilyId {
    Records = 0,
    Meta = 1,
    Expiry = 2,
    Age = 3,
}

/// What [`Rocks::try_recover`] writes to see whether writing works.
const PROBE_KEY: &[u8] = b"probe";
/// RocksDB looks for room every 5 seconds where it means to go on by itself.
const PATIENCE: Duration = Duration::from_secs(12);
/// With less room, a database that is opened anew fails again at once.
const REOPEN_FREE_BYTES: u64 = 16 << 20;

enum State {
    Open(DB),
    /// It could not be opened for writing again after an error.
    ReadOnly(DB, RocksError),
    Closed(RocksError),
}

impl State {
    fn database(&self) -> Result<&DB, RocksError> {
        match self {
            State::Open(database) | State::ReadOnly(database, _) => Ok(database),
            State::Closed(error) => Err(error.clone()),
        }
    }

    fn writable(&self) -> Result<&DB, RocksError> {
        match self {
            State::Open(database) => Ok(database),
            State::ReadOnly(_, error) | State::Closed(error) => Err(error.clone()),
        }
    }
}

/// What [`Rocks::try_recover`] has found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Writing works; nothing was lost.
    Working,
    /// The database was opened anew. If `has_lost_writes`, batches that were written, but not synced, are gone from the end.
    Reopened { has_lost_writes: bool },
}

/// Whether writing failed, since when, and why.
#[derive(Default)]
struct Failure {
    is_set: AtomicBool,
    since: Mutex<Option<(Instant, RocksError)>>,
}

impl Failure {
    fn message(&self) -> Option<String> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        self.since.lock().as_ref().map(|(_, error)| error.message.clone())
    }

    fn set(&self, error: &RocksError) {
        let mut since = self.since.lock();
        let first = since.as_ref().map_or_else(Instant::now, |(first, _)| *first);
        *since = Some((first, error.clone()));
        self.is_set.store(true, Ordering::Release);
    }

    fn clear(&self) {
        if self.is_set.load(Ordering::Acquire) {
            *self.since.lock() = None;
            self.is_set.store(false, Ordering::Release);
        }
    }

    fn lasts(&self) -> Duration {
        self.since.lock().as_ref().map_or(Duration::ZERO, |(first, _)| first.elapsed())
    }
}

/// An open database.
pub struct Rocks {
    directory: PathBuf,
    options: RocksOptions,
    resources: Resources,
    ways: ReadWays,
    write: WriteOptions,
    failure: Failure,
    /// The number of the last operation written when the database was closed to be reopened.
    written: AtomicU64,
    state: ShardedLock<State>,
}

impl Rocks {
    /// Opens the database in `directory`, or makes it if the options say so. What is there is never replaced.
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Rocks, RocksError> {
        let resources = Resources::new(options.memory_bytes);
        let database = open(directory, options, &resources)?;
        resources.reclaim.set_paused(status::is_mostly_blobs(&database));
        // Whatever happens later, it is not made a second time.
        let options = RocksOptions { create: false, ..options.clone() };
        Ok(Rocks {
            directory: directory.to_owned(),
            options,
            resources,
            ways: ReadWays::default(),
            write: write_options(),
            failure: Failure::default(),
            written: AtomicU64::new(0),
            state: ShardedLock::new(State::Open(database)),
        })
    }

    /// The door to all reads. An error only where the database is closed.
    #[inline]
    pub fn reader(&self) -> Result<Reader<'_>, RocksError> {
        Reader::new(self.state.read().unwrap_or_else(PoisonError::into_inner), &self.ways)
    }

    fn with<T>(&self, act: impl FnOnce(&DB) -> Result<T, RocksError>) -> Result<T, RocksError> {
        act(self.state.read().unwrap_or_else(PoisonError::into_inner).writable()?)
    }

    /// Like `with`, and remembers whether it worked.
    fn change(&self, act: impl FnOnce(&DB) -> Result<(), RocksError>) -> Result<(), RocksError> {
        let result = self.with(act);
        match &result {
            Ok(()) => self.failure.clear(),
            Err(error) => self.failure.set(error),
        }
        result
    }

    /// Writes a batch to the log and the memtables; it survives the end of the process, and of the machine once
    /// [`Rocks::flush_wal`] has synced it. Waits where RocksDB stalls. After an error nothing of it is written.
    pub fn write(&self, batch: &Batch) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::write", |argument| Err(RocksError::injected(argument)));
            database.write_opt(batch.write_batch(), &self.write)?;
            self.resources.reclaim.set_paused(status::is_mostly_blobs(database));
            Ok(())
        })
    }

    /// Hands the log to the system, with `sync` to the device.
    pub fn flush_wal(&self, sync: bool) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::sync", |argument| Err(RocksError::injected(argument)));
            Ok(database.flush_wal(sync)?)
        })
    }

    /// Writes the memtables to table files, and waits for it.
    pub fn flush(&self) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::flush", |argument| Err(RocksError::injected(argument)));
            for name in FAMILIES {
                database.flush_cf(family(database, name)?)?;
            }
            Ok(())
        })
    }

    /// Compacts what a database holds, or everything, down to the lowest level, and waits for it.
    pub fn compact(&self, database: Option<u8>) -> Result<(), RocksError> {
        self.with(|open| {
            let options = options::compaction();
            if let Some(database) = database {
                let (from, to) = database_bounds(database);
                open.compact_range_cf_opt(family(open, RECORDS)?, Some(from), Some(to), &options);
                return Ok(());
            }
            for name in FAMILIES {
                open.compact_range_cf_opt(family(open, name)?, None::<&[u8]>, None::<&[u8]>, &options);
            }
            Ok(())
        })
    }

    /// Waits until nothing is left to flush or to compact.
    pub fn wait_for_compaction(&self) -> Result<(), RocksError> {
        self.with(|database| Ok(database.wait_for_compact(&WaitForCompactOptions::default())?))
    }

    /// Drops the files that hold a database's records and nothing else: its room is free at once.
    ///
    /// It does not delete the database: older versions of its records may appear. Right after it, and with nothing
    /// written in between, [`Batch::delete_database`] must follow; and the journal must hold the deletion before.
    pub fn drop_files(&self, database: u8) -> Result<(), RocksError> {
        self.with(|open| {
            fail::fail_point!("rocks::drop_files", |argument| Err(RocksError::injected(argument)));
            let (from, to) = database_bounds(database);
            Ok(open.delete_file_in_range_cf(family(open, RECORDS)?, &from[..], &to[..])?)
        })
    }

    /// Makes a copy of this moment in the directory `to`, which must not exist: it shares the table and blob files.
    pub fn checkpoint(&self, to: &Path) -> Result<(), RocksError> {
        self.with(|database| {
            fail::fail_point!("rocks::checkpoint", |argument| Err(RocksError::injected(argument)));
            Ok(Checkpoint::new(database)?.create_checkpoint(to)?)
        })
    }

    /// Compaction may drop, from now on, what has expired at `swept_ms` or before: it is counted off. Never goes back.
    pub fn set_swept_ms(&self, swept_ms: u64) {
        self.resources.reclaim.set_swept_ms(swept_ms);
    }

    /// Whether compaction will drop a swept record whose payload has this length. Others are to be deleted by whoever
    /// sweeps: they lie in blob files, or so much does that compaction looks at no record.
    pub fn drops_expired(&self, length_bytes: u32) -> bool {
        let is_blob = length_bytes as usize + RECORD_HEADER_BYTES_MAX >= BLOB_BYTES;
        !is_blob && !self.resources.reclaim.is_paused()
    }

    /// A new budget, in force at once.
    pub fn set_memory_bytes(&self, memory_bytes: usize) {
        self.resources.set_memory_bytes(memory_bytes);
    }

    /// What RocksDB has allocated, near enough: the cache, with the memtables that are charged to it, and table readers.
    pub fn memory_bytes(&self) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let readers = state.database().map_or(0, status::table_reader_bytes);
        self.resources.cache.get_usage() as u64 + readers
    }

    pub fn status(&self) -> RocksStatus {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        RocksStatus::read(state.database().ok(), &self.directory, &self.resources, &self.failure)
    }

    /// Why the last write failed, if it did.
    pub fn has_failed(&self) -> Option<String> {
        self.failure.message()
    }

    /// Sees whether writing works again, and opens the database anew where RocksDB will not go on by itself: after any
    /// error but a full disk, and after a full disk that has had room for a while.
    ///
    /// # Errors
    /// What still stands in the way of writing. It is to be called again, a second later or so.
    pub fn try_recover(&self) -> Result<Recovery, RocksError> {
        let Err(error) = self.probe() else { return Ok(Recovery::Working) };
        let waits = error.kind == RocksErrorKind::NoSpace && self.failure.lasts() < PATIENCE;
        let has_room = free_bytes(&self.directory).is_ok_and(|bytes| bytes >= REOPEN_FREE_BYTES);
        if waits || !has_room {
            return Err(error);
        }
        self.reopen()
    }

    fn probe(&self) -> Result<(), RocksError> {
        let mut batch = Batch::default();
        batch.put_meta(PROBE_KEY, &[]);
        self.write(&batch)
    }

    /// Closes the database and opens it again. Readers wait meanwhile; if it can only be opened for reading, they go on.
    pub fn reopen(&self) -> Result<Recovery, RocksError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(database) = &*state {
            self.written.fetch_max(database.latest_sequence_number(), Ordering::Relaxed);
            database.cancel_all_background_work(true);
        }
        // The database is closed before the next is opened, or its own lock would be in the way.
        *state = State::Closed(RocksError::new(RocksErrorKind::Other, "the database is being opened again"));
        let opened = open(&self.directory, &self.options, &self.resources).and_then(|database| {
            let has_lost_writes = database.latest_sequence_number() < self.written.load(Ordering::Relaxed);
            *state = State::Open(database);
            Ok(Recovery::Reopened { has_lost_writes })
        });
        match opened {
            Ok(recovery) => {
                self.written.store(0, Ordering::Relaxed);
                drop(state);
                self.probe()?;
                Ok(recovery)
            }
            Err(error) => {
                self.failure.set(&error);
                *state = match open_for_reading(&self.directory, &self.options, &self.resources) {
                    Ok(database) => State::ReadOnly(database, error.clone()),
                    Err(_) => State::Closed(error.clone()),
                };
                Err(error)
            }
        }
    }

    /// Syncs the log, ends background work and closes the database; whatever is called afterwards fails.
    pub fn close(&self) -> Result<(), RocksError> {
        let synced = self.flush_wal(true);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(database) = &*state {
            database.cancel_all_background_work(true);
        }
        *state = State::Closed(RocksError::new(RocksErrorKind::Other, "the database is closed"));
        synced
    }

    #[cfg(test)]
    fn with_families(&self, act: impl FnOnce([&ColumnFamily; 4])) {
        self.with(|database| {
            act(FAMILIES.map(|name| family(database, name).expect("a column family")));
            Ok(())
        })
        .expect("an open database");
    }
}

fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    // The merger goes through the slots in order, and through each in the order of its hashes.
    options.set_memtable_insert_hint_per_batch(true);
    options
}

fn family<'a>(database: &'a DB, name: &str) -> Result<&'a ColumnFamily, RocksError> {
    database.cf_handle(name).ok_or_else(|| RocksError::new(RocksErrorKind::Missing, format!("no column family {name}")))
}

fn descriptors(options: &RocksOptions, resources: &Resources) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    options::families(options, resources).into_iter().map(|(name, family)| ColumnFamilyDescriptor::new(name, family))
}

fn open(directory: &Path, options: &RocksOptions, resources: &Resources) -> Result<DB, RocksError> {
    fail::fail_point!("rocks::open", |argument| Err(RocksError::injected(argument)));
    let database =
        DB::open_cf_descriptors(&options::database(options, resources)?, directory, descriptors(options, resources))?;
    check_numbers(&database)?;
    Ok(database)
}

fn open_for_reading(directory: &Path, options: &RocksOptions, resources: &Resources) -> Result<DB, RocksError> {
    let database = options::database(options, resources)?;
    Ok(DB::open_cf_descriptors_read_only(&database, directory, descriptors(options, resources), false)?)
}

/// Batches name column families by number.
fn check_numbers(database: &DB) -> Result<(), RocksError> {
    for (name, id) in [(META, FamilyId::Meta), (EXPIRY, FamilyId::Expiry), (AGE, FamilyId::Age)] {
        let (mut expected, mut ours) = (WriteBatch::default(), Batch::default());
        expected.put_cf(family(database, name)?, b"", b"");
        ours.put_empty(id);
        if expected.data() != ours.write_batch().data() {
            let message = format!("the column family {name} is not the one this program makes");
            return Err(RocksError::new(RocksErrorKind::Corruption, message));
        }
    }
    Ok(())
}

/// How many bytes the file system of `directory` has left for us.
pub fn free_bytes(directory: &Path) -> std::io::Result<u64> {
    let statistics = rustix::fs::statvfs(directory)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}
