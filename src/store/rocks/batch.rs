//! A batch of changes: whole in RocksDB after a crash, or absent.

use rocksdb::WriteBatch;

use super::families::{AGE_KEY, BOOT_KEY, FamilyId, ORDER_KEY, after_prefix};
use super::ingest::IngestTable;
use crate::base::gather::Gather;
use crate::store::collection::LeafKey;
use crate::store::record::{self, AgeIndex, IndexValue, SlotMeta, ValueSummary};

/// RocksDB's tags of operations: in the default column family, and in one whose number follows.
const DELETE: [u8; 2] = [0x0, 0x4];
const PUT: [u8; 2] = [0x1, 0x5];
const DELETE_RANGE: [u8; 2] = [0xf, 0xe];
/// A sequence number, which RocksDB sets, and the count of operations.
const HEADER_BYTES: usize = 12;

/// Changes that are to be written as one. It belongs to no open database, and can be written again.
///
/// It writes RocksDB's serialised form itself (what `WriteBatch::data` shows and `from_data` takes), since a call into
/// C++ for each of the 50,000 operations of a round would cost the merger more than encoding them.
#[derive(Debug)]
pub struct Batch {
    bytes: Gather,
    count: u32,
    changes_records: bool,
    /// Where the last operation on a record begins in `bytes`.
    last_record: usize,
    /// Where the records go, if that is not the log.
    table: Option<IngestTable>,
}

impl Default for Batch {
    fn default() -> Batch {
        let mut bytes = Gather::default();
        bytes.bytes().resize(HEADER_BYTES, 0);
        Batch { bytes, count: 0, changes_records: false, last_record: 0, table: None }
    }
}

impl Batch {
    /// One whose records become a table, which costs less if there are many of them.
    pub fn with_table() -> Batch {
        Batch { table: Some(IngestTable::default()), ..Batch::default() }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.table().is_none()
    }

    /// Puts a record under its [`RecordKey`](record::RecordKey).
    pub fn put_record(&mut self, record_key: &[u8], record: &[u8]) {
        self.changes_records = true;
        match &mut self.table {
            Some(table) => table.put(record_key, record),
            None => {
                self.last_record = self.bytes.own().len();
                self.put(FamilyId::Records, &[record_key], record);
            }
        }
    }

    /// Puts a record that may lie in pieces. What it refers to is not copied before the batch is written.
    pub fn put_gathered_record(&mut self, record_key: &[u8], record: &Gather) {
        if let Some(bytes) = record.plain() {
            return self.put_record(record_key, bytes);
        }
        self.changes_records = true;
        match &mut self.table {
            Some(table) => table.put_gathered(record_key, record),
            None => {
                self.last_record = self.bytes.own().len();
                self.put_gathered(FamilyId::Records, record_key, record);
            }
        }
    }

    /// Deletes a record, if there is one.
    pub fn delete_record(&mut self, record_key: &[u8]) {
        self.changes_records = true;
        match &mut self.table {
            Some(table) => table.delete(record_key),
            None => {
                self.last_record = self.bytes.own().len();
                self.delete(FamilyId::Records, &[record_key]);
            }
        }
    }

    /// Where the record is that was put or deleted last.
    pub fn last_record(&self) -> RecordPosition {
        RecordPosition(self.table.as_ref().map_or(self.last_record, |table| table.len() - 1))
    }

    /// The key of a record that was put or deleted.
    pub fn record_key(&self, place: RecordPosition) -> &[u8] {
        match &self.table {
            Some(table) => table.key(place.0),
            None => first_part(&self.bytes.own()[place.0 + 1..]),
        }
    }

    /// The records that are to become a table.
    pub(super) fn table(&self) -> Option<&IngestTable> {
        self.table.as_ref().filter(|table| !table.is_empty())
    }

    pub(super) fn changes_records(&self) -> bool {
        self.changes_records
    }

