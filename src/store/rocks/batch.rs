//! A batch of changes: whole in RocksDB after a crash, or absent.

use rocksdb::WriteBatch;

use super::FamilyId;
use crate::store::record::{ORDER_KEY, Order, RecordKey, SlotMeta, TimedKey, database_bounds};

/// RocksDB's tags of operations: in the default column family, and in one whose number follows.
const DELETE: [u8; 2] = [0x0, 0x4];
const PUT: [u8; 2] = [0x1, 0x5];
const DELETE_RANGE: [u8; 2] = [0xf, 0xe];
/// A sequence number, which RocksDB sets, and the count of operations.
const HEADER_BYTES: usize = 12;

/// Changes that are to be written as one. Its buffer is reused; it belongs to no open database.
///
/// It writes RocksDB's serialised form itself (what `WriteBatch::data` shows and `from_data` takes), since a call into
/// C++ for each of the 50,000 operations of a round would cost the merger more than encoding them.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { bytes: vec![0; HEADER_BYTES], count: 0, key: Vec::new(), value: Vec::new() }
    }
}

impl Batch {
    /// How many operations it holds.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the log will take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.bytes.fill(0);
        self.count = 0;
    }

    /// `record` appends the record's bytes to the buffer that it is given.
    pub fn put_record_with(&mut self, key: &RecordKey, record: impl FnOnce(&mut Vec<u8>)) {
        self.encode_key(key);
        self.value.clear();
        record(&mut self.value);
        self.operation(PUT, FamilyId::Records);
        append(&mut self.bytes, &self.key);
        append(&mut self.bytes, &self.value);
    }

    pub fn put_record(&mut self, key: &RecordKey, record: &[u8]) {
        self.encode_key(key);
        self.put(FamilyId::Records, record);
    }

    pub fn delete_record(&mut self, key: &RecordKey) {
        self.encode_key(key);
        self.delete(FamilyId::Records);
    }

    pub fn put_slot_meta(&mut self, database: u8, slot: u16, meta: &SlotMeta) {
        self.operation(PUT, FamilyId::Meta);
        append(&mut self.bytes, &SlotMeta::key(database, slot));
        append(&mut self.bytes, &meta.encode());
    }

    /// `length_bytes` is that of the record's payload: whoever sweeps needs it, and not the record.
    pub fn put_expiry(&mut self, expiry_ms: u64, key: &RecordKey, length_bytes: u32) {
        self.encode_timed(expiry_ms, key);
        self.put(FamilyId::Expiry, &length_bytes.to_le_bytes());
    }

    pub fn delete_expiry(&mut self, expiry_ms: u64, key: &RecordKey) {
        self.encode_timed(expiry_ms, key);
        self.delete(FamilyId::Expiry);
    }

    /// Deletes the entries that expire at `from_ms` or later, and before `to_ms`, in all databases.
    pub fn delete_expiry_range(&mut self, from_ms: u64, to_ms: u64) {
        self.delete_range(FamilyId::Expiry, &from_ms.to_be_bytes(), &to_ms.to_be_bytes());
    }

    pub fn put_age(&mut self, written_ms: u64, key: &RecordKey) {
        self.encode_timed(written_ms, key);
        self.put(FamilyId::Age, &[]);
    }

    pub fn delete_age(&mut self, written_ms: u64, key: &RecordKey) {
        self.encode_timed(written_ms, key);
        self.delete(FamilyId::Age);
    }

    /// Deletes the entries written at `from_ms` or later, and before `to_ms`, in all databases.
    pub fn delete_age_range(&mut self, from_ms: u64, to_ms: u64) {
        self.delete_range(FamilyId::Age, &from_ms.to_be_bytes(), &to_ms.to_be_bytes());
    }

    /// Deletes a database's records and slot metas. Its entries in the two indexes, which are ordered by time, stay until
    /// whoever follows one finds no record.
    pub fn delete_database(&mut self, database: u8) {
        let (from, to) = database_bounds(database);
        self.delete_range(FamilyId::Records, &from, &to);
        self.delete_range(FamilyId::Meta, &[b's', from[0]], &[b's', to[0], to[1]]);
    }

    /// Deletes every record, slot meta and index entry; the databases' order stays.
    pub fn delete_all(&mut self) {
        // No record's key begins with 0xff, and no time does before the year 584 million.
        self.delete_range(FamilyId::Records, &[], &[0xff]);
        self.delete_range(FamilyId::Meta, b"s", b"t");
        self.delete_range(FamilyId::Expiry, &[], &[0xff]);
        self.delete_range(FamilyId::Age, &[], &[0xff]);
    }

    pub fn put_order(&mut self, order: &Order) {
        self.operation(PUT, FamilyId::Meta);
        append(&mut self.bytes, ORDER_KEY);
        append(&mut self.bytes, order);
    }

    pub(super) fn put_meta(&mut self, key: &[u8], value: &[u8]) {
        self.operation(PUT, FamilyId::Meta);
        append(&mut self.bytes, key);
        append(&mut self.bytes, value);
    }

    pub(super) fn put_empty(&mut self, family: FamilyId) {
        self.key.clear();
        self.put(family, &[]);
    }

    pub(super) fn write_batch(&self) -> WriteBatch {
        WriteBatch::from_data(&self.bytes)
    }

    fn encode_key(&mut self, key: &RecordKey) {
        self.key.clear();
        key.encode(&mut self.key);
    }

    fn encode_timed(&mut self, at_ms: u64, key: &RecordKey) {
        self.key.clear();
        TimedKey { at_ms, record: *key }.encode(&mut self.key);
    }

    fn put(&mut self, family: FamilyId, value: &[u8]) {
        self.operation(PUT, family);
        append(&mut self.bytes, &self.key);
        append(&mut self.bytes, value);
    }

    fn delete(&mut self, family: FamilyId) {
        self.operation(DELETE, family);
        append(&mut self.bytes, &self.key);
    }

    fn delete_range(&mut self, family: FamilyId, from: &[u8], to: &[u8]) {
        self.operation(DELETE_RANGE, family);
        append(&mut self.bytes, from);
        append(&mut self.bytes, to);
    }

    fn operation(&mut self, [default, other]: [u8; 2], family: FamilyId) {
        self.count += 1;
        self.bytes[8..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        match family {
            FamilyId::Records => self.bytes.push(default),
            _ => self.bytes.extend([other, family as u8]),
        }
    }
}

