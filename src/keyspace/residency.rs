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
//! | blind | yes | DIRTY UNSETTLED | perhaps an older one: the key was set without a look |
//! | deleted | yes, for nothing | DELETED DIRTY, and STORED or UNSETTLED | yes, or perhaps |
//! | leaving | yes, for nothing | DELETED STORED | the round under way deletes it |
//!
//! - *Load*: cold → clean. The record was read without the lock; it is taken only if no entry of the slot has left memory
//!   since before the read (`departures`): as long as a key has no entry, only a departure can have changed its record.
//! - *Write*: absent → new where the slot has no cold keys, else → blind; clean → changed. *Delete*: new → absent; every
//!   other → deleted. *Expiry* is a delete that nobody journals.
//! - *Collect* (a round of the merger takes what differs): new, changed, blind → clean; deleted → leaving. Until the
//!   round is written the slot is *in flight*, and what was taken may not be demoted: its records are not there yet.
//! - *Settle*: what the round found blind is looked up; where an older record is, the key was counted twice.
//! - *Commit*: the round is on disk. leaving → absent, a departure.
//! - *Demote* (eviction from memory): clean → cold, a departure; never what the round in flight has taken.
//! - A walk *pins* the slot while it reads its keys from the disk: until it is through, no entry departs, so that of a key
//!   without an entry the record is the truth. (A sweep departs only what has expired, which no walk shows.)
//! - *Discard* (eviction from disk): cold, clean → deleted; never in flight, nor where the entry is newer than the record.
//!
//! `residency_tests` walks through the interleavings of these steps.

use thin_vec::ThinVec;

use super::effect::Effect;
use super::entry::{Content, Entry, Marks};
use super::loader::{Cold, ColdKey};
use super::merger::Round;
use super::slot::SlotGuard;
use super::table::Index;
use super::tally::{Change as Count, Size, SlotSize};
use super::tier::Tier;
use super::{Key, table};
use crate::base::prefetch::prefetch;
use crate::store::record::{RecordKey, SlotMeta, StoredRecord};
use crate::store::rocks::Look;

/// So many entries are fetched from memory at a time, before a round takes them.
const COLLECTED_TOGETHER: usize = 16;

/// How a slot's entries in memory differ from its records on disk. In this order: see [`Slot`](super::slot::Slot).
#[derive(Default)]
#[repr(C)]
pub struct Differences {
    /// Records on disk of keys that have no entry, and of those that were set without a look.
    pub(super) cold: u32,
    /// How many entries have left memory while there may have been a record.
    departures: u32,
    /// The places of dirty entries, each once.
    dirty: ThinVec<u32>,
    /// About what the dirty entries take, in bytes.
    dirty_bytes: usize,
    /// The last round that took what differed here.
    round: u32,
    /// Entries that stand for deleted keys.
    pub(super) deleted: u32,
    /// The slot's sequence number when it was flushed last: the disk knows it.
    pub(super) flushed_at: u64,
    /// Expiries that dirty entries have on disk, by the hash of the key: the index of expiries must lose them.
    stored_expiries: ThinVec<(u64, u64)>,
    /// Walks that read the slot's records at the moment: no entry leaves memory meanwhile.
    pins: u16,
    may_be_stored: bool,
    /// Entries of a round that has been written should have left meanwhile.
    commit_waits: bool,
}

impl Differences {
    /// Those of a slot with so many records on disk, none of them in memory.
    pub(super) fn all_cold(records: u64) -> Differences {
        Differences { cold: records as u32, may_be_stored: records > 0, ..Differences::default() }
    }

    /// Whether there may be records of the slot on disk: since the last flush a round has taken it, or it had some at
    /// the start.
    pub(super) fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// Prefetches where the next dirty entry is noted.
    #[inline]
    pub(super) fn prefetch(&self) {
        // Its length and capacity are in front of it, in 16 bytes.
        prefetch(self.dirty.as_ptr().wrapping_sub(4));
    }
}

/// Whether a command can go on with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Residence {
    /// Whatever is known of the key is in memory.
    Here,
    /// It has to be loaded; `Cold` knows.
    Cold,
    /// Its record cannot be read, for this reason.
    Failed(String),
}

