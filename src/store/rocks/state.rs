//! Whether the database is open, and whether writing to it works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rocksdb::DB;

use super::error::RocksError;

pub(super) enum State {
    Open(DB),
    /// It could not be opened for writing again after an error.
    ReadOnly(DB, RocksError),
    Closed(RocksError),
}

impl State {
    pub fn database(&self) -> Result<&DB, RocksError> {
        match self {
            State::Open(database) | State::ReadOnly(database, _) => Ok(database),
            State::Closed(error) => Err(error.clone()),
        }
    }

    pub fn writable(&self) -> Result<&DB, RocksError> {
        match self {
            State::Open(database) => Ok(database),
            State::ReadOnly(_, error) | State::Closed(error) => Err(error.clone()),
        }
    }
}

/// Whether writing failed, since when, and why.
#[derive(Default)]
pub(super) struct Failure {
    is_set: AtomicBool,
    since: Mutex<Option<(Instant, RocksError)>>,
}

impl Failure {
    pub fn message(&self) -> Option<String> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        self.since.lock().as_ref().map(|(_, error)| error.message.clone())
    }

    pub fn set(&self, error: &RocksError) {
        let mut since = self.since.lock();
        let first = since.as_ref().map_or_else(Instant::now, |(first, _)| *first);
        *since = Some((first, error.clone()));
        self.is_set.store(true, Ordering::Release);
    }

    pub fn clear(&self) {
        if self.is_set.load(Ordering::Acquire) {
            *self.since.lock() = None;
            self.is_set.store(false, Ordering::Release);
        }
    }

    pub fn lasts(&self) -> Duration {
        self.since.lock().as_ref().map_or(Duration::ZERO, |(first, _)| first.elapsed())
    }
}
