//! Reading: single keys, many keys, and in order.

use std::borrow::Cow;
use std::ops::ControlFlow;

use rocksdb::{DB, DBRawIterator, ReadOptions};

use super::database::Rocks;
use super::error::RocksError;
use super::families::{AGE, AGE_KEY, BOOT_KEY, EXPIRY, META, ORDER_KEY, RECORDS, after_prefix, family};
use super::keys::KeyIterator;
use crate::base::chunks::LARGE_BYTES;
use crate::store::record::{self, AgeIndex, IndexValue, Record, RecordKey, SlotMeta};

/// What is known of a record without a read from the disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// There is none.
    Absent,
    /// A copy of it.
    Found(Vec<u8>),
    /// Only a read can tell.
    Unknown,
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// What the index is in the order of: the expiry, or the time of writing.
    pub time_ms: u64,
    /// The key of the record that the entry is of.
    pub record_key: Vec<u8>,
    /// Length of the value's data.
    pub value_bytes: usize,
    /// The id of a large collection, whose leaves are to be deleted with the record.
    pub collection: Option<u64>,
    /// In the index of expiries, when the record was written (`None`: by a version that did not note it); in that of
    /// ages, when it expires, if it does.
    pub other_ms: Option<u64>,
}

impl IndexEntry {
    /// Where it is in the index.
    pub fn index_key(&self) -> Vec<u8> {
        record::index_key(self.time_ms, &self.record_key)
    }
}

impl Rocks {
    /// What memtables, filters and cached blocks say of a record. No I/O, and no error: where something is wrong, a read
    /// will say so. (`key_may_exist` would take an error for absence.)
    #[inline]
    pub fn look(&self, key: &[u8]) -> Look {
        let state = self.state();
        let Ok(database) = state.database() else { return Look::Unknown };
        match database.get_pinned_opt(key, &self.ways.memory_only) {
            Ok(None) => Look::Absent,
            // No record is empty. RocksDB has paths that answer so where it would have to open a file to know.
            // A large one is for a read, which has the time to copy it.
            Ok(Some(record)) if (1..LARGE_BYTES).contains(&record.len()) => Look::Found(record.to_vec()),
            Ok(Some(_)) | Err(_) => Look::Unknown,
        }
    }

    /// Copies of records.
    #[cfg(test)]
    pub(super) fn get_many(&self, keys: &[&[u8]]) -> Vec<Result<Option<Vec<u8>>, RocksError>> {
        self.look_at_many(keys, |record| Ok(record.to_vec()))
    }

    /// Reads records, all together; each key's own result, in the order of `keys`: what `take` makes of the record. It is
    /// fastest for sorted keys.
    pub fn look_at_many<T>(
        &self,
        keys: &[&[u8]],
        take: impl Fn(&[u8]) -> Result<T, RocksError>,
    ) -> Vec<Result<Option<T>, RocksError>> {
        self.look_at_many_in(RECORDS, keys, take)
    }

    pub(super) fn look_at_many_in<T>(
        &self,
        name: &str,
        keys: &[&[u8]],
        take: impl Fn(&[u8]) -> Result<T, RocksError>,
    ) -> Vec<Result<Option<T>, RocksError>> {
        let all = |error: RocksError| keys.iter().map(|_| Err(error.clone())).collect();
        fail::fail_point!("rocks::get", |argument| all(RocksError::injected(argument)));
        let state = self.state();
        let open = state.database().and_then(|database| Ok((database, family(database, name)?)));
        let (database, family) = match open {
            Ok(open) => open,
            Err(error) => return all(error),
        };
        let found = database.batched_multi_get_cf_opt(family, keys.iter().copied(), keys.is_sorted(), &self.ways.point);
        found.into_iter().map(|found| found?.map(|found| take(&found)).transpose()).collect()
    }

    /// Visits the records of a slot in the order of their hashes, from one on, until `visit` breaks off. The database
    /// cannot be reopened meanwhile.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn scan_slot(
        &self,
        database: u8,
        slot: u16,
        from_hash: u32,
        mut visit: impl FnMut(&RecordKey<'_>, &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        let (from, end) = slot_bounds(database, slot, from_hash);
        self.scan(RECORDS, &from, &end, ReadOptions::default(), |key, record| {
            let mut record_key = decode_key(key)?;
            if self.long_keys().is_long(record_key.key) {
                record_key.key = long_key(record)?;
            }
            visit(&record_key, record)
        })
    }