/// A length as a base-128 number, lowest digits first, and the bytes.
fn append(into: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
    into.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rocks::tests::{Scratch, key, record};

    #[test]
    fn the_bytes_are_those_of_rocksdbs_own_encoder() {
        let scratch = Scratch::new();
        let rocks = scratch.open();
        let long = vec![b'k'; 20_000];
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for round in 0..2 {
            batch.clear();
            let mut expected = WriteBatch::default();
            rocks.with_families(|[records, meta, expiry, age]| {
                for bytes in [&b"a"[..], b"", &long] {
                    let key = key(1, 2, 3, bytes);
                    let (mut encoded, mut timed) = (Vec::new(), Vec::new());
                    key.encode(&mut encoded);
                    TimedKey { at_ms: 7, record: key }.encode(&mut timed);
                    let value = record(None, 9, bytes);
                    batch.put_record(&key, &value);
                    batch.put_record_with(&key, |into| into.extend(&value));
                    batch.delete_record(&key);
                    batch.put_expiry(7, &key, 5);
                    batch.delete_expiry(7, &key);
                    batch.put_age(7, &key);
                    batch.delete_age(7, &key);
                    expected.put_cf(records, &encoded, &value);
                    expected.put_cf(records, &encoded, &value);
                    expected.delete_cf(records, &encoded);
                    expected.put_cf(expiry, &timed, 5_u32.to_le_bytes());
                    expected.delete_cf(expiry, &timed);
                    expected.put_cf(age, &timed, b"");
                    expected.delete_cf(age, &timed);
                }
                let slot = SlotMeta { keys: 4, ..SlotMeta::default() };
                batch.put_slot_meta(3, 4, &slot);
                expected.put_cf(meta, SlotMeta::key(3, 4), slot.encode());
                batch.delete_expiry_range(1, 2);
                expected.delete_range_cf(expiry, 1_u64.to_be_bytes(), 2_u64.to_be_bytes());
                batch.delete_age_range(1, 2);
                expected.delete_range_cf(age, 1_u64.to_be_bytes(), 2_u64.to_be_bytes());
                batch.delete_database(3);
                expected.delete_range_cf(records, &[3][..], &[3, 0xff]);
                expected.delete_range_cf(meta, &b"s\x03"[..], b"s\x03\xff");
                let order = Order::default();
                batch.put_order(&order);
                expected.put_cf(meta, ORDER_KEY, order);
            });
            assert!(batch.write_batch().data() == expected.data(), "round {round}");
            assert_eq!((batch.len(), batch.bytes()), (expected.len(), expected.size_in_bytes()));
            assert_eq!(batch.write_batch().len(), expected.len());
        }
    }
}