impl SlotGuard<'_> {
    /// Notes that an entry is about to differ from its record.
    #[inline]
    pub(super) fn differs(&mut self, index: Index, hash: u64) {
        if self.keyspace.tier().is_none() {
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
        self.note_dirty(table::place(hash), bytes);
    }

    fn note_dirty(&mut self, place: u32, bytes: usize) {
        self.slot.differences.dirty.push(place);
        self.slot.differences.dirty_bytes += bytes;
        self.database.tally.add_dirty(self.number, 1, bytes as i64);
        self.slots.mark_dirty(self.number);
    }

    /// A dirty entry has become larger.
    #[inline]
    pub(super) fn grew(&mut self, old_bytes: usize, new_bytes: usize) {
        let grown = new_bytes.saturating_sub(old_bytes);
        if grown > 0 && self.keyspace.tier().is_some() {
            self.slot.differences.dirty_bytes += grown;
            self.database.tally.add_dirty(self.number, 0, grown as i64);
        }
    }

    /// Marks an entry that is about to be inserted for a key that does not exist.
    pub(super) fn insert_new(&mut self, key: &Key, entry: &mut Entry) {
        let before = if self.slot.differences.deleted > 0 { self.entry(key) } else { None };
        let before = before.map(|index| self.slot.table.get(index).marks());
        let is_settled = self.slot.differences.cold == 0;
        let marks = match before {
            Some(marks) => marks.without(Marks::DELETED),
            None if is_settled => Marks::default(),
            None => Marks::UNSETTLED,
        };
        entry.set_marks(marks.with(Marks::DIRTY));
        if before.is_none_or(|marks| !marks.has(Marks::DIRTY)) {
            self.note_dirty(table::place(key.hash), entry.memory_bytes());
        }
    }

    /// Whether the disk has to be told when the entry's key is deleted.
    pub(super) fn bury_needed(&self, index: Index) -> bool {
        let marks = self.slot.table.get(index).marks();
        marks.has(Marks::STORED) || marks.has(Marks::UNSETTLED)
    }

    /// Deletes a key that may be on disk: another entry stands for that until the disk knows.
    pub(super) fn bury(&mut self, index: Index, hash: u64) -> Entry {
        self.differs(index, hash);
        let entry = self.slot.table.get(index);
        let mut deleted = Entry::new(entry.key(), Content::Inline(&[]), None, entry.recency());
        deleted.set_marks(entry.marks().with(Marks::DELETED));
        let entry = self.slot.table.replace(index, deleted);
        self.slot.differences.deleted += 1;
        self.gone(table::place(hash), &entry);
        entry
    }

    /// Notes that a key is deleted of which nothing is known but that it may be on disk (a replay's delete).
    pub(super) fn bury_unseen(&mut self, key: &Key) {
        if self.slot.differences.cold == 0 || self.entry(key).is_some() {
            return;
        }
        let mut deleted = self.fresh(key, Content::Inline(&[]), None);
        deleted.set_marks(Marks::DELETED.with(Marks::UNSETTLED).with(Marks::DIRTY));
        self.note_dirty(table::place(key.hash), deleted.memory_bytes());
        self.add_entry(table::place(key.hash), deleted);
        self.slot.differences.deleted += 1;
    }

    /// Deletes a key for the age of its record, as a client might, unless it is newer in memory. `value_bytes` and
    /// `expiry_ms` are the record's. Returns whether it did.
    pub(super) fn discard(&mut self, key: &Key, value_bytes: usize, expiry_ms: Option<u64>) -> bool {
        if self.is_in_flight() {
            return false;
        }
        match self.entry(key).map(|index| (index, self.slot.table.get(index).marks())) {
            Some((_, marks)) if marks.has(Marks::DIRTY) || marks.has(Marks::DELETED) => return false,
            Some((index, _)) => drop(self.delete(index, key.hash)),
            None if self.slot.differences.cold == 0 => return false,
            None => self.bury_cold(key, value_bytes, expiry_ms),
        }
        self.changed(key, Effect::Delete);
        self.keyspace.stats.shard().evicted_keys.add(1);
        true
    }

    /// Deletes a key that is on disk alone.
    fn bury_cold(&mut self, key: &Key, value_bytes: usize, expiry_ms: Option<u64>) {
        let mut deleted = self.fresh(key, Content::Inline(&[]), None);
        deleted.set_marks(Marks::DELETED.with(Marks::STORED).with(Marks::DIRTY));
        if let Some(expiry_ms) = expiry_ms {
            self.slot.differences.stored_expiries.push((key.hash, expiry_ms));
        }
        self.note_dirty(table::place(key.hash), deleted.memory_bytes());
        self.add_entry(table::place(key.hash), deleted);
        self.slot.differences.deleted += 1;
        self.settle(key.bytes.len(), value_bytes, expiry_ms.is_some());
    }

    /// Takes a clean entry out of memory; `None`: it has to stay for now.
    pub(super) fn demote(&mut self, index: Index) -> Option<Entry> {
        let entry = self.slot.table.get(index);
        // The sweep has been past expiries that lie behind: such an entry is for the expiry cycle.
        let has_expired = entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= self.caller.now_ms);
        if !self.is_on_disk(&entry) || has_expired || self.slot.differences.pins > 0 {
            return None;
        }
        let place = self.slot.table.place_of(index);
        let entry = self.take_entry(index);
        self.queue_expiry(place, entry.expiry_ms(), None);
        self.slot.differences.cold += 1;
        self.database.tally.add_cold(self.number, 1);
        self.departed();
        self.keyspace.stats.shard().demoted_keys.add(1);
        Some(entry)
    }

    /// Whether an entry's record is on disk, and the same.
    pub(super) fn is_on_disk(&self, entry: &Entry) -> bool {
        let marks = entry.marks();
        let is_clean = marks.has(Marks::STORED) && !marks.has(Marks::DIRTY) && !marks.has(Marks::DELETED);
        is_clean && !(marks.may_be_taken_by(self.slot.differences.round) && self.is_in_flight())
    }

    /// Whether records of the slot are being written.
    fn is_in_flight(&self) -> bool {
        let committed = self.keyspace.tier().map_or(0, |tier| tier.committed_round());
        self.slot.differences.round > committed
    }

    /// Keeps the slot's entries in memory until [`unpin`](Self::unpin): what is read from the disk meanwhile holds of every
    /// key that has no entry then, however much is evicted. It is a short time, for a bounded read.
    pub(super) fn pin(&mut self) {
        self.slot.differences.pins += 1;
    }

    pub(super) fn unpin(&mut self) {
        self.slot.differences.pins -= 1;
        if self.slot.differences.pins == 0 && self.slot.differences.commit_waits && !self.is_in_flight() {
            self.commit_deleted();
        }
    }

    pub(super) fn departed(&mut self) {
        self.slot.differences.departures = self.slot.differences.departures.wrapping_add(1);
    }

    /// Sees to it that whatever there is of the key is in memory.
    #[inline]
    pub fn make_resident(&mut self, key: &Key, cold: &mut Cold) -> Residence {
        if self.keyspace.tier().is_none() || self.slot.differences.cold == 0 || self.entry(key).is_some() {
            return Residence::Here;
        }
        self.make_cold_resident(key, cold)
    }

    fn make_cold_resident(&mut self, key: &Key, cold: &mut Cold) -> Residence {
        let Some(tier) = self.keyspace.tier() else { return Residence::Here };
        let departures = self.slot.differences.departures;
        if let Some(loaded) = cold.loaded(self.position(), key, departures) {
            return match loaded {
                Ok(None) => Residence::Here,
                Ok(Some(record)) => self.install(key, record),
                Err(error) => Residence::Failed(error.clone()),
            };
        }
        let record_key = self.record_key(tier, key);
        match tier.store.look(&record_key) {
            Look::Absent => {
                tier.counters.absent.add(1);
                Residence::Here
            }
            Look::Found(record) => {
                tier.counters.cached.add(1);
                self.install(key, &StoredRecord::new(&record))
            }
            Look::Unknown => {
                cold.want(ColdKey { position: self.position(), departures, hash: key.hash, record_key });
                Residence::Cold
            }
        }
    }

    /// Notes the key among those to load, if it may be on disk alone.
    pub fn want(&self, key: &Key, cold: &mut Cold) {
        let Some(tier) = self.keyspace.tier() else { return };
        if self.slot.differences.cold > 0 && self.entry(key).is_none() {
            let record_key = self.record_key(tier, key);
            let departures = self.slot.differences.departures;
            cold.want(ColdKey { position: self.position(), departures, hash: key.hash, record_key });
        }
    }

    fn record_key(&self, tier: &Tier, key: &Key) -> Vec<u8> {
        RecordKey::encoded(tier.store.long_keys(), self.physical, self.number, key.hash, key.bytes)
    }

    /// Cold → clean. A record whose expiry has passed stays where it is, for the sweep.
    pub(super) fn install(&mut self, key: &Key, record: &StoredRecord) -> Residence {
        let (record, payload) = match record.decode() {
            Ok(decoded) => decoded,
            Err(error) => return Residence::Failed(error.to_string()),
        };
        if record.long_key.is_some_and(|long_key| long_key != key.bytes) {
            return Residence::Failed("another key has the same digest".to_owned());
        }
        if record.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.caller.now_ms) {
            return Residence::Here;
        }
        let Some(content) = Content::from_record(record.kind, payload) else {
            return Residence::Failed(format!("unknown type {}", record.kind));
        };
        let mut entry = self.fresh(key, content, record.expiry_ms);
        entry.set_marks(Marks::STORED);
        self.add_entry(table::place(key.hash), entry);
        self.slot.differences.cold -= 1;
        self.database.tally.add_cold(self.number, -1);
        self.queue_expiry(table::place(key.hash), None, record.expiry_ms);
        Residence::Here
    }

    /// Takes what differs in this slot into a round, unless this round has had it.
    pub(super) fn collect(&mut self, round: &mut Round) {
        if self.slot.differences.round == round.number {
            // What has come since belongs to the next round.
            self.slots.mark_dirty(self.number);
            return;
        }
        self.slot.differences.round = round.number;
        self.slot.differences.may_be_stored = true;
        let mut dirty = std::mem::take(&mut self.slot.differences.dirty);
        // In the order of the records, which RocksDB takes twice as fast.
        dirty.sort_unstable();
        let mut expiries = std::mem::take(&mut self.slot.differences.stored_expiries);
        let dirty_bytes = std::mem::take(&mut self.slot.differences.dirty_bytes);
        self.database.tally.add_dirty(self.number, -(dirty.len() as i64), -(dirty_bytes as i64));
        round.taken_bytes += dirty_bytes as u64;
        expiries.sort_unstable();
        let deleted_before = self.slot.differences.deleted;
        dirty.dedup();
        for places in dirty.chunks(COLLECTED_TOGETHER) {
            places.iter().for_each(|place| self.slot.table.prefetch_cells(*place));
            places.iter().for_each(|place| self.slot.table.prefetch_entry(*place));
            for place in places {
                // Together with all others of its place; or its entry has gone meanwhile, and there is nothing to write.
                for index in self.slot.table.indexes_of(*place) {
                    if self.slot.table.get(index).marks().has(Marks::DIRTY) {
                        self.collect_entry(index, &expiries, round);
                    }
                }
            }
        }
        let size = Size::from(self.slot.size);
        let meta = SlotMeta {
            sequence: self.slot.sequence,
            keys: size.keys,
            expiring: size.expiring,
            key_bytes: size.key_bytes,
            value_bytes: size.value_bytes,
        };
        round.slot(self.physical, self.number, meta, deleted_before > 0);
    }

    fn collect_entry(&mut self, index: Index, expiries: &[(u64, u64)], round: &mut Round) {
        let entry = self.slot.table.get(index);
        let marks = entry.marks();
        let hash = self.keyspace.spot(entry.key()).hash;
        round.begin_key(self.physical, self.number, hash, entry.key());
        let from = expiries.partition_point(|(other, _)| *other < hash);
        for (_, expiry_ms) in expiries[from..].iter().take_while(|(other, _)| *other == hash) {
            round.forget_expiry(*expiry_ms);
        }
        let is_deleted = marks.has(Marks::DELETED);
        if is_deleted {
            round.delete();
        } else {
            round.put(entry.encoded(), entry.expiry_ms());
        }
        if marks.has(Marks::UNSETTLED) {
            round.unsettled(entry.expiry_ms(), !is_deleted);
        } else if marks.has(Marks::STORED) {
            round.replaced(!is_deleted);
        }
        let marks = if is_deleted { Marks::STORED.with(Marks::DELETED) } else { Marks::STORED };
        self.slot.table.get_mut(index).set_marks(marks.taken_by(round.number));
    }

    /// An older record was found of a key that was set, or deleted, without a look: the key was counted twice.
    pub(super) fn settle(&mut self, key_bytes: usize, value_bytes: usize, had_expiry: bool) {
        self.slot.differences.cold -= 1;
        self.database.tally.add_cold(self.number, -1);
        self.add(Count {
            keys: -1,
            expiring: -i64::from(had_expiry),
            key_bytes: -(key_bytes as i64),
            value_bytes: -(value_bytes as i64),
        });
    }

    /// Leaving → absent, for all that were deleted in the round that has been written.
    pub(super) fn commit_deleted(&mut self) {
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
    pub(super) fn sweep(&mut self, key: &Key, value_bytes: usize) -> bool {
        if self.slot.differences.cold == 0 || self.entry(key).is_some() {
            return false;
        }
        self.settle(key.bytes.len(), value_bytes, true);
        self.departed();
        self.slots.mark_dirty(self.number);
        self.keyspace.stats.shard().expired_keys.add(1);
        true
    }

    /// Forgets all keys, for a database that is being flushed; what was read of them is void. Their number.
    pub(super) fn clear(&mut self) -> (super::table::Table, u64) {
        let keys = self.slot.size.keys();
        self.slot.size = SlotSize::default();
        let differences = std::mem::take(&mut self.slot.differences);
        self.database.tally.add_dirty(
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