    /// The same without reading blob files: of a record in one, nothing but the key is there, unless it is a long one.
    /// Returns the entries of the index of expiries up to `now_ms`, `most_due` at most, as they were when the visits began:
    /// which of the records that were not read have expired. Read afterwards, the index would not have what a sweep has
    /// deleted in between. Empty if all records were read.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn scan_slot_keys(
        &self,
        database: u8,
        slot: u16,
        from_hash: u32,
        (now_ms, most_due): (u64, usize),
        mut visit: impl FnMut(&RecordKey<'_>, Option<&[u8]>) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<Vec<IndexEntry>, RocksError> {
        fail::fail_point!("rocks::scan", |argument| Err(RocksError::injected(argument)));
        let (from, end) = slot_bounds(database, slot, from_hash);
        let state = self.state();
        let open = state.database()?;
        let (due_from, due_end) = index_bounds(database, &[], now_ms);
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_upper_bound(due_end);
        // An iterator shows what there was when it was made.
        let due = open.raw_iterator_cf_opt(family(open, EXPIRY)?, bounds);
        let mut unread = 0;
        KeyIterator::new(open, &end).visit(&from, |key, record| {
            let mut record_key = decode_key(key)?;
            if !self.long_keys().is_long(record_key.key) {
                unread += usize::from(record.is_none());
                return visit(&record_key, record);
            }
            let read = if record.is_none() { open.get_pinned(key)? } else { None };
            // Without a record, it was deleted since the iterator began.
            let Some(record) = record.or(read.as_deref()) else { return Ok(ControlFlow::Continue(())) };
            record_key.key = long_key(record)?;
            visit(&record_key, Some(record))
        })?;
        if unread == 0 { Ok(Vec::new()) } else { read_index(due, &due_from, most_due) }
    }

    /// The key whose record has this key; a long one is read. `None`: there is no such record.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn whole_key<'k>(&self, record_key: &RecordKey<'k>, bytes: &[u8]) -> Result<Option<Cow<'k, [u8]>>, RocksError> {
        if !self.long_keys().is_long(record_key.key) {
            return Ok(Some(Cow::Borrowed(record_key.key)));
        }
        let found = self.look_at_many(&[bytes], |record| Ok(long_key(record)?.to_vec())).swap_remove(0)?;
        Ok(found.map(Cow::Owned))
    }

    /// Visits the records in order, from the record key `from` on, without a trace in the cache, until `visit` breaks off.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn scan_records(
        &self,
        from: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        self.scan(RECORDS, from, &[], sequential(), visit)
    }

    /// What is known of each slot that was ever written to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn slots(&self) -> Result<Vec<(u8, u16, SlotMeta)>, RocksError> {
        let mut slots = Vec::new();
        self.scan(META, b"s", b"t", sequential(), |key, value| {
            let (database, slot) =
                record::slot_of_key(key).ok_or_else(|| RocksError::damaged("the key of a slot", key))?;
            let meta = SlotMeta::decode(value).map_err(|error| RocksError::corruption(error.to_string()))?;
            slots.push((database, slot, meta));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(slots)
    }

    /// What is known of one slot; `None`: it was never written to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn slot_meta(&self, database: u8, slot: u16) -> Result<Option<SlotMeta>, RocksError> {
        let state = self.state();
        let open = state.database()?;
        let found = open.get_pinned_cf(family(open, META)?, record::slot_key(database, slot))?;
        let meta = found.map(|value| SlotMeta::decode(&value)).transpose();
        meta.map_err(|error| RocksError::corruption(error.to_string()))
    }

    /// Which database lies where; those beyond the end of it, and with `None` all, in their own place.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn order(&self) -> Result<Option<Vec<u8>>, RocksError> {
        let state = self.state();
        let database = state.database()?;
        let Some(bytes) = database.get_pinned_cf(family(database, META)?, ORDER_KEY)? else { return Ok(None) };
        // Each of them once.
        let is_sound = (0..bytes.len()).all(|place| bytes.iter().any(|other| usize::from(*other) == place));
        if bytes.is_empty() || !is_sound {
            return Err(RocksError::corruption("the order of databases is damaged".to_owned()));
        }
        Ok(Some(bytes.to_vec()))
    }

    /// The number of the last boot that gave its number; 0: none did.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_boot(&self) -> Result<u64, RocksError> {
        let state = self.state();
        let database = state.database()?;
        let Some(bytes) = database.get_pinned_cf(family(database, META)?, BOOT_KEY)? else { return Ok(0) };
        let damaged = |_| RocksError::corruption("the number of the last boot is damaged".to_owned());
        bytes.as_ref().try_into().map(u64::from_le_bytes).map_err(damaged)
    }

    /// How the index of ages stands; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn age_index(&self) -> Result<Option<AgeIndex>, RocksError> {
        let state = self.state();
        let database = state.database()?;
        let Some(bytes) = database.get_pinned_cf(family(database, META)?, AGE_KEY)? else { return Ok(None) };
        AgeIndex::decode(&bytes).map(Some).map_err(|error| RocksError::corruption(error.to_string()))
    }

    /// A database's entries of the index of expiries, from the key `after` on, that are due at `now_ms`, `most` at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn due_expiries(
        &self,
        database: u8,
        after: &[u8],
        now_ms: u64,
        most: usize,
    ) -> Result<Vec<IndexEntry>, RocksError> {
        self.index_entries(EXPIRY, database, after, now_ms, most)
    }

    /// A database's records that were written longest ago, from the key `after` of the index on and up to `time_ms`, `most`
    /// at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn oldest(&self, database: u8, after: &[u8], time_ms: u64, most: usize) -> Result<Vec<IndexEntry>, RocksError> {
        self.index_entries(AGE, database, after, time_ms, most)
    }

    fn index_entries(
        &self,
        name: &str,
        database: u8,
        after: &[u8],
        up_to_ms: u64,
        most: usize,
    ) -> Result<Vec<IndexEntry>, RocksError> {
        fail::fail_point!("rocks::scan", |argument| Err(RocksError::injected(argument)));
        let (from, end) = index_bounds(database, after, up_to_ms);
        // An iterator takes bounds that are out of order for a mistake.
        if from >= end {
            return Ok(Vec::new());
        }
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_upper_bound(end);
        let state = self.state();
        let open: &DB = state.database()?;
        read_index(open.raw_iterator_cf_opt(family(open, name)?, bounds), &from, most)
    }

    /// From `from` on, and before `end` if that is not empty.
    pub(super) fn scan(
        &self,
        name: &str,
        from: &[u8],
        end: &[u8],
        mut options: ReadOptions,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        fail::fail_point!("rocks::scan", |argument| Err(RocksError::injected(argument)));
        if !end.is_empty() {
            // An iterator takes bounds that are out of order for a mistake.
            if from >= end {
                return Ok(());
            }
            options.set_iterate_upper_bound(end);
        }
        let state = self.state();
        let database: &DB = state.database()?;
        let mut iterator = database.raw_iterator_cf_opt(family(database, name)?, options);
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            iterator.next();
        }
        Ok(iterator.status()?)
    }
}

