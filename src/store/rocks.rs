//! RocksDB, behind what the keyspace needs of it: the only user of the crate.
//!
//! Four column families: `default` holds the records, `meta` the slots' counts and the databases' order, `expiry` and `age`
//! index the records by when they expire and when they were written. All that belongs together goes in one batch.

mod batch;
mod error;
mod options;
mod status;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, IteratorMode, ReadOptions, WriteOptions};

use super::record::{self, RecordKey, SlotMeta};

pub use batch::Batch;
pub use error::RocksError;
pub use options::RocksOptions;
pub use status::RocksStatus;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Records,
    Meta,
    Expiry,
    Age,
}

const FAMILIES: [Family; 4] = [Family::Records, Family::Meta, Family::Expiry, Family::Age];

impl Family {
    fn name(self) -> &'static str {
        match self {
            Family::Records => "default",
            Family::Meta => "meta",
            Family::Expiry => "expiry",
            Family::Age => "age",
        }
    }
}

/// In `meta`: which database lies where.
const ORDER_KEY: &[u8] = b"order";

/// What is known of a key without a read from the disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    Absent,
    /// Its record.
    Found(Vec<u8>),
    /// Only a read can tell.
    Unknown,
}

/// An entry of the index of expiries that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub expiry_ms: u64,
    pub record_key: Vec<u8>,
    /// Length of the value's data.
    pub value_bytes: usize,
}

impl Due {
    /// Where it is in the index.
    pub fn index_key(&self) -> Vec<u8> {
        record::index_key(self.expiry_ms, &self.record_key)
    }
}

pub struct Rocks {
    db: DB,
    cache: rocksdb::Cache,
    path: PathBuf,
    /// Records with an expiry up to this, in Unix milliseconds, may go whenever files are compacted.
    swept_ms: Arc<AtomicU64>,
}

