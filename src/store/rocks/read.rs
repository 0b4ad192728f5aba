//! Reading: single keys, many keys, and in order.

use std::ops::ControlFlow;

use crossbeam_utils::sync::ShardedLockReadGuard;
use rocksdb::{DB, DBPinnableSlice, DBRawIterator, ReadOptions, ReadTier};

use super::error::{RocksError, RocksErrorKind};
use super::{AGE, EXPIRY, META, RECORDS, State, family};
use crate::store::record::{ORDER_KEY, Order, RecordKey, SlotMeta, TimedKey, decode_length, decode_order, slot_bounds};

/// A value as it lies in RocksDB's memory, for as long as the [`Reader`] lives.
pub type Pinned<'a> = DBPinnableSlice<'a>;

/// How a read is done; made once, since RocksDB allocates for it.
pub(super) struct ReadWays {
    point: ReadOptions,
    memory_only: ReadOptions,
}

impl Default for ReadWays {
    fn default() -> ReadWays {
        let mut memory_only = ReadOptions::default();
        memory_only.set_read_tier(ReadTier::BlockCache);
        ReadWays { point: ReadOptions::default(), memory_only }
    }
}

/// What can be said of a key without I/O.
pub enum Look<'a> {
    /// There is no such record.
    Absent,
    Found(Pinned<'a>),
    /// Only a read can tell.
    Unknown,
}

/// The open database. To reopen it waits for all readers: none is kept across a wait.
pub struct Reader<'a> {
    guard: ShardedLockReadGuard<'a, State>,
    ways: &'a ReadWays,
}

