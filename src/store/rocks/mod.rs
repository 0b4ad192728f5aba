//! RocksDB: records and their indexes, below the memory tier. Nothing else in the house knows the `rocksdb` crate.
//!
//! Five column families: the records, the slots' metas, two indexes in the order of time, by expiry and by age, and the leaves
//! of large collections. A round of the merger is one [`Batch`], and so whole or absent in all five. The records of a large one do
//! not go through RocksDB's log and memtables, see [`ingest`].

mod batch;
mod error;
mod filter;
mod ingest;
mod keys;
mod leaves;
mod opening;
mod options;
mod read;
mod slot;
mod status;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard};
use parking_lot::Mutex;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamily, DB, Options, WriteOptions, properties};

pub use batch::{Batch, RecordPlace};
pub use error::{RocksError, RocksErrorKind};
pub use opening::Recovery;
use opening::open;
use options::Resources;
pub use options::{BLOB_BYTES, OPEN_FILES_MAX, RocksOptions};
use read::ReadWays;
pub use read::{IndexEntry, Look};
pub use status::RocksStatus;
use verify::LogMark;

use crate::store::record::LongKeys;

const RECORDS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;
const META: &str = "meta";
const EXPIRY: &str = "expiry";
const AGE: &str = "age";
const ELEMENTS: &str = "elements";
const FAMILIES: [&str; 5] = [RECORDS, META, EXPIRY, AGE, ELEMENTS];

/// Those whose keys begin with the database.
const OF_DATABASES: [&str; 4] = [RECORDS, EXPIRY, AGE, ELEMENTS];

/// RocksDB's numbers of the column families: the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FamilyId {
    Records = 0,
    Meta = 1,
    Expiry = 2,
    Age = 3,
    Elements = 4,
}

/// In `meta`: which database lies where.
const ORDER_KEY: &[u8] = b"order";
/// In `meta`: how the index of ages stands.
const AGE_KEY: &[u8] = b"age";
/// In `meta`: the number of the last batch that changes records, see [`ingest`].
const NUMBER_KEY: &[u8] = b"batch";
/// In `meta`: the same of the last whose records are a table.
const TABLE_KEY: &[u8] = b"table";
/// How soon a write is tried again that has to wait for flushes and compactions.
const STALL_PAUSE: Duration = Duration::from_millis(5);

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
    /// Of the tables that are made here.
    table: Options,
    /// Batches have numbers, which go up; those that change records leave theirs in `meta`.
    last_number: AtomicU64,
    /// The log has, or may have, a batch whose table is not taken over. Locked while that changes.
    is_partial: Mutex<bool>,
    /// What a later start must find. Beside it, held while the log is written: what is measured of it ends with a batch.
    log_mark: LogMark,
    log: Mutex<()>,
    tables_made: AtomicU64,
    failure: Failure,
    /// The number of the last operation written when the database was closed to be reopened.
    written: AtomicU64,
    /// How many flushes and compactions had failed when a write last succeeded.
    background_errors: AtomicU64,
    stalls: AtomicU64,
    stalled_ms: AtomicU64,
    /// What is bounded now; `options` has that of the start.
    disk_bytes: AtomicU64,
    /// The same of whether it compacts.
    compacts: AtomicBool,
    state: ShardedLock<State>,
}

impl Rocks {
    /// Opens the database in `directory`, or makes it if the options say so. What is there is never replaced.
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Rocks, RocksError> {
        let resources = Resources::new(options.memory_bytes);
        let (database, last_number, found) = open(directory, options, &resources)?;
        let log_mark = LogMark::begin(directory, found, last_number)?;
        resources.reclaim.set_paused(status::is_mostly_blobs(&database));
        let (disk_bytes, compacts) = (AtomicU64::new(options.disk_bytes), AtomicBool::new(options.compacts));
        // Whatever happens later, it is not made a second time.
        let options = RocksOptions { create: false, adds_families: false, ..options.clone() };
        Ok(Rocks {
            directory: directory.to_owned(),
            options,
            resources,
            ways: ReadWays::default(),
            write: write_options(),
            table: options::table_file(),
            last_number: AtomicU64::new(last_number),
            is_partial: Mutex::default(),
            log_mark,
            log: Mutex::default(),
            tables_made: AtomicU64::new(0),
            failure: Failure::default(),
            written: AtomicU64::new(0),
            background_errors: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            disk_bytes,
            compacts,
            state: ShardedLock::new(State::Open(database)),
        })
    }