    /// With what whoever sweeps needs, and not the record: of its value, and when it was written.
    pub fn put_expiry(&mut self, expiry_ms: u64, record_key: &[u8], value: impl Into<ValueSummary>, written_ms: u64) {
        let value = IndexValue { value: value.into(), other_ms: Some(written_ms) }.encode();
        self.put(FamilyId::Expiry, &index_key(expiry_ms, record_key).parts(), value.as_slice());
    }

    /// Deletes an entry of the index of expiries.
    pub fn delete_expiry(&mut self, expiry_ms: u64, record_key: &[u8]) {
        self.delete(FamilyId::Expiry, &index_key(expiry_ms, record_key).parts());
    }

    /// With what eviction needs, and not the record: of its value, and its expiry.
    pub fn put_age(
        &mut self,
        written_ms: u64,
        record_key: &[u8],
        value: impl Into<ValueSummary>,
        expiry_ms: Option<u64>,
    ) {
        let value = IndexValue { value: value.into(), other_ms: expiry_ms }.encode();
        self.put(FamilyId::Age, &index_key(written_ms, record_key).parts(), value.as_slice());
    }

    /// Deletes an entry of the index of ages.
    pub fn delete_age(&mut self, written_ms: u64, record_key: &[u8]) {
        self.delete(FamilyId::Age, &index_key(written_ms, record_key).parts());
    }

    /// Puts the counts of a slot, and the number of its last change that is in the records with this batch.
    pub fn put_slot_meta(&mut self, database: u8, slot: u16, meta: &SlotMeta) {
        self.put_meta(&record::slot_key(database, slot), &meta.encode());
    }

    /// How the index of ages stands; `None`: there is none.
    pub fn put_age_index(&mut self, index: Option<AgeIndex>) {
        match index {
            Some(index) => self.put_meta(AGE_KEY, &index.encode()),
            None => self.delete(FamilyId::Meta, &[AGE_KEY]),
        }
    }

    /// Deletes the whole index of ages.
    pub fn delete_ages(&mut self) {
        self.delete_range(FamilyId::Age, &[0], &[u8::MAX]);
    }

    /// Puts a leaf of a large collection, by [`LeafKey`], as its type has encoded it. Large parts of it are not copied before the
    /// batch is written.
    pub fn put_leaf(&mut self, leaf_key: &[u8], leaf: &Gather) {
        self.put_gathered(FamilyId::Elements, leaf_key, leaf);
    }

    /// Deletes one leaf of a large collection, by [`LeafKey`].
    pub fn delete_leaf(&mut self, leaf_key: &[u8]) {
        self.delete(FamilyId::Elements, &[leaf_key]);
    }

    /// Deletes all leaves of a collection, whatever their number. Its head is to be deleted or replaced in the same batch.
    pub fn delete_leaves(&mut self, database: u8, slot: u16, collection: u64) {
        let prefix = LeafKey::prefix(database, slot, collection);
        self.delete_range(FamilyId::Elements, &prefix, &after_prefix(&prefix));
    }

    /// Which database lies where.
    pub fn put_order(&mut self, order: &[u8]) {
        self.put_meta(ORDER_KEY, order);
    }

    /// The number of the boot that begins.
    pub fn put_boot(&mut self, boot: u64) {
        self.put_meta(BOOT_KEY, &boot.to_le_bytes());
    }

    /// Deletes all records and leaves of a database, and what the indexes have of them.
    pub fn delete_database(&mut self, database: u8) {
        self.changes_records = true;
        for family in [FamilyId::Records, FamilyId::Expiry, FamilyId::Age, FamilyId::Elements] {
            self.delete_range(family, &[database], &after_prefix(&[database]));
        }
    }

    /// Deletes the records of a slot before the key `to`. What the indexes have of them, and their leaves, are left.
    pub(super) fn delete_records_before(&mut self, database: u8, slot: u16, to: &[u8]) {
        self.changes_records = true;
        self.delete_range(FamilyId::Records, &record::slot_prefix(database, slot), to);
    }

