//! How what is in memory stands to what is on disk.
//!
//! A key's entry in memory and its record on disk are in one of these states. The marks of the entry tell which; all
//! steps happen under the slot's lock.
//!
//! | state | entry | marks | record |
//! |---|---|---|---|
//! | absent | no | | no |
//! | cold | no | | yes, and it is the truth |
//! | clean | yes | STORED | yes, the same |
//! | new | yes | DIRTY | no |
//! | changed | yes | DIRTY STORED | yes, an older one |
//! | blind | yes | DIRTY BLIND | perhaps an older one: the key was set without a look |
//! | deleted | yes, for nothing | DELETED DIRTY, and STORED or BLIND | yes, or perhaps |
//! | leaving | yes, for nothing | DELETED STORED | the round under way deletes it |
//!
//! - *Load*: cold → clean. The record was read without the lock; it is taken only if no entry of the slot has left memory
//!   since before the read (`departures`): as long as a key has no entry, only a departure can have changed its record.
//! - *Write*: absent → new where the slot has no cold keys, else → blind; clean → changed. *Delete*: new → absent; every
//!   other → deleted. *Expiry* is a delete that nobody journals.
//! - *Collect* (a round of the merger takes what differs): new, changed, blind → clean; deleted → leaving. Until the
//!   round is written the slot is *in flight*, and what was taken may not be demoted: its records are not there yet.
//! - *Reconcile*: what the round found blind is looked up; where an older record is, the key was counted twice.
//! - *Commit*: the round is on disk. leaving → absent, a departure.
//! - *Demote* (eviction from memory): clean → cold, a departure; never what the round in flight has taken.
//! - A walk *pins* the slot while it reads its keys from the disk: until it is through, no entry departs, so that of a key
//!   without an entry the record is the truth. (A sweep departs only what has expired, which no walk shows.)
//! - *Discard* (eviction from disk): cold, clean → deleted; never in flight, nor where the entry is newer than the record.
//!
//! `residency_tests` walks through the interleavings of these steps.

use super::super::watch::effect::Effect;
use super::super::watch::event::Event;
use super::counts::{SizeChange, SlotSize};
use super::entry::{Content, Entry, Marks};
use super::key::Key;
use super::locked::LockedSlot;
use super::table::{Index, Table, token};