    /// Drops what was lost of the database in `directory`, so that it can be opened with what is left, and says in lines for a
    /// person what that is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn repair(directory: &Path) -> Result<Vec<String>, RocksError> {
        verify::repair(directory)
    }

    fn state(&self) -> ShardedLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&DB) -> Result<T, RocksError>) -> Result<T, RocksError> {
        act(self.state().writable()?)
    }

    /// Like `with`, and remembers whether it worked.
    fn change<R>(&self, act: impl FnOnce(&DB) -> Result<R, RocksError>) -> Result<R, RocksError> {
        let result = self.with(act);
        match &result {
            Ok(_) => self.failure.clear(),
            Err(error) if error.kind == RocksErrorKind::Stalled => {}
            Err(error) => self.failure.set(error),
        }
        result
    }

    /// Writes a batch to the log and the memtables, whole or not at all; it survives the end of the process, and of the
    /// machine once [`Rocks::flush_wal`] has synced it. Waits while flushes and compactions have to catch up.
    ///
    /// # Errors
    /// When RocksDB refuses it, or there is no room for what it would have to wait for.
    pub fn write(&self, batch: &Batch) -> Result<(), RocksError> {
        self.write_giving_way(batch, &|| ())
    }

    /// The same, calling `give_way` often where it takes long.
    ///
    /// # Errors
    /// Like [`Rocks::write`]. A batch with a table may count nevertheless: the next that changes records is to contain it.
    pub fn write_giving_way(&self, batch: &Batch, give_way: &dyn Fn()) -> Result<(), RocksError> {
        let next_number = || self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(ingest_table) = batch.table() else { return self.write_to_log(batch, next_number()) };
        // Before the table, which takes room that compactions may want.
        self.wait_while_stalled(|| self.with(|database| self.check_not_stalled(database)))?;
        let made = ingest_table.made(&self.directory, next_number, &self.table, give_way);
        let (number, table) = made.inspect_err(|error| self.failure.set(error))?;
        let mut is_partial = self.is_partial.lock();
        *is_partial = true;
        self.write_to_log(batch, number)?;
        self.flush_wal(true)?;
        self.change(|database| ingest::ingest(database, &table))?;
        *is_partial = false;
        self.log_mark.taken_over(number);
        self.tables_made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn write_to_log(&self, batch: &Batch, number: u64) -> Result<(), RocksError> {
        self.wait_while_stalled(|| self.write_now(batch, number))
    }

    /// Tries again while flushes and compactions have to catch up, and there is room for what they do.
    fn wait_while_stalled(&self, attempt: impl Fn() -> Result<(), RocksError>) -> Result<(), RocksError> {
        let mut began: Option<Instant> = None;
        let result = loop {
            match attempt() {
                Err(error) if error.kind == RocksErrorKind::Stalled => {}
                result => break result,
            }
            if began.is_none() {
                self.stalls.fetch_add(1, Ordering::Relaxed);
            }
            began.get_or_insert_with(Instant::now);
            // Where they fail again and again, waiting would never end.
            let errors = self.state().database().map_or(0, status::background_errors);
            if errors > self.background_errors.load(Ordering::Relaxed) {
                let message = "no room to compact, and nothing more is written before that: No space left on device";
                let error = RocksError::new(RocksErrorKind::NoSpace, message);
                self.failure.set(&error);
                break Err(error);
            }
            std::thread::sleep(STALL_PAUSE);
        };
        if let Some(began) = began {
            self.stalled_ms.fetch_add(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
        result
    }

    fn write_now(&self, batch: &Batch, number: u64) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::write", |argument| Err(RocksError::injected(argument)));
            let mut to_write = batch.write_batch();
            if batch.changes_records() {
                to_write.put_cf(family(database, META)?, NUMBER_KEY, number.to_le_bytes());
            }
            if batch.table().is_some() {
                to_write.put_cf(family(database, META)?, TABLE_KEY, number.to_le_bytes());
            }
            let alone = self.log.lock();
            database.write_opt(to_write, &self.write)?;
            drop(alone);
            self.resources.reclaim.set_paused(status::is_mostly_blobs(database));
            self.resources.reclaim.set_urgent(status::level_0_files(database) >= options::LEVEL_0_FILES_URGENT);
            self.background_errors.store(status::background_errors(database), Ordering::Relaxed);
            Ok(())
        })
    }

    /// An error where a call would wait for flushes and compactions, for ever if there is no room.
    fn check_not_stalled(&self, database: &DB) -> Result<(), RocksError> {
        match database.property_int_value(properties::IS_WRITE_STOPPED)? {
            Some(0) | None => Ok(()),
            Some(_) => Err(RocksError::new(RocksErrorKind::Stalled, "flushes and compactions have to catch up")),
        }
    }

    /// Hands the log to the system, with `sync` to the device.
    pub fn flush_wal(&self, sync: bool) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::sync", |argument| Err(RocksError::injected(argument)));
            let flush = || Ok(database.flush_wal(sync)?);
            if sync { self.log_mark.syncing(self.log.lock(), flush) } else { flush() }
        })
    }

    /// Writes the memtables to table files, and waits for it.
    pub fn flush(&self) -> Result<(), RocksError> {
        self.change(|database| {
            fail::fail_point!("rocks::flush", |argument| Err(RocksError::injected(argument)));
            self.check_not_stalled(database)?;
            for name in FAMILIES {
                database.flush_cf(family(database, name)?)?;
            }
            Ok(())
        })
    }

    /// Has all files rewritten, without what is deleted, and waits for it.
    ///
    /// # Errors
    /// When the database is not open, or a compaction or flush has failed meanwhile.
    pub fn compact(&self) -> Result<(), RocksError> {
        FAMILIES.iter().try_for_each(|name| self.compact_range(name, None, None))
    }

    /// Rewrites the records from the key `from` on and before `to`, and the leaves of the same slots, without what is deleted, and
    /// waits for it.
    ///
    /// # Errors
    /// Like [`Rocks::compact`].
    pub fn compact_records(&self, from: &[u8], to: &[u8]) -> Result<(), RocksError> {
        [RECORDS, ELEMENTS].iter().try_for_each(|name| self.compact_range(name, Some(from), Some(to)))
    }

    /// The same with the indexes, whole.
    ///
    /// # Errors
    /// Like [`Rocks::compact`].
    pub fn compact_indexes(&self) -> Result<(), RocksError> {
        [EXPIRY, AGE].iter().try_for_each(|name| self.compact_range(name, None, None))
    }

    /// Drops the files in which there is nothing but records and leaves of a database, and index entries of these. All that is on disk of
    /// it must be deleted already (but need not be synced), and nobody may write to it meanwhile. Files in level 0, or that other
    /// databases share, stay for a compaction.
    ///
    /// # Errors
    /// When the log cannot be synced, or RocksDB refuses it; what is deleted stays so.
    pub fn drop_database_files(&self, database: u8) -> Result<(), RocksError> {
        // A power cut must not leave a part of the records without what deletes all.
        self.flush_wal(true)?;
        self.with(|open| {
            OF_DATABASES.iter().try_for_each(|name| {
                Ok(open.delete_file_in_range_cf(family(open, name)?, [database], [database + 1])?)
            })
        })
    }

    /// The crate does not tell what became of it, but RocksDB counts what failed.
    fn compact_range(&self, name: &str, from: Option<&[u8]>, to: Option<&[u8]>) -> Result<(), RocksError> {
        self.with(|database| {
            let errors = status::background_errors(database);
            database.compact_range_cf_opt(family(database, name)?, from, to, &options::compaction());
            if status::background_errors(database) > errors {
                return Err(RocksError::new(RocksErrorKind::Other, format!("a compaction of {name} has failed")));
            }
            Ok(())
        })
    }

    /// About how many bytes the tables of the records and of the leaves have, and how many one of them has at most.
    pub fn record_table_bytes(&self) -> (u64, u64) {
        let bytes = self.state().database().map_or(0, status::record_table_bytes);
        (bytes, options::table_bytes(self.disk_bytes.load(Ordering::Relaxed)))
    }

    /// What the present tables and blob files take.
    pub fn file_bytes(&self) -> u64 {
        self.state().database().map_or(0, status::file_bytes)
    }

    /// What files take that are neither the log nor tables nor blob files: the manifest above all.
    pub fn other_file_bytes(&self) -> u64 {
        status::other_file_bytes(&self.directory)
    }

    /// Bounds what lies in files besides the records themselves (what waits to be compacted, the compaction under way) to
    /// parts of a disk of so many bytes; 0: the disk has no limit. The log's bound is that of the start.
    ///
    /// # Errors
    /// When RocksDB refuses it.
    pub fn set_disk_bytes(&self, disk_bytes: u64) -> Result<(), RocksError> {
        if self.disk_bytes.swap(disk_bytes, Ordering::Relaxed) == disk_bytes {
            return Ok(());
        }
        self.apply_sizes()
    }

    /// Lets compaction begin, where it was opened without: a start then has the processors for itself.
    ///
    /// # Errors
    /// When RocksDB refuses it.
    pub fn begin_compactions(&self) -> Result<(), RocksError> {
        if self.compacts.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.apply_sizes()
    }

    fn apply_sizes(&self) -> Result<(), RocksError> {
        self.with(|database| {
            for (name, pairs) in options::sizes(&self.options_now()) {
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(option, value)| (*option, &value[..])).collect();
                database.set_options_cf(family(database, name)?, &pairs)?;
            }
            Ok(())
        })
    }

    /// What the log takes at most, near enough.
    pub fn log_max_bytes(&self) -> u64 {
        self.options.log_bytes
    }

    fn options_now(&self) -> RocksOptions {
        RocksOptions {
            disk_bytes: self.disk_bytes.load(Ordering::Relaxed),
            compacts: self.compacts.load(Ordering::Relaxed),
            ..self.options.clone()
        }
    }

    /// Makes a copy of all that is written at `to`, which must not exist: table and blob files by links, the log in full,
    /// since to flush it might have to wait.
    ///
    /// # Errors
    /// When it cannot be made, or what was written last is not whole yet.
    pub fn checkpoint(&self, to: &Path) -> Result<(), RocksError> {
        let is_partial = self.is_partial.lock();
        if *is_partial {
            return Err(RocksError::new(RocksErrorKind::Other, "what has changed last could not be written"));
        }
        self.with(|database| {
            fail::fail_point!("rocks::checkpoint", |argument| Err(RocksError::injected(argument)));
            Checkpoint::new(database)?.create_checkpoint_with_log_size(to, u64::MAX)?;
            LogMark::begin(to, verify::verify(to)?, self.last_number.load(Ordering::Relaxed))?;
            Ok(())
        })
    }

    /// How long keys are in its records.
    pub fn long_keys(&self) -> LongKeys {
        self.options.long_keys
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Compaction may drop, from now on, what has expired at `time_ms` or before: it is counted off. Never goes back.
    pub fn swept_up_to(&self, time_ms: u64) {
        self.resources.reclaim.set_swept_ms(time_ms);
    }

    /// A new budget, in force at once.
    pub fn set_memory_bytes(&self, memory_bytes: u64) {
        self.resources.set_memory_bytes(memory_bytes);
    }

    /// What RocksDB has of its budget: the cache, with the memtables that are charged to it. Cheap.
    pub fn memory_bytes(&self) -> u64 {
        self.resources.cache.get_usage() as u64
    }

    pub fn status(&self) -> RocksStatus {
        RocksStatus::read(self)
    }

    /// Why the last write failed, if it did.
    pub fn has_failed(&self) -> Option<String> {
        self.failure.message()
    }

    #[cfg(test)]
    fn with_families(&self, act: impl FnOnce([&ColumnFamily; 5])) {
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
    options.set_no_slowdown(true);
    options
}

fn family<'a>(database: &'a DB, name: &str) -> Result<&'a ColumnFamily, RocksError> {
    database.cf_handle(name).ok_or_else(|| RocksError::new(RocksErrorKind::Missing, format!("no column family {name}")))
}

/// The first key behind all that begin with `prefix`; empty: there is none.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}
