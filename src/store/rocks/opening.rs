//! Opening and closing the database, and opening it again after an error.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rocksdb::{ColumnFamilyDescriptor, DB, WriteBatch};

use super::batch::Batch;
use super::error::{RocksError, RocksErrorKind};
use super::options::{self, Resources, RocksOptions};
use super::verify::{Found, LogMark, verify};
use super::{AGE, ELEMENTS, EXPIRY, FamilyId, META, Rocks, State, family, ingest, status};
use crate::store::directory::free_bytes;

/// What [`Rocks::try_recover`] writes to see whether writing works.
const PROBE_KEY: &[u8] = b"probe";
/// RocksDB looks for room every 5 seconds where it means to go on by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// With less room, a database that is opened anew fails again at once.
const REOPEN_FREE_BYTES: u64 = 16 << 20;

/// What [`Rocks::try_recover`] has found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Writing works; nothing was lost.
    Working,
    /// The database was opened anew. If `has_lost_writes`, batches that were written, but not synced, are gone from the end.
    Reopened { has_lost_writes: bool },
}

impl Rocks {
    /// Sees whether writing works again, and opens the database anew where RocksDB will not go on by itself: after any
    /// error but a full disk, and after a full disk that has had room for a while.
    ///
    /// # Errors
    /// What still stands in the way of writing. It is to be called again, a second later or so.
    pub fn try_recover(&self) -> Result<Recovery, RocksError> {
        let Err(error) = self.probe() else { return Ok(Recovery::Working) };
        let is_stalled = self
            .with(|database| self.check_not_stalled(database))
            .is_err_and(|error| error.kind == RocksErrorKind::Stalled);
        let waits = is_stalled || error.kind == RocksErrorKind::NoSpace && self.failure.lasts() < PATIENCE;
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
        self.end_background_work();
        // Before the state, as those lock who write.
        let mut is_partial = self.is_partial.lock();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(database) = &*state {
            self.written.fetch_max(database.latest_sequence_number(), Ordering::Relaxed);
        }
        // The database is closed before the next is opened, or its own lock would be in the way.
        *state = State::Closed(RocksError::new(RocksErrorKind::Other, "the database is being opened again"));
        let opened = open(&self.directory, &self.options_now(), &self.resources).map(|(database, last_number, _)| {
            self.last_number.fetch_max(last_number, Ordering::Relaxed);
            *is_partial = false;
            let has_lost_writes = database.latest_sequence_number() < self.written.load(Ordering::Relaxed);
            *state = State::Open(database);
            Recovery::Reopened { has_lost_writes }
        });
        match opened {
            Ok(recovery) => {
                self.written.store(0, Ordering::Relaxed);
                drop((state, is_partial));
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
        // So that the next start has no log to replay. Where it fails, it has: nothing is lost.
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "the next start replays RocksDB's log");
        }
        self.end_background_work();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State::Closed(RocksError::new(RocksErrorKind::Other, "the database is closed"));
        synced
    }

    /// Before the state is locked, which whoever waits for a compaction has as well: so that ends at once.
    fn end_background_work(&self) {
        if let State::Open(database) = &*self.state() {
            database.cancel_all_background_work(true);
        }
    }
}

fn descriptors(options: &RocksOptions, resources: &Resources) -> Result<Vec<ColumnFamilyDescriptor>, RocksError> {
    let families = options::families(options, resources)?.into_iter();
    Ok(families.map(|(name, family)| ColumnFamilyDescriptor::new(name, family)).collect())
}

/// With the number of the last batch, which is complete then, and what was found before.
pub(super) fn open(
    directory: &Path,
    options: &RocksOptions,
    resources: &Resources,
) -> Result<(DB, u64, Found), RocksError> {
    fail::fail_point!("rocks::open", |argument| Err(RocksError::injected(argument)));
    let found = if directory.exists() { verify(directory)? } else { Found::default() };
    found.cut_torn_ends(directory)?;
    let database =
        DB::open_cf_descriptors(&options::database(options, resources)?, directory, descriptors(options, resources)?)?;
    check_numbers(&database)?;
    status::check_blobs(&database, directory)?;
    match ingest::complete(&database, directory, found.taken_over) {
        Ok(last_number) => Ok((database, last_number, found)),
        Err(error) => {
            drop(database);
            // The manifest is a new one by now. The next start is to miss the same.
            if let Some(taken_over) = found.taken_over {
                LogMark::begin(directory, found, taken_over)?;
            }
            Err(error)
        }
    }
}

fn open_for_reading(directory: &Path, options: &RocksOptions, resources: &Resources) -> Result<DB, RocksError> {
    let database = options::database(options, resources)?;
    Ok(DB::open_cf_descriptors_read_only(&database, directory, descriptors(options, resources)?, false)?)
}

/// Batches name column families by number.
fn check_numbers(database: &DB) -> Result<(), RocksError> {
    let ids =
        [(META, FamilyId::Meta), (EXPIRY, FamilyId::Expiry), (AGE, FamilyId::Age), (ELEMENTS, FamilyId::Elements)];
    for (name, id) in ids {
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
