//! A round in the making: one atomic batch of what differs from the disk.

use std::collections::HashSet;

use crate::base::gather::Gather;
use crate::store::collection;
use crate::store::journal::Ticket;
use crate::store::record::{LongKeys, Record, RecordError, RecordKey, SlotMeta};
use crate::store::rocks::{BLOB_BYTES, Batch, IndexEntry, RecordPosition, RocksError};
use crate::types::{Encoded, Value};

/// A batch in the making.
pub struct Round {
    pub number: u32,
    pub mark: Mark,
    pub swept: Swept,
    pub batch: Batch,
    pub written_ms: u64,
    pub keeps_age: bool,
    /// There is more to do than fits into a round.
    pub has_more: bool,
    /// The keys of records that the batch deletes before anything was collected: swept, or evicted. What the disk still
    /// has of them is counted off.
    pub removed: HashSet<Vec<u8>>,
    pub long_keys: LongKeys,
    /// Of the entry that is being added; `long_key` is empty where the record's key holds the key.
    pub record_key: Vec<u8>,
    pub long_key: Vec<u8>,
    pub value: Gather,
    pub entries: u64,
    /// About what the entries took that it was collected from.
    pub taken_bytes: u64,
    pub slots: Vec<RoundSlot>,
    pub lookups: Vec<Lookup>,
}

pub struct RoundSlot {
    pub position: (u8, u16),
    pub meta: SlotMeta,
    pub deletes: bool,
}

/// A key whose older record has to be looked up.
pub struct Lookup {
    /// In `slots`; a slot's entry comes after its keys.
    pub slot: u32,
    pub record: RecordPosition,
    pub expiry_ms: Option<u64>,
    /// The round puts a record in the older one's place; else it deletes that.
    pub is_put: bool,
    /// It was set or deleted without a look at the disk: whether there is an older record, and what counts of it, is not
    /// known. Else only its time of writing is wanted.
    pub is_blind: bool,
}

impl Round {
    /// Begins an entry: what follows is about this key.
    pub fn begin_key(&mut self, database: u8, slot: u16, hash: u64, key: &[u8]) {
        RecordKey::encode(&mut self.record_key, self.long_keys, database, slot, hash, key);
        self.long_key.clear();
        if self.long_keys.is_long(key) {
            self.long_key.extend_from_slice(key);
        }
        self.entries += 1;
    }

    /// Deletes the key's entry of the index of expiries.
    pub fn forget_expiry(&mut self, expiry_ms: u64) {
        self.batch.delete_expiry(expiry_ms, &self.record_key);
    }

    /// Deletes the key's record.
    pub fn delete(&mut self) {
        self.batch.delete_record(&self.record_key);
    }

    /// Writes the key's record, and its entries of the indexes.
    pub fn put(&mut self, value: Encoded<'_>, expiry_ms: Option<u64>) {
        self.value.clear();
        let long_key = (!self.long_key.is_empty()).then_some(&self.long_key[..]);
        let head = Record { kind: value.kind(), expiry_ms, written_ms: self.written_ms, long_key, payload: &[] };
        head.encode(self.value.bytes());
        // Large parts by reference: the slot is locked.
        value.write(&mut self.value);
        self.batch.put_gathered_record(&self.record_key, &self.value);
        let value_bytes = value.len();
        debug_assert!(
            value_bytes < BLOB_BYTES || Value::kind_of_large_record().is_none_or(|kind| kind == value.kind())
        );
        if let Some(expiry_ms) = expiry_ms {
            self.batch.put_expiry(expiry_ms, &self.record_key, value_bytes, self.written_ms);
        }
        if self.keeps_age {
            self.batch.put_age(self.written_ms, &self.record_key, value_bytes, expiry_ms);
        }
    }

    /// Notes that there may be an older record, which nobody has looked at.
    pub fn note_blind(&mut self, expiry_ms: Option<u64>, is_put: bool) {
        self.look_up(expiry_ms, is_put, true);
    }

    /// Notes that there is an older record, which was counted.
    pub fn replaced(&mut self, is_put: bool) {
        if self.keeps_age {
            self.look_up(None, is_put, false);
        }
    }

    fn look_up(&mut self, expiry_ms: Option<u64>, is_put: bool, is_blind: bool) {
        if !self.removed.contains(&self.record_key) {
            let (slot, record) = (self.slots.len() as u32, self.batch.last_record());
            self.lookups.push(Lookup { slot, record, expiry_ms, is_put, is_blind });
        }
    }

    /// Deletes an evicted key's entry of the index of ages.
    pub fn forget_age(&mut self, aged: &IndexEntry) {
        self.batch.delete_age(aged.time_ms, &aged.record_key);
        self.removed.insert(aged.record_key.clone());
    }

    /// Deletes the leaves of a record that the round deletes or replaces, if it was the head of a large collection.
    pub fn delete_leaves(&mut self, (database, slot): (u8, u16), collection: Option<u64>) {
        if let Some(collection) = collection {
            self.batch.delete_leaves(database, slot, collection);
        }
    }

    /// Ends what the round takes of a slot.
    pub fn slot(&mut self, database: u8, slot: u16, meta: SlotMeta, deletes: bool) {
        self.slots.push(RoundSlot { position: (database, slot), meta, deletes });
    }
}

/// How far the sweep of expired cold keys has come.
#[derive(Default)]
pub struct Swept {
    pub has_more: bool,
    /// Of all records with an expiry up to this, the count and the index are right without them, once the round is on
    /// disk. 0: nothing was looked at.
    pub up_to_ms: u64,
}

impl Swept {
    pub fn join(&mut self, other: Swept) {
        self.has_more |= other.has_more;
        self.up_to_ms = self.up_to_ms.min(other.up_to_ms);
    }
}

/// What was known of a record from the record itself.
pub struct Old {
    pub value_bytes: usize,
    /// The id of a large collection, which had leaves.
    pub collection: Option<u64>,
    pub expiry_ms: Option<u64>,
    pub written_ms: u64,
    pub long_key_bytes: Option<usize>,
}

impl Old {
    pub const UNREADABLE: Old =
        Old { value_bytes: 0, collection: None, expiry_ms: None, written_ms: 0, long_key_bytes: None };

    pub fn of(record: &[u8]) -> Result<Old, RocksError> {
        let corrupt = |error: RecordError| RocksError::corruption(error.to_string());
        let record = Record::decode(record).map_err(corrupt)?;
        let value = collection::summary(&record).map_err(corrupt)?;
        Ok(Old {
            value_bytes: usize::try_from(value.bytes).unwrap_or(usize::MAX),
            collection: value.collection,
            expiry_ms: record.expiry_ms,
            written_ms: record.written_ms,
            long_key_bytes: record.long_key.map(<[u8]>::len),
        })
    }
}

/// Where the journal was when a round began; `None` without a journal.
pub type Mark = Option<Ticket>;
