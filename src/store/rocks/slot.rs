//! Deleting all that the disk has of one slot.
//!
//! Its records and its leaves are a range each, which cost the same whatever is in them. What the indexes have of them is
//! scattered, since they are in the order of time: it is found by walking over the records, and only where there is any. A
//! slot with more records than a piece is deleted piece by piece, each of which leaves a slot that is smaller, and whole: its
//! counts and the indexes tell what is left.

use std::ops::ControlFlow;

use super::batch::Batch;
use super::database::Rocks;
use super::error::RocksError;
use super::families::{RECORDS, after_prefix};
use super::read::{long_key, sequential};
use crate::store::collection;
use crate::store::record::{self, Record, RecordKey, SlotMeta};

/// What one batch deletes at most of what the indexes have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub records: usize,
    /// Of keys.
    pub bytes: usize,
}

const PIECE: Piece = Piece { records: 20_000, bytes: 4 << 20 };

impl Rocks {
    /// Deletes a slot of a database: records, leaves, what the indexes have of them, and its counts. Whatever happens meanwhile,
    /// each key is there with all that belongs to it, or gone. `sequence` is the number of the slot's last change, for a slot
    /// of which the journal may hold changes yet: none of them up to that number is replayed. 0: the slot was never there.
    ///
    /// Nobody may write to the slot meanwhile, nor keep anything of it in memory. It is not synced.
    ///
    /// # Errors
    /// When it cannot be read or written. What is left then is a whole slot, and the call can be repeated.
    pub fn delete_slot(&self, database: u8, slot: u16, sequence: u64) -> Result<(), RocksError> {
        self.delete_slot_by(PIECE, database, slot, sequence, &mut || ())
    }

    /// Calls `written` after each piece but the last.
    pub(super) fn delete_slot_by(
        &self,
        piece: Piece,
        database: u8,
        slot: u16,
        sequence: u64,
        written: &mut dyn FnMut(),
    ) -> Result<(), RocksError> {
        let mut left = self.slot_meta(database, slot)?.unwrap_or_default();
        let has_ages = self.age_index()?.is_some();
        let is_indexed = left.expiring > 0 || has_ages;
        let mut batch = Batch::default();
        while is_indexed && let Some(to) = self.take_piece(piece, (database, slot), has_ages, &mut left, &mut batch)? {
            batch.delete_records_before(database, slot, &to);
            batch.put_slot_meta(database, slot, &left);
            self.write(&batch)?;
            batch = Batch::default();
            written();
        }
        batch.delete_slot(database, slot);
        if sequence > 0 {
            batch.put_slot_meta(database, slot, &SlotMeta { sequence, ..SlotMeta::default() });
        }
        self.write(&batch)
    }

    /// Has `batch` delete what the indexes have of the first records of a slot, and their leaves, and takes them off the counts.
    /// Returns the key of the record behind them; `None`: there is none.
    fn take_piece(
        &self,
        piece: Piece,
        (database, slot): (u8, u16),
        has_ages: bool,
        left: &mut SlotMeta,
        batch: &mut Batch,
    ) -> Result<Option<Vec<u8>>, RocksError> {
        let prefix = record::slot_prefix(database, slot);
        let (mut records, mut bytes, mut next) = (0, 0, None);
        self.scan(RECORDS, &prefix, &after_prefix(&prefix), sequential(), |key, value| {
            if records >= piece.records || bytes >= piece.bytes {
                next = Some(key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            let corrupt = |error: record::RecordError| RocksError::corruption(error.to_string());
            let record = Record::decode(value).map_err(corrupt)?;
            let summary = collection::summary(&record).map_err(corrupt)?;
            if let Some(expiry_ms) = record.expiry_ms {
                batch.delete_expiry(expiry_ms, key);
                left.expiring = left.expiring.saturating_sub(1);
            }
            if has_ages {
                batch.delete_age(record.written_ms, key);
            }
            if let Some(collection) = summary.collection {
                batch.delete_leaves(database, slot, collection);
            }
            let own_key = &key[RecordKey::PREFIX_BYTES..];
            let key_bytes = if self.long_keys().is_long(own_key) { long_key(value)?.len() } else { own_key.len() };
            left.keys = left.keys.saturating_sub(1);
            left.key_bytes = left.key_bytes.saturating_sub(key_bytes as u64);
            left.value_bytes = left.value_bytes.saturating_sub(summary.bytes);
            records += 1;
            bytes += key.len();
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(next)
    }
}
