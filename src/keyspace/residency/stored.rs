//! The keys of a slot that are on disk, as a walk meets them.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::super::memory::databases::Databases;
use super::super::memory::entry::{Content, Entry};
use super::super::memory::key::Caller;
use super::super::memory::locked::LockedSlot;
use super::super::memory::recency::Recency;
use super::super::memory::table::TOKEN_BITS;
use crate::base::chunks::BytesRef;
use crate::store::collection::HEAD;
use crate::store::record::{Record, RecordKey};
use crate::store::rocks::{Rocks, RocksError};
use crate::types::Value;

/// A step of a walk reads no more bytes than that, or else the records of one token.
const BYTES_MAX: usize = 1 << 20;
/// If so many keys have expired that were not deleted yet, records are read for their expiry.
const DUE_MAX: usize = 1024;

/// A token within a slot.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    pub physical: u8,
    pub slot: u16,
    pub token: u32,
}

/// Keys of one slot, in the order of their tokens.
#[derive(Default)]
pub struct Stored {
    /// With their values, or empty ones if these were not to be read.
    pub entries: Vec<(u32, Entry)>,
    /// There may be more from this token on.
    pub next: Option<u32>,
    bytes: usize,
}

impl Stored {
    /// Reads `about` so many, and all others of the last one's token; fewer if they are large.
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
    /// there. `None`: that are too many, or the type of such a value cannot be told without reading it.
    fn read_keys(store: &Rocks, position: Position, about: usize, now_ms: u64) -> Result<Option<Stored>, RocksError> {
        let Some(kind_in_blobs) = Value::kind_of_large_record() else { return Ok(None) };
        let mut stored = Stored::default();
        let Position { physical, slot, .. } = position;
        let due = store.scan_slot_keys(physical, slot, first_hash(position), (now_ms, DUE_MAX), |key, record| {
            stored.add(key, about, key.key.len(), |key| match record {
                Some(record) => entry(key, record, false),
                None => Ok(Entry::new(key, empty(kind_in_blobs)?, None, Recency::from_bits(0))),
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
        let token = key.hash >> (u32::BITS - TOKEN_BITS);
        let is_enough = self.entries.len() >= about || self.bytes >= BYTES_MAX;
        if is_enough && self.entries.last().is_some_and(|(last, _)| *last < token) {
            self.next = Some(token);
            return Ok(ControlFlow::Break(()));
        }
        self.bytes += bytes;
        self.entries.push((token, entry(key.key)?));
        Ok(ControlFlow::Continue(()))
    }
}

/// Has `look` look at a locked slot, with the keys of it from a token on that are on disk alone: `about` so many, and all
/// others of the last one's token. They are read before the lock is taken, so that nobody waits at it for the disk; no
/// entry leaves the slot's memory meanwhile, or they would have to be read anew. `None`: there may be some, and they may
/// not be read.
pub fn with_stored<T>(
    databases: &Databases,
    caller: Caller,
    position: Position,
    about: usize,
    with_values: bool,
    may_read: bool,
    look: impl FnOnce(&mut LockedSlot<'_>, Stored) -> T,
) -> Result<Option<T>, RocksError> {
    let mut guard = databases.lock_slot(caller, position.physical, position.slot);
    let Some(tier) = databases.tier().filter(|_| guard.slot.cold > 0) else {
        return Ok(Some(look(&mut guard, Stored::default())));
    };
    if !may_read {
        return Ok(None);
    }
    let flushed_at = guard.slot.differences.flushed_at;
    guard.pin();
    drop(guard);
    let stored = Stored::read(&tier.store, position, about, with_values, caller.now_ms);
    let mut guard = databases.lock_slot(caller, position.physical, position.slot);
    // What has come since a flush is in memory.
    let is_flushed = guard.slot.differences.flushed_at != flushed_at;
    let looked = stored.map(|stored| Some(look(&mut guard, if is_flushed { Stored::default() } else { stored })));
    guard.unpin();
    looked
}

fn first_hash(position: Position) -> u32 {
    position.token << (u32::BITS - TOKEN_BITS)
}

fn entry(key: &[u8], record: &[u8], with_value: bool) -> Result<Entry, RocksError> {
    let record = Record::decode(record).map_err(|error| RocksError::corruption(error.to_string()))?;
    let content = match with_value {
        true => {
            Content::from_record(record.kind, BytesRef::Slice(record.payload)).ok_or_else(|| unknown(record.kind))?
        }
        false => empty(record.kind & !HEAD)?,
    };
    Ok(Entry::new(key, content, record.expiry_ms, Recency::from_bits(0)))
}

/// What stands for a value of the type that was not read.
fn empty(kind: u8) -> Result<Content<'static>, RocksError> {
    Content::empty(kind).ok_or_else(|| unknown(kind))
}

fn unknown(kind: u8) -> RocksError {
    RocksError::corruption(format!("unknown type {kind}"))
}
