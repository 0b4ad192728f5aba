use rocksdb::WriteBatch;

use super::{FAMILIES, Family, ORDER_KEY, Rocks, after_prefix};
use crate::store::record::{self, SlotMeta};

/// What one atomic write does. It is a recipe, so that it can be tried again.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Action {
    Put,
    Delete,
    DeleteRange,
}

/// The key ends, and the value begins, `key_bytes` after the start in `bytes`.
struct Step {
    family: Family,
    action: Action,
    start: usize,
    key_bytes: u32,
    value_bytes: u32,
}

impl Batch {
    fn add(&mut self, family: Family, action: Action, key: &[&[u8]], value: &[u8]) {
        let start = self.bytes.len();
        key.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let key_bytes = (self.bytes.len() - start) as u32;
        self.bytes.extend_from_slice(value);
        self.steps.push(Step { family, action, start, key_bytes, value_bytes: value.len() as u32 });
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn put_record(&mut self, record_key: &[u8], record: &[u8]) {
        self.add(Family::Records, Action::Put, &[record_key], record);
    }

    pub fn delete_record(&mut self, record_key: &[u8]) {
        self.add(Family::Records, Action::Delete, &[record_key], &[]);
    }

    pub fn put_expiry(&mut self, expiry_ms: u64, record_key: &[u8], value_bytes: usize) {
        let value = (value_bytes as u32).to_le_bytes();
        self.add(Family::Expiry, Action::Put, &[&record::index_key(expiry_ms, record_key)], &value);
    }

    pub fn delete_expiry(&mut self, expiry_ms: u64, record_key: &[u8]) {
        self.add(Family::Expiry, Action::Delete, &[&record::index_key(expiry_ms, record_key)], &[]);
    }

    pub fn put_age(&mut self, written_ms: u64, record_key: &[u8]) {
        self.add(Family::Age, Action::Put, &[&record::index_key(written_ms, record_key)], &[]);
    }

    pub fn delete_age(&mut self, written_ms: u64, record_key: &[u8]) {
        self.add(Family::Age, Action::Delete, &[&record::index_key(written_ms, record_key)], &[]);
    }

    pub fn put_slot_meta(&mut self, database: u8, slot: u16, meta: &SlotMeta) {
        self.add(Family::Meta, Action::Put, &[&record::slot_key(database, slot)], &meta.encode());
    }

    /// Which database lies where.
    pub fn put_order(&mut self, order: &[u8]) {
        self.add(Family::Meta, Action::Put, &[ORDER_KEY], order);
    }

    /// Deletes all records of a database, and what the indexes have of them.
    pub fn delete_database(&mut self, database: u8) {
        for family in [Family::Records, Family::Expiry, Family::Age] {
            self.add(family, Action::DeleteRange, &[&[database]], &after_prefix(&[database]));
        }
    }

    pub(super) fn write_to(&self, writes: &mut WriteBatch, rocks: &Rocks) {
        let families = FAMILIES.map(|family| rocks.family(family));
        for step in &self.steps {
            let (key, rest) = self.bytes[step.start..].split_at(step.key_bytes as usize);
            let (value, family) = (&rest[..step.value_bytes as usize], families[step.family as usize]);
            match step.action {
                Action::Put => writes.put_cf(family, key, value),
                Action::Delete => writes.delete_cf(family, key),
                Action::DeleteRange => writes.delete_range_cf(family, key, value),
            }
        }
    }
}