impl<'a> Reader<'a> {
    pub(super) fn new(guard: ShardedLockReadGuard<'a, State>, ways: &'a ReadWays) -> Result<Reader<'a>, RocksError> {
        guard.database()?;
        Ok(Reader { guard, ways })
    }

    fn database(&self) -> Result<&DB, RocksError> {
        self.guard.database()
    }

    /// What memtables, filters and cached blocks say of a record. No I/O, and no error: where something is wrong, a read
    /// will say so.
    #[inline]
    pub fn look(&self, key: &[u8]) -> Look<'_> {
        let Ok(database) = self.database() else { return Look::Unknown };
        match database.get_pinned_opt(key, &self.ways.memory_only) {
            Ok(None) => Look::Absent,
            // No record is empty. RocksDB has paths that answer so where it would have to open a file to know.
            Ok(Some(value)) if !value.is_empty() => Look::Found(value),
            Ok(Some(_)) | Err(_) => Look::Unknown,
        }
    }

    /// One record, read from the disk if need be.
    pub fn get(&self, key: &[u8]) -> Result<Option<Pinned<'_>>, RocksError> {
        fail::fail_point!("rocks::get", |argument| Err(RocksError::injected(argument)));
        Ok(self.database()?.get_pinned_opt(key, &self.ways.point)?)
    }

    /// Many records with one call, in the order of `keys`. Sorted keys are read faster.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Result<Option<Pinned<'_>>, RocksError>> {
        fail::fail_point!("rocks::get", |argument| {
            let error = RocksError::injected(argument);
            keys.iter().map(|_| Err(error.clone())).collect()
        });
        let all = |error: RocksError| keys.iter().map(|_| Err(error.clone())).collect();
        let database = match self.database() {
            Ok(database) => database,
            Err(error) => return all(error),
        };
        let records = match family(database, RECORDS) {
            Ok(records) => records,
            Err(error) => return all(error),
        };
        let is_sorted = keys.is_sorted_by(|one, next| one.as_ref() <= next.as_ref());
        database
            .batched_multi_get_cf_opt(records, keys, is_sorted, &self.ways.point)
            .into_iter()
            .map(|result| result.map_err(RocksError::from))
            .collect()
    }

    /// Shows at most `limit` records of a slot in the order of their hashes, from `from_hash` on.
    pub fn scan_slot(
        &self,
        database: u8,
        slot: u16,
        from_hash: u32,
        limit: usize,
        mut visit: impl FnMut(&RecordKey, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RocksError> {
        let (from, to) = slot_bounds(database, slot, from_hash);
        self.iterate(RECORDS, &from, &to, limit, ReadOptions::default(), |key, value| {
            let record = RecordKey::decode(key).ok_or_else(|| RocksError::damaged("the record key", key))?;
            Ok(visit(&record, value))
        })
    }

    /// Shows all records in order, without a trace in the cache.
    pub fn scan_all(&self, mut visit: impl FnMut(&RecordKey, &[u8]) -> ControlFlow<()>) -> Result<(), RocksError> {
        self.iterate(RECORDS, &[], &[0xff], usize::MAX, sequential(), |key, value| {
            let record = RecordKey::decode(key).ok_or_else(|| RocksError::damaged("the record key", key))?;
            Ok(visit(&record, value))
        })
    }

    /// Shows at most `limit` entries of the expiry index, earliest first, that expire at `from_ms` or later and no later
    /// than `to_ms`, each with the length of the record's payload. A lower bound spares the walk over what was deleted.
    pub fn scan_expiry(
        &self,
        from_ms: u64,
        to_ms: u64,
        limit: usize,
        mut visit: impl FnMut(&TimedKey, u32) -> ControlFlow<()>,
    ) -> Result<(), RocksError> {
        let (from, to) = (from_ms.to_be_bytes(), to_ms.saturating_add(1).to_be_bytes());
        self.iterate(EXPIRY, &from, &to, limit, ReadOptions::default(), |key, value| {
            let timed = TimedKey::decode(key).ok_or_else(|| RocksError::damaged("the expiry entry", key))?;
            let length = decode_length(value).map_err(|_| RocksError::damaged("the expiry entry", key))?;
            Ok(visit(&timed, length))
        })
    }

    /// Shows at most `limit` entries of the age index, oldest first, from `from_ms` on.
    pub fn scan_age(
        &self,
        from_ms: u64,
        limit: usize,
        mut visit: impl FnMut(&TimedKey) -> ControlFlow<()>,
    ) -> Result<(), RocksError> {
        self.iterate(AGE, &from_ms.to_be_bytes(), &[0xff], limit, ReadOptions::default(), |key, _| {
            let timed = TimedKey::decode(key).ok_or_else(|| RocksError::damaged("the age entry", key))?;
            Ok(visit(&timed))
        })
    }

    /// Shows every slot's meta, by database and slot.
    pub fn scan_slot_metas(&self, mut visit: impl FnMut(u8, u16, SlotMeta)) -> Result<(), RocksError> {
        self.iterate(META, b"s", b"t", usize::MAX, sequential(), |key, value| {
            let (database, slot) =
                SlotMeta::decode_key(key).ok_or_else(|| RocksError::damaged("the slot meta", key))?;
            let meta = SlotMeta::decode(value)
                .map_err(|error| RocksError::new(RocksErrorKind::Corruption, format!("a slot meta: {error}")))?;
            visit(database, slot, meta);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The databases' order, if it was ever changed.
    pub fn order(&self) -> Result<Option<Order>, RocksError> {
        let database = self.database()?;
        let Some(bytes) = database.get_pinned_cf(family(database, META)?, ORDER_KEY)? else { return Ok(None) };
        decode_order(&bytes).map(Some).map_err(|_| RocksError::damaged("the key", ORDER_KEY))
    }

    fn iterate(
        &self,
        name: &str,
        from: &[u8],
        to: &[u8],
        limit: usize,
        mut options: ReadOptions,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        fail::fail_point!("rocks::scan", |argument| Err(RocksError::injected(argument)));
        // An iterator takes bounds that are out of order for a mistake.
        if from >= to {
            return Ok(());
        }
        options.set_iterate_upper_bound(to);
        let database = self.database()?;
        let mut iterator: DBRawIterator = database.raw_iterator_cf_opt(family(database, name)?, options);
        iterator.seek(from);
        for _ in 0..limit {
            let Some((key, value)) = iterator.item() else { break };
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            iterator.next();
        }
        Ok(iterator.status()?)
    }
}

/// For a walk over all there is.
fn sequential() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(2 << 20);
    options
}
