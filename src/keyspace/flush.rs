//! What concerns whole databases: FLUSHDB, FLUSHALL, SWAPDB.

use super::disk::tier::Tier;
use super::memory::databases::DATABASES_MIN;
use super::memory::key::Caller;
use super::memory::table::Table;
use super::watch::observer::DatabaseChange;
use super::whole::Keyspace;
use crate::base::clock;
use crate::base::slot::SLOTS;
use crate::store::record::SlotMeta;
use crate::store::rocks::{Batch, RocksError};

/// The content of databases that were flushed.
pub struct Flushed(#[allow(dead_code, reason = "it is there to be dropped")] Vec<Table>);

impl Keyspace {
    /// Exchanges two databases. The caller holds the gate exclusively.
    ///
    /// # Errors
    /// When the disk does not take it; then nothing has changed.
    pub fn swap(&self, one: usize, other: usize) -> Result<(), RocksError> {
        let mut order: Vec<u8> = (0..self.databases()).map(|number| self.physical(number)).collect();
        order.swap(one, other);
        if let Some(tier) = self.tier() {
            self.bring_down(tier)?;
            let mut batch = Batch::default();
            // Those that are in their own place are not told, so that fewer databases do at the next start.
            let is_own = |number: usize| usize::from(order[number]) == number;
            let told = (DATABASES_MIN..order.len()).rev().find(|number| !is_own(*number));
            batch.put_order(&order[..told.map_or(DATABASES_MIN, |last| last + 1)]);
            tier.store.write(&batch)?;
            tier.store.flush_wal(self.syncs())?;
        }
        self.set_order(&order);
        self.observers.databases_changed(DatabaseChange::Swapped(one, other));
        Ok(())
    }

    /// What came before a change of whole databases, which goes to disk at once, must not be lost where that is not: it
    /// gets into the journal, or where there is none, to disk as well.
    fn bring_down(&self, tier: &Tier) -> Result<(), RocksError> {
        if !tier.is_journaling() || self.merger.lock(tier, &|| true)?.unwritten.is_some() {
            return self.merge(clock::now_ms(), || true).map(drop);
        }
        tier.bring_journal_up(self.syncs());
        Ok(())
    }

    /// Empties databases and returns what was in them, for the caller to drop where it disturbs nobody. The caller holds
    /// the gate exclusively.
    ///
    /// # Errors
    /// When the disk does not take it; then nothing has changed.
    pub fn flush(&self, databases: std::ops::Range<usize>) -> Result<Flushed, RocksError> {
        if let Some(tier) = self.tier().filter(|_| databases.clone().any(|number| self.differs_from_flushed(number))) {
            self.bring_down(tier)?;
        }
        // No round is under way: what one has taken would come back.
        let mut merger = self.tier().map(|tier| self.merger.lock(tier, &|| true)).transpose()?;
        if merger.as_ref().is_some_and(|merger| merger.unwritten.is_some()) {
            return Err(RocksError::not_tried("what has changed last could not be written".to_owned()));
        }
        let physical = || databases.clone().map(|number| self.physical(number));
        let stored = self.flush_disk(physical())?;
        if let (Some(tier), Some(merger)) = (self.tier(), &mut merger)
            && !stored.is_empty()
        {
            merger.flushed.extend(stored);
            tier.requests.round();
        }
        let caller = Caller { now_ms: 0, touches: false };
        let mut flushed = Vec::new();
        for physical in physical() {
            let database = &self.databases.all[usize::from(physical)];
            if database.slots.get().is_none() {
                continue;
            }
            for slot in 0..SLOTS {
                let (table, keys) = self.lock_slot(caller, physical, slot).clear();
                self.stats.shard().changes.add(keys);
                if table.len() > 0 {
                    flushed.push(table);
                }
            }
            // Nobody can have added a key meanwhile, and what expired meanwhile was still counted off under its slot's
            // lock.
            database.counts.clear();
            self.observers.databases_changed(DatabaseChange::Flushed(physical));
        }
        Ok(Flushed(flushed))
    }

    /// Whether anything has happened to a database since it was flushed last.
    fn differs_from_flushed(&self, number: usize) -> bool {
        let slots = self.database(number).slots.get();
        slots.is_some_and(|slots| {
            slots.slots.iter().any(|slot| {
                let slot = slot.lock();
                slot.sequence != slot.differences.flushed_at || slot.differences.may_be_stored
            })
        })
    }

    /// One batch takes everything of the databases off the disk, and tells the slots' sequence numbers, so that nothing
    /// of what the journal still holds is replayed. Returns the databases that had something there.
    fn flush_disk(&self, databases: impl Iterator<Item = u8>) -> Result<Vec<u8>, RocksError> {
        let Some(tier) = self.tier() else { return Ok(Vec::new()) };
        let (mut batch, mut stored) = (Batch::default(), Vec::new());
        for physical in databases {
            let Some(slots) = self.databases.all[usize::from(physical)].slots.get() else { continue };
            let mut may_be_stored = false;
            for (number, slot) in slots.slots.iter().enumerate() {
                let slot = slot.lock();
                if slot.sequence != slot.differences.flushed_at {
                    let meta = SlotMeta { sequence: slot.sequence, ..SlotMeta::default() };
                    batch.put_slot_meta(physical, number as u16, &meta);
                }
                may_be_stored |= slot.differences.may_be_stored;
            }
            // Ranges that are deleted slow reads down; a database that never got to the disk needs none.
            if may_be_stored {
                batch.delete_database(physical);
                stored.push(physical);
            }
        }
        if !batch.is_empty() {
            tier.store.write(&batch)?;
            tier.store.flush_wal(self.syncs())?;
        }
        Ok(stored)
    }
}
