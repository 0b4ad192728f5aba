//! The keys of a slot that are on disk, as a walk meets them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::entry::{Content, Entry};
use super::recency::Recency;
use super::scan::Position;
use super::table::PLACE_BITS;
use crate::base::chunks::BytesRef;
use crate::store::record::{Record, RecordKey};
use crate::store::rocks::{Rocks, RocksError};

/// A step of a walk reads no more bytes than that, or else the records of one place.
const BYTES_MAX: usize = 1 << 20;
/// If so many keys have expired that were not deleted yet, records are read for their expiry.
const DUE_MAX: usize = 1024;

/// Keys of one slot, in the order of their places.
#[derive(Default)]
pub(super) struct Stored {
    /// With their values, or empty ones if these were not to be read.
    pub entries: Vec<(u32, Entry)>,
    /// There may be more from this place on.
    pub next: Option<u32>,
    bytes: usize,
}

impl Stored {
    /// Reads `about` so many, and all others of the last one's place; fewer if they are large.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(
        store: &Rocks,
        position: Position,
        about: usize,
        with_values: bool,
        now_ms: u64,
    ) -> Result<Stored, RocksError> {
        if !with_values && let Some(stored) = Stored::read_keys(store, position, about, now_ms)? {
            return Ok(stored);
        }
        let mut stored = Stored::default();
        store.scan_slot(position.physical, position.slot, first_hash(position), |key, record| {
            stored.add(key, about, record.len(), |key| entry(key, record, with_values))
        })?;
        Ok(stored)
    }

    /// The same without what lies in blob files. The index of expiries tells which of those keys have expired and are still
    /// there. `None`: that are too many.
    fn read_keys(store: &Rocks, position: Position, about: usize, now_ms: u64) -> Result<Option<Stored>, RocksError> {
        let mut stored = Stored::default();
        let Position { physical, slot, .. } = position;
        let due = store.scan_slot_keys(physical, slot, first_hash(position), (now_ms, DUE_MAX), |key, record| {
            stored.add(key, about, key.key.len(), |key| match record {
                Some(record) => entry(key, record, false),
                None => Ok(Entry::new(key, EMPTY, None, Recency::from_bits(0))),
            })
        })?;
        if due.len() == DUE_MAX {
            return Ok(None);
        }
        let due = due.iter().map(|due| (&due.record_key[RecordKey::PREFIX_BYTES..], due.time_ms));
        let due: HashMap<&[u8], u64> = due.collect();
        for (_, entry) in &mut stored.entries {
            if let Some(expiry_ms) = due.get(entry.key()) {
                entry.set_expiry(Some(*expiry_ms));
            }
        }
        Ok(Some(stored))
    }

    /// Takes a key in; breaks off where there are enough.
    fn add(
        &mut self,
        key: &RecordKey<'_>,
        about: usize,
        bytes: usize,
        entry: impl FnOnce(&[u8]) -> Result<Entry, RocksError>,
    ) -> Result<ControlFlow<()>, RocksError> {
        let place = key.hash >> (u32::BITS - PLACE_BITS);
        let is_enough = self.entries.len() >= about || self.bytes >= BYTES_MAX;
        if is_enough && self.entries.last().is_some_and(|(last, _)| *last < place) {
            self.next = Some(place);
            return Ok(ControlFlow::Break(()));
        }
        self.bytes += bytes;
        self.entries.push((place, entry(key.key)?));
        Ok(ControlFlow::Continue(()))
    }
}

/// What blob files hold are strings: a key in one shows an empty one where its record was not read.
const EMPTY: Content<'static> = Content::Inline(&[]);

fn first_hash(position: Position) -> u32 {
    position.place << (u32::BITS - PLACE_BITS)
}

fn entry(key: &[u8], record: &[u8], with_value: bool) -> Result<Entry, RocksError> {
    let record = Record::decode(record).map_err(|error| RocksError::corruption(error.to_string()))?;
    let content = Content::from_record(record.kind, BytesRef::Slice(record.payload))
        .ok_or_else(|| RocksError::corruption(format!("unknown type {}", record.kind)))?;
    let content = if with_value { content } else { EMPTY };
    Ok(Entry::new(key, content, record.expiry_ms, Recency::from_bits(0)))
}
