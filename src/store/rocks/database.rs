//! The database: opening, writing, compacting, and what it takes.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard};
use parking_lot::Mutex;
#[cfg(test)]
use rocksdb::ColumnFamily;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options, WriteOptions, properties as names};

use super::batch::Batch;
use super::error::{RocksError, RocksErrorKind};
use super::families::{AGE, ELEMENTS, EXPIRY, FAMILIES, META, NUMBER_KEY, OF_DATABASES, RECORDS, TABLE_KEY, family};
use super::opening::open;
use super::options::{self, ReadWays, Resources, RocksOptions, write_options};
use super::state::{Failure, State};
use super::verify::{self, LogMark};
use super::{ingest, properties};
use crate::store::record::LongKeys;

/// How soon a write is tried again that has to wait for flushes and compactions.
const STALL_PAUSE: Duration = Duration::from_millis(5);

/// An open database.
pub struct Rocks {
    pub(super) directory: PathBuf,
    pub(super) options: RocksOptions,
    pub(super) resources: Resources,
    pub(super) ways: ReadWays,
    pub(super) write: WriteOptions,
    /// Of the tables that are made here.
    pub(super) table: Options,
    /// Batches have numbers, which go up; those that change records leave theirs in `meta`.
    pub(super) last_number: AtomicU64,
    /// The log has, or may have, a batch whose table is not taken over. Locked while that changes.
    pub(super) is_partial: Mutex<bool>,
    /// What a later start must find. Beside it, held while the log is written: what is measured of it ends with a batch.
    pub(super) log_mark: LogMark,
    pub(super) log: Mutex<()>,
    pub(super) tables_made: AtomicU64,
    pub(super) failure: Failure,
    /// The number of the last operation written when the database was closed to be reopened.
    pub(super) written: AtomicU64,
    /// How many flushes and compactions had failed when a write last succeeded.
    pub(super) background_errors: AtomicU64,
    pub(super) stalls: AtomicU64,
    pub(super) stalled_ms: AtomicU64,
    /// What is bounded now; `options` has that of the start.
    pub(super) disk_bytes: AtomicU64,
    /// The same of whether it compacts.
    pub(super) compacts: AtomicBool,
    pub(super) state: ShardedLock<State>,
}

impl Rocks {
    /// Opens the database in `directory`, or makes it if the options say so. What is there is never replaced.
    pub fn open(directory: &Path, options: &RocksOptions) -> Result<Rocks, RocksError> {
        let resources = Resources::new(options.memory_bytes);
        let (database, last_number, found) = open(directory, options, &resources)?;
        let log_mark = LogMark::begin(directory, found, last_number)?;
        resources.reclaim.set_paused(properties::is_mostly_blobs(&database));
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

    pub(super) fn state(&self) -> ShardedLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&DB) -> Result<T, RocksError>) -> Result<T, RocksError> {
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

    pub(super) fn write_to_log(&self, batch: &Batch, number: u64) -> Result<(), RocksError> {
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
            let errors = self.state().database().map_or(0, properties::background_errors);
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
            self.resources.reclaim.set_paused(properties::is_mostly_blobs(database));
            self.resources.reclaim.set_urgent(properties::level_0_files(database) >= options::LEVEL_0_FILES_URGENT);
            self.background_errors.store(properties::background_errors(database), Ordering::Relaxed);
            Ok(())
        })
    }

    /// An error where a call would wait for flushes and compactions, for ever if there is no room.
    pub(super) fn check_not_stalled(&self, database: &DB) -> Result<(), RocksError> {
        match database.property_int_value(names::IS_WRITE_STOPPED)? {
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
            let errors = properties::background_errors(database);
            database.compact_range_cf_opt(family(database, name)?, from, to, &options::compaction());
            if properties::background_errors(database) > errors {
                return Err(RocksError::new(RocksErrorKind::Other, format!("a compaction of {name} has failed")));
            }
            Ok(())
        })
    }

    /// About how many bytes the tables of the records and of the leaves have, and how many one of them has at most.
    pub fn record_table_bytes(&self) -> (u64, u64) {
        let bytes = self.state().database().map_or(0, properties::record_table_bytes);
        (bytes, options::table_bytes(self.disk_bytes.load(Ordering::Relaxed)))
    }

    /// What the present tables and blob files take.
    pub fn file_bytes(&self) -> u64 {
        self.state().database().map_or(0, properties::file_bytes)
    }

    /// What files take that are neither the log nor tables nor blob files: the manifest above all.
    pub fn other_file_bytes(&self) -> u64 {
        properties::other_file_bytes(&self.directory)
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

    pub(super) fn options_now(&self) -> RocksOptions {
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

    /// Where its files are.
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

    /// Why the last write failed, if it did.
    pub fn has_failed(&self) -> Option<String> {
        self.failure.message()
    }

    #[cfg(test)]
    pub(super) fn with_families(&self, act: impl FnOnce([&ColumnFamily; 5])) {
        self.with(|database| {
            act(FAMILIES.map(|name| family(database, name).expect("a column family")));
            Ok(())
        })
        .expect("an open database");
    }
}