impl LockedSlot<'_> {
    /// Notes that an entry is about to differ from its record.
    #[inline]
    pub(in crate::keyspace) fn mark_dirty(&mut self, index: Index, hash: u64) {
        if self.databases.tier().is_none() {
            return;
        }
        let entry = self.slot.table.get(index);
        let (marks, expiry_ms, bytes) = (entry.marks(), entry.expiry_ms(), entry.memory_bytes());
        if marks.has(Marks::DIRTY) {
            return;
        }
        if let Some(expiry_ms) = expiry_ms.filter(|_| marks.has(Marks::STORED)) {
            self.slot.differences.stored_expiries.push((hash, expiry_ms));
        }
        self.slot.table.get_mut(index).set_marks(marks.with(Marks::DIRTY));
        self.list_dirty(token(hash), bytes);
    }

    fn list_dirty(&mut self, token: u32, bytes: usize) {
        self.slot.differences.dirty.push(token);
        self.slot.differences.dirty_bytes += bytes;
        self.database.counts.add_dirty(self.number, 1, bytes as i64);
        self.slots.set_dirty(self.number);
    }

    /// Counts that a dirty entry has become larger.
    #[inline]
    pub(in crate::keyspace) fn grew(&mut self, old_bytes: usize, new_bytes: usize) {
        let grown = new_bytes.saturating_sub(old_bytes);
        if grown > 0 && self.databases.tier().is_some() {
            self.slot.differences.dirty_bytes += grown;
            self.database.counts.add_dirty(self.number, 0, grown as i64);
        }
    }

    /// Marks an entry that is about to be inserted for a key that does not exist.
    pub(in crate::keyspace) fn insert_new(&mut self, key: &Key, entry: &mut Entry) {
        let before = if self.slot.differences.deleted > 0 { self.entry(key) } else { None };
        let before = before.map(|index| self.slot.table.get(index).marks());
        let is_all_here = self.slot.cold == 0;
        let marks = match before {
            Some(marks) => marks.without(Marks::DELETED),
            None if is_all_here => Marks::default(),
            None => Marks::BLIND,
        };
        entry.set_marks(marks.with(Marks::DIRTY));
        if before.is_none_or(|marks| !marks.has(Marks::DIRTY)) {
            self.list_dirty(token(key.hash), entry.memory_bytes());
        }
    }

    /// Deletes a live key; what the disk has to be told of that is remembered.
    pub(in crate::keyspace) fn delete(&mut self, index: Index, hash: u64) -> Entry {
        match self.databases.tier() {
            Some(_) if self.needs_tombstone(index) => self.replace_by_tombstone(index, hash),
            _ => self.remove_entry(index),
        }
    }

    pub(in crate::keyspace) fn remove_entry(&mut self, index: Index) -> Entry {
        let token = self.slot.table.token_of(index);
        let entry = self.take_entry(index);
        self.uncount(token, &entry);
        entry
    }

    pub(in crate::keyspace) fn expire(&mut self, index: Index) {
        let hash = self.databases.key_hash(self.slot.table.get(index).key()).hash;
        let entry = self.delete(index, hash);
        self.expired(entry.key());
    }

    /// Whether the disk has to be told when the entry's key is deleted.
    pub(in crate::keyspace) fn needs_tombstone(&self, index: Index) -> bool {
        let marks = self.slot.table.get(index).marks();
        marks.has(Marks::STORED) || marks.has(Marks::BLIND)
    }

    /// Deletes a key that may be on disk: another entry stands for that until the disk knows.
    pub(in crate::keyspace) fn replace_by_tombstone(&mut self, index: Index, hash: u64) -> Entry {
        self.mark_dirty(index, hash);
        let entry = self.slot.table.get(index);
        let mut deleted = Entry::new(entry.key(), Content::Inline(&[]), None, entry.recency());
        deleted.set_marks(entry.marks().with(Marks::DELETED));
        let entry = self.slot.table.replace(index, deleted);
        self.slot.differences.deleted += 1;
        self.uncount(token(hash), &entry);
        entry
    }

    /// Notes that a key is deleted of which nothing is known but that it may be on disk (a replay's delete).
    pub(in crate::keyspace) fn add_blind_tombstone(&mut self, key: &Key) {
        if self.slot.cold == 0 || self.entry(key).is_some() {
            return;
        }
        let mut deleted = self.fresh(key, Content::Inline(&[]), None);
        deleted.set_marks(Marks::DELETED.with(Marks::BLIND).with(Marks::DIRTY));
        self.list_dirty(token(key.hash), deleted.memory_bytes());
        self.add_entry(token(key.hash), deleted);
        self.slot.differences.deleted += 1;
    }

    /// Deletes a key for the age of its record, as a client might, unless it is newer in memory. `value_bytes` and
    /// `expiry_ms` are the record's. Returns whether it did.
    pub(in crate::keyspace) fn discard(&mut self, key: &Key, value_bytes: usize, expiry_ms: Option<u64>) -> bool {
        if self.is_in_flight() {
            return false;
        }
        match self.entry(key).map(|index| (index, self.slot.table.get(index).marks())) {
            Some((_, marks)) if marks.has(Marks::DIRTY) || marks.has(Marks::DELETED) => return false,
            Some((index, _)) => drop(self.delete(index, key.hash)),
            None if self.slot.cold == 0 => return false,
            None => self.add_cold_tombstone(key, value_bytes, expiry_ms),
        }
        self.changed(key.bytes, Effect::Evicted, Event::Evicted);
        self.databases.stats.shard().evicted_keys.add(1);
        true
    }

    /// Deletes a key that is on disk alone.
    fn add_cold_tombstone(&mut self, key: &Key, value_bytes: usize, expiry_ms: Option<u64>) {
        let mut deleted = self.fresh(key, Content::Inline(&[]), None);
        deleted.set_marks(Marks::DELETED.with(Marks::STORED).with(Marks::DIRTY));
        if let Some(expiry_ms) = expiry_ms {
            self.slot.differences.stored_expiries.push((key.hash, expiry_ms));
        }
        self.list_dirty(token(key.hash), deleted.memory_bytes());
        self.add_entry(token(key.hash), deleted);
        self.slot.differences.deleted += 1;
        self.uncount_stored(key.bytes.len(), value_bytes, expiry_ms.is_some());
    }

    /// Takes a clean entry out of memory; `None`: it has to stay for now.
    pub(in crate::keyspace) fn demote(&mut self, index: Index) -> Option<Entry> {
        let entry = self.slot.table.get(index);
        // The sweep has been past expiries that lie behind: such an entry is for the expiry cycle.
        let has_expired = entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= self.caller.now_ms);
        if !self.is_on_disk(&entry) || has_expired || self.slot.differences.pins > 0 {
            return None;
        }
        let token = self.slot.table.token_of(index);
        let entry = self.take_entry(index);
        self.queue_expiry(token, entry.expiry_ms(), None);
        self.slot.cold += 1;
        self.database.counts.add_cold(self.number, 1);
        self.departed();
        self.databases.stats.shard().demoted_keys.add(1);
        Some(entry)
    }

    /// Whether an entry's record is on disk, and the same.
    pub(in crate::keyspace) fn is_on_disk(&self, entry: &Entry) -> bool {
        let marks = entry.marks();
        let is_clean = marks.has(Marks::STORED) && !marks.has(Marks::DIRTY) && !marks.has(Marks::DELETED);
        is_clean && !(marks.may_be_taken_by(self.slot.differences.round) && self.is_in_flight())
    }

    /// Whether records of the slot are being written.
    fn is_in_flight(&self) -> bool {
        let committed = self.databases.tier().map_or(0, |tier| tier.committed_round());
        self.slot.differences.round > committed
    }

    /// Keeps the slot's entries in memory until [`unpin`](Self::unpin): what is read from the disk meanwhile holds of every
    /// key that has no entry then, however much is evicted. It is a short time, for a bounded read.
    pub(in crate::keyspace) fn pin(&mut self) {
        self.slot.differences.pins += 1;
    }

    pub(in crate::keyspace) fn unpin(&mut self) {
        self.slot.differences.pins -= 1;
        if self.slot.differences.pins == 0 && self.slot.differences.commit_waits && !self.is_in_flight() {
            self.commit_deleted();
        }
    }

    pub(in crate::keyspace) fn departed(&mut self) {
        self.slot.differences.departures = self.slot.differences.departures.wrapping_add(1);
    }

    /// Counts off the older record of a key that was set, or deleted, without a look: the key was counted twice.
    pub(in crate::keyspace) fn uncount_stored(&mut self, key_bytes: usize, value_bytes: usize, had_expiry: bool) {
        self.slot.cold -= 1;
        self.database.counts.add_cold(self.number, -1);
        self.add(SizeChange {
            keys: -1,
            expiring: -i64::from(had_expiry),
            key_bytes: -(key_bytes as i64),
            value_bytes: -(value_bytes as i64),
        });
    }

    /// Removes the tombstones of the round that has been written (leaving → absent).
    pub(in crate::keyspace) fn commit_deleted(&mut self) {
        self.slot.differences.commit_waits = self.slot.differences.pins > 0;
        if self.slot.differences.commit_waits {
            return;
        }
        let gone = self.slot.table.remove_where(|entry| is_leaving(entry.marks()));
        if gone > 0 {
            self.publish_weight();
            self.slot.differences.deleted -= gone as u32;
            self.departed();
        }
    }

    /// Counts off a cold key whose expiry has passed; its record is going to be deleted by the next round.
    pub(in crate::keyspace) fn sweep(&mut self, key: &Key, value_bytes: usize) -> bool {
        if self.slot.cold == 0 || self.entry(key).is_some() {
            return false;
        }
        self.uncount_stored(key.bytes.len(), value_bytes, true);
        self.departed();
        self.slots.set_dirty(self.number);
        self.expired(key.bytes);
        true
    }

    /// Forgets all keys, for a database that is being flushed; what was read of them is void. Their number.
    pub(in crate::keyspace) fn clear(&mut self) -> (Table, u64) {
        let keys = self.slot.size.keys();
        self.slot.size = SlotSize::default();
        self.slot.cold = 0;
        let differences = std::mem::take(&mut self.slot.differences);
        self.database.counts.add_dirty(
            self.number,
            -(differences.dirty.len() as i64),
            -(differences.dirty_bytes as i64),
        );
        (self.slot.differences.round, self.slot.differences.pins) = (differences.round, differences.pins);
        self.slot.differences.flushed_at = self.slot.sequence;
        self.slot.differences.departures = differences.departures.wrapping_add(1);
        self.slot.expiries = Default::default();
        self.publish_deadline();
        self.slots.entries.set(self.number, 0);
        (std::mem::take(&mut self.slot.table), keys)
    }
}

fn is_leaving(marks: Marks) -> bool {
    marks.has(Marks::DELETED) && !marks.has(Marks::DIRTY)
}
