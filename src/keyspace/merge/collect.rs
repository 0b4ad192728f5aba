//! Taking what differs in a slot into a round.

use super::super::memory::counts::Size;
use super::super::memory::entry::Marks;
use super::super::memory::locked::LockedSlot;
use super::super::memory::table::Index;
use super::round::Round;
use crate::store::record::SlotMeta;

/// So many entries are fetched from memory at a time, before a round takes them.
const COLLECTED_TOGETHER: usize = 16;

impl Round {
    /// Takes what differs in this slot into a round, unless this round has had it.
    pub fn collect(&mut self, slot: &mut LockedSlot<'_>) {
        if slot.slot.differences.round == self.number {
            // What has come since belongs to the next round.
            slot.slots.set_dirty(slot.number);
            return;
        }
        slot.slot.differences.round = self.number;
        slot.slot.differences.may_be_stored = true;
        let mut dirty = std::mem::take(&mut slot.slot.differences.dirty);
        // In the order of the records, which RocksDB takes twice as fast.
        dirty.sort_unstable();
        let mut expiries = std::mem::take(&mut slot.slot.differences.stored_expiries);
        let dirty_bytes = std::mem::take(&mut slot.slot.differences.dirty_bytes);
        slot.database.counts.add_dirty(slot.number, -(dirty.len() as i64), -(dirty_bytes as i64));
        self.taken_bytes += dirty_bytes as u64;
        expiries.sort_unstable();
        let deleted_before = slot.slot.differences.deleted;
        dirty.dedup();
        for tokens in dirty.chunks(COLLECTED_TOGETHER) {
            tokens.iter().for_each(|token| slot.slot.table.prefetch_cells(*token));
            tokens.iter().for_each(|token| slot.slot.table.prefetch_entry(*token));
            for token in tokens {
                // Together with all others of its token; or its entry has gone meanwhile, and there is nothing to write.
                for index in slot.slot.table.indexes_of(*token) {
                    if slot.slot.table.get(index).marks().has(Marks::DIRTY) {
                        self.collect_entry(slot, index, &expiries);
                    }
                }
            }
        }
        let size = Size::from(slot.slot.size);
        let meta = SlotMeta {
            sequence: slot.slot.sequence,
            keys: size.keys,
            expiring: size.expiring,
            key_bytes: size.key_bytes,
            value_bytes: size.value_bytes,
        };
        self.slot(slot.physical, slot.number, meta, deleted_before > 0);
    }

    fn collect_entry(&mut self, slot: &mut LockedSlot<'_>, index: Index, expiries: &[(u64, u64)]) {
        let entry = slot.slot.table.get(index);
        let marks = entry.marks();
        let hash = slot.databases.key_hash(entry.key()).hash;
        self.begin_key(slot.physical, slot.number, hash, entry.key());
        let from = expiries.partition_point(|(other, _)| *other < hash);
        for (_, expiry_ms) in expiries[from..].iter().take_while(|(other, _)| *other == hash) {
            self.forget_expiry(*expiry_ms);
        }
        let is_deleted = marks.has(Marks::DELETED);
        if is_deleted {
            self.delete();
        } else {
            self.put(entry.encoded(), entry.expiry_ms());
        }
        if marks.has(Marks::BLIND) {
            self.note_blind(entry.expiry_ms(), !is_deleted);
        } else if marks.has(Marks::STORED) {
            self.replaced(!is_deleted);
        }
        let marks = if is_deleted { Marks::STORED.with(Marks::DELETED) } else { Marks::STORED };
        slot.slot.table.get_mut(index).set_marks(marks.taken_by(self.number));
    }
}