/// Where the records of a slot begin that have this hash or a later one, and where those of the slot end.
fn slot_bounds(database: u8, slot: u16, from_hash: u32) -> ([u8; RecordKey::PREFIX_BYTES], Vec<u8>) {
    (record::prefix(database, slot, from_hash), after_prefix(&record::slot_prefix(database, slot)))
}

/// Where the entries of an index begin that lie at or behind the key `after` of it, and where those up to a time end. What
/// was deleted before `after` is not walked over.
fn index_bounds(database: u8, after: &[u8], up_to_ms: u64) -> (Vec<u8>, Vec<u8>) {
    let start = [database];
    let end = match up_to_ms.checked_add(1) {
        Some(end_ms) => [&start[..], &end_ms.to_be_bytes()].concat(),
        None => after_prefix(&start),
    };
    (after.max(&start).to_vec(), end)
}

fn read_index(mut iterator: DBRawIterator<'_>, from: &[u8], most: usize) -> Result<Vec<IndexEntry>, RocksError> {
    let mut found = Vec::new();
    iterator.seek(from);
    while found.len() < most
        && let Some((key, value)) = iterator.item()
    {
        let (time_ms, record_key) =
            record::index_parts(key).ok_or_else(|| RocksError::damaged("the index entry", key))?;
        let IndexValue { value, other_ms } =
            IndexValue::decode(value).ok_or_else(|| RocksError::damaged("the value of the index entry", key))?;
        let value_bytes = usize::try_from(value.bytes).unwrap_or(usize::MAX);
        found.push(IndexEntry { time_ms, record_key, value_bytes, collection: value.collection, other_ms });
        iterator.next();
    }
    iterator.status()?;
    Ok(found)
}

fn decode_key(key: &[u8]) -> Result<RecordKey<'_>, RocksError> {
    RecordKey::decode(key).ok_or_else(|| RocksError::damaged("the record key", key))
}

pub(super) fn long_key(record: &[u8]) -> Result<&[u8], RocksError> {
    let record = Record::decode(record).map_err(|error| RocksError::corruption(error.to_string()))?;
    record.long_key.ok_or_else(|| RocksError::corruption("a record lacks its long key".to_owned()))
}

/// For a walk over all there is.
pub(super) fn sequential() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(2 << 20);
    options
}