    /// Deletes all records and leaves of a slot, and its counts. What the indexes have of them is left.
    pub(super) fn delete_slot(&mut self, database: u8, slot: u16) {
        self.changes_records = true;
        let prefix = record::slot_prefix(database, slot);
        for family in [FamilyId::Records, FamilyId::Elements] {
            self.delete_range(family, &prefix, &after_prefix(&prefix));
        }
        self.delete(FamilyId::Meta, &[&record::slot_key(database, slot)]);
    }

    pub(super) fn put_meta(&mut self, key: &[u8], value: &[u8]) {
        self.put(FamilyId::Meta, &[key], value);
    }

    pub(super) fn put_empty(&mut self, family: FamilyId) {
        self.put(family, &[], &[]);
    }

    pub(super) fn write_batch(&self) -> WriteBatch {
        match self.bytes.plain() {
            Some(bytes) => WriteBatch::from_data(bytes),
            None => WriteBatch::from_data(&self.bytes.to_vec()),
        }
    }

    /// The key is what its parts make together.
    fn put(&mut self, family: FamilyId, key: &[&[u8]], value: &[u8]) {
        self.operation(PUT, family);
        append(self.bytes.bytes(), key);
        append(self.bytes.bytes(), &[value]);
    }

    fn put_gathered(&mut self, family: FamilyId, key: &[u8], value: &Gather) {
        self.operation(PUT, family);
        append(self.bytes.bytes(), &[key]);
        append_length(self.bytes.bytes(), value.len());
        self.bytes.extend(value);
    }

    fn delete(&mut self, family: FamilyId, key: &[&[u8]]) {
        self.operation(DELETE, family);
        append(self.bytes.bytes(), key);
    }

    fn delete_range(&mut self, family: FamilyId, from: &[u8], to: &[u8]) {
        self.operation(DELETE_RANGE, family);
        append(self.bytes.bytes(), &[from]);
        append(self.bytes.bytes(), &[to]);
    }

    fn operation(&mut self, [default, other]: [u8; 2], family: FamilyId) {
        self.count += 1;
        let bytes = self.bytes.bytes();
        bytes[8..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        match family {
            FamilyId::Records => bytes.push(default),
            _ => bytes.extend([other, family as u8]),
        }
    }
}

/// Where in its batch a record is.
#[derive(Clone, Copy, Debug)]
pub struct RecordPosition(usize);

/// A key of an index, see [`record::index_key`], that nobody allocates for.
struct IndexKey<'a> {
    database: &'a [u8],
    time: [u8; 8],
    rest: &'a [u8],
}

fn index_key(time_ms: u64, record_key: &[u8]) -> IndexKey<'_> {
    let (database, rest) = record_key.split_at(record_key.len().min(1));
    IndexKey { database, time: time_ms.to_be_bytes(), rest }
}

impl IndexKey<'_> {
    fn parts(&self) -> [&[u8]; 3] {
        [self.database, &self.time, self.rest]
    }
}

/// The length of all parts as a base-128 number, lowest digits first, and the parts.
fn append(into: &mut Vec<u8>, parts: &[&[u8]]) {
    append_length(into, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| into.extend_from_slice(part));
}

#[inline]
fn append_length(into: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}