impl Rocks {
    /// Opens what is at `path`; creates it only if the options say so.
    ///
    /// # Errors
    /// With a line for the operator.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Rocks, RocksError> {
        fail::fail_point!("rocks::open", |_| Err(RocksError::injected("open")));
        let swept_ms = Arc::new(AtomicU64::new(0));
        let made = options::make(options, &swept_ms);
        let db = DB::open_cf_descriptors(&made.database, path, made.families)?;
        Ok(Rocks { db, cache: made.cache, path: path.to_owned(), swept_ms })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        match self.db.cf_handle(family.name()) {
            Some(family) => family,
            None => unreachable!("all column families were opened"),
        }
    }

    /// Reads records, all together; each key's own result, in the order of `keys`. It is fastest for sorted keys.
    pub fn get_many(&self, keys: &[&[u8]]) -> Vec<Result<Option<DBPinnableSlice<'_>>, RocksError>> {
        fail::fail_point!("rocks::get", |_| keys.iter().map(|_| Err(RocksError::injected("get"))).collect());
        let sorted = keys.is_sorted();
        let mut options = ReadOptions::default();
        options.set_async_io(true);
        let found =
            self.db.batched_multi_get_cf_opt(self.family(Family::Records), keys.iter().copied(), sorted, &options);
        found.into_iter().map(|found| found.map_err(RocksError::from)).collect()
    }

    /// What write buffers, filters and the block cache know of a record. No I/O.
    pub fn look(&self, key: &[u8]) -> Look {
        let mut options = ReadOptions::default();
        options.set_read_tier(rocksdb::ReadTier::BlockCache);
        match self.db.key_may_exist_cf_opt_value(self.family(Family::Records), key, &options) {
            (false, _) => Look::Absent,
            (true, Some(record)) => Look::Found(record.as_ref().to_vec()),
            (true, None) => Look::Unknown,
        }
    }

    /// Visits the records of a slot in their order, from a hash on, until `visit` breaks off.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn scan_slot(
        &self,
        database: u8,
        slot: u16,
        from_hash: u32,
        mut visit: impl FnMut(&RecordKey<'_>, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), RocksError> {
        fail::fail_point!("rocks::scan", |_| Err(RocksError::injected("scan")));
        let from = record::prefix(database, slot, from_hash);
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(after_prefix(&[database, (slot >> 8) as u8, slot as u8]));
        let mode = IteratorMode::From(&from, rocksdb::Direction::Forward);
        for item in self.db.iterator_cf_opt(self.family(Family::Records), options, mode) {
            let (key, value) = item?;
            let Some(key) = RecordKey::decode(&key) else { continue };
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What is known of each slot that was ever written to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn slots(&self) -> Result<Vec<(u8, u16, SlotMeta)>, RocksError> {
        let mut slots = Vec::new();
        let mode = IteratorMode::From(b"s", rocksdb::Direction::Forward);
        for item in self.db.iterator_cf(self.family(Family::Meta), mode) {
            let (key, value) = item?;
            let Some((database, slot)) = record::slot_of_key(&key) else { continue };
            let meta = SlotMeta::decode(&value).map_err(|error| RocksError::corruption(error.to_string()))?;
            slots.push((database, slot, meta));
        }
        Ok(slots)
    }

    /// Which database lies where; `None`: each in its own place.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn order<const N: usize>(&self) -> Result<Option<[u8; N]>, RocksError> {
        let order = self.db.get_cf(self.family(Family::Meta), ORDER_KEY)?;
        let wrong = || RocksError::corruption("the order of databases is damaged".to_owned());
        let order = order.map(|bytes| bytes.try_into().map_err(|_| wrong())).transpose()?;
        let is_sound = order.is_none_or(|order: [u8; N]| order.iter().all(|place| usize::from(*place) < N));
        if is_sound { Ok(order) } else { Err(wrong()) }
    }

    /// A database's entries of the index of expiries, behind the key `after`, that are due at `now_ms`, `most` at most.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn due_expiries(&self, database: u8, after: &[u8], now_ms: u64, most: usize) -> Result<Vec<Due>, RocksError> {
        fail::fail_point!("rocks::scan", |_| Err(RocksError::injected("scan")));
        self.index_entries(Family::Expiry, database, after, now_ms, most, |value| {
            value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        })
    }

    /// A database's records that were written longest ago, up to `time_ms`, `most` at most. Some were written again since.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn oldest(&self, database: u8, time_ms: u64, most: usize) -> Result<Vec<Due>, RocksError> {
        self.index_entries(Family::Age, database, &[], time_ms, most, |_| 0)
    }

    fn index_entries(
        &self,
        family: Family,
        database: u8,
        after: &[u8],
        up_to_ms: u64,
        most: usize,
        value_bytes: impl Fn(&[u8]) -> usize,
    ) -> Result<Vec<Due>, RocksError> {
        let mut options = ReadOptions::default();
        // What was deleted before it is not walked over.
        options.set_iterate_lower_bound(if after.is_empty() { vec![database] } else { after.to_vec() });
        options.set_iterate_upper_bound(match up_to_ms.checked_add(1) {
            Some(end) => [&[database][..], &end.to_be_bytes()].concat(),
            None => after_prefix(&[database]),
        });
        let mut found = Vec::new();
        for item in self.db.iterator_cf_opt(self.family(family), options, IteratorMode::Start).take(most) {
            let (key, value) = item?;
            if let Some((expiry_ms, record_key)) = record::index_parts(&key) {
                found.push(Due { expiry_ms, record_key, value_bytes: value_bytes(&value) });
            }
        }
        Ok(found)
    }

    pub fn batch(&self) -> Batch {
        Batch::default()
    }

    /// Writes a batch, whole or not at all. It survives the process's end once [`flush_wal`](Self::flush_wal) returned.
    ///
    /// # Errors
    /// When RocksDB does not take it.
    pub fn write(&self, batch: &Batch) -> Result<(), RocksError> {
        fail::fail_point!("rocks::write", |_| Err(RocksError::injected("write")));
        let mut writes = rocksdb::WriteBatch::default();
        batch.write_to(&mut writes, self);
        Ok(self.db.write_opt(writes, &WriteOptions::default())?)
    }

    /// Hands RocksDB's log to the system, and if `sync`, to the device.
    ///
    /// # Errors
    /// When that fails.
    pub fn flush_wal(&self, sync: bool) -> Result<(), RocksError> {
        fail::fail_point!("rocks::sync", |_| Err(RocksError::injected("sync")));
        Ok(self.db.flush_wal(sync)?)
    }

    /// Records with an expiry up to `time_ms` are counted off: they may go.
    pub fn swept_up_to(&self, time_ms: u64) {
        self.swept_ms.fetch_max(time_ms, Ordering::Relaxed);
    }

    /// Has all files rewritten, without what is deleted.
    pub fn compact(&self) {
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    }

    /// Frees the files that hold nothing but records of a database that was deleted.
    pub fn drop_files_of(&self, database: u8) {
        let end = after_prefix(&[database]);
        if let Err(error) = self.db.delete_file_in_range_cf(self.family(Family::Records), &[database][..], &end[..]) {
            tracing::warn!(%error, "files of a flushed database are left to be compacted");
        }
    }

    /// Makes a copy of all that is written at `to`, which must not exist, mostly by hard links.
    ///
    /// # Errors
    /// When that fails.
    pub fn checkpoint(&self, to: &Path) -> Result<(), RocksError> {
        fail::fail_point!("rocks::checkpoint", |_| Err(RocksError::injected("checkpoint")));
        Ok(rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(to)?)
    }

    /// Ends background work.
    pub fn close(&self) {
        self.db.cancel_all_background_work(true);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sum of a property over all column families.
    fn property(&self, name: &rocksdb::properties::PropName) -> u64 {
        let of = |family: &Family| self.db.property_int_value_cf(self.family(*family), name).ok().flatten();
        FAMILIES.iter().filter_map(of).sum()
    }
}

/// The first key behind all that begin with `prefix`.
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
