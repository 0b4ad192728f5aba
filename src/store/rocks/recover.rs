//! Going on after an error: opening the database anew, and closing it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::batch::Batch;
use super::database::Rocks;
use super::error::{RocksError, RocksErrorKind};
use super::opening::{open, open_for_reading};
use super::state::State;
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
    Reopened {
        /// Batches were lost.
        has_lost_writes: bool,
    },
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