/// What [`append`] has put at the beginning.
fn first_part(bytes: &[u8]) -> &[u8] {
    let (mut length, mut at) = (0, 0);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << (7 * at);
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return &bytes[at..at + length];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};
    use crate::store::record::{LongKeys, RecordKey};
    use crate::store::rocks::tests::{Scratch, record as encoded};

    #[test]
    fn the_bytes_are_those_of_rocksdbs_own_encoder() {
        let scratch = Scratch::new();
        let rocks = scratch.open();
        let long = vec![b'k'; 20_000];
        assert!(Batch::default().is_empty() && Batch::with_table().is_empty());
        let mut batch = Batch::default();
        let mut expected = WriteBatch::default();
        rocks.with_families(|[records, meta, expiry, age, elements]| {
            for bytes in [&b"a"[..], b"", &long] {
                let key = RecordKey::encoded(LongKeys::Digest, 1, 2, 3, bytes);
                let (timed, value) = (record::index_key(7, &key), encoded(None, 9, bytes));
                batch.put_record(&key, &value);
                let put = batch.last_record();
                batch.delete_record(&key);
                for place in [put, batch.last_record()] {
                    assert_eq!(batch.record_key(place), key);
                }
                batch.put_expiry(7, &key, 5, 8);
                batch.delete_expiry(7, &key);
                batch.put_age(7, &key, 5, None);
                batch.delete_age(7, &key);
                expected.put_cf(records, &key, &value);
                expected.delete_cf(records, &key);
                expected.put_cf(expiry, &timed, [5, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
                expected.delete_cf(expiry, &timed);
                expected.put_cf(age, &timed, 5_u32.to_le_bytes());
                expected.delete_cf(age, &timed);
            }
            let large = Chunks::from(&vec![b'l'; 3 * LARGE_BYTES][..]);
            let mut record = Gather::default();
            record.bytes().extend_from_slice(b"head");
            record.put(BytesRef::Chunks(&large));
            batch.put_gathered_record(&long, &record);
            assert_eq!(batch.record_key(batch.last_record()), long);
            expected.put_cf(records, &long, [&b"head"[..], &vec![b'l'; 3 * LARGE_BYTES]].concat());
            let slot = SlotMeta { keys: 4, ..SlotMeta::default() };
            batch.put_slot_meta(3, 4, &slot);
            expected.put_cf(meta, record::slot_key(3, 4), slot.encode());
            batch.delete_database(3);
            for family in [records, expiry, age, elements] {
                expected.delete_range_cf(family, [3], [4]);
            }
            batch.delete_slot(3, 0x0102);
            for family in [records, elements] {
                expected.delete_range_cf(family, [3, 1, 2], [3, 1, 3]);
            }
            expected.delete_cf(meta, record::slot_key(3, 0x0102));
            batch.delete_records_before(3, 0x01ff, &[3, 1, 255, 7]);
            expected.delete_range_cf(records, &[3, 1, 255][..], &[3, 1, 255, 7][..]);
            let mut leaf = Gather::default();
            leaf.bytes().extend_from_slice(b"length");
            leaf.put(BytesRef::Chunks(&large));
            leaf.bytes().push(7);
            let leaf_key = LeafKey { database: 1, slot: 2, collection: 3, leaf: b"leaf" }.encoded();
            batch.put_leaf(&leaf_key, &leaf);
            expected.put_cf(elements, &leaf_key, leaf.to_vec());
            batch.delete_leaf(&leaf_key);
            expected.delete_cf(elements, &leaf_key);
            batch.delete_leaves(1, 2, 3);
            let prefix = LeafKey::prefix(1, 2, 3);
            expected.delete_range_cf(elements, prefix, LeafKey::prefix(1, 2, 4));
            let value = ValueSummary { bytes: 5, collection: Some(6) };
            batch.put_age(7, &long, value, None);
            let numbers = [0_u64, 6, 5].map(u64::to_le_bytes);
            expected.put_cf(age, record::index_key(7, &long), [&[0; 4], &numbers.concat()[..]].concat());
            batch.put_age_index(Some(AgeIndex { is_complete: true, disk_bytes_a_byte: 2.0 }));
            expected.put_cf(meta, AGE_KEY, [1, 0, 0, 0, 0, 0, 0, 0, 64]);
            batch.put_age_index(None);
            expected.delete_cf(meta, AGE_KEY);
            batch.delete_ages();
            expected.delete_range_cf(age, [0], [u8::MAX]);
            batch.put_order(&[1, 0]);
            expected.put_cf(meta, ORDER_KEY, [1, 0]);
        });
        assert!(batch.write_batch().data() == expected.data());
        assert_eq!(batch.write_batch().size_in_bytes(), expected.size_in_bytes());
        assert_eq!(batch.write_batch().len(), expected.len());
    }
}
