//! A locked slot: the one door to a key, and all that happens on the way through it.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::effect::{Effect, Place};
use super::entry::{Content, Entry, Marks, Owned};
use super::expiry::{self, ExpiryQueue};
use super::recency::{Recency, USED_ONCE};
use super::residency::Differences;
use super::table::{Index, Ref, Table, place};
use super::tally::{Change as Count, SlotSize};
use super::{Caller, Database, Key, Keyspace, Slots, eviction};
use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::base::gather::Gather;
use crate::config::EvictionPolicy;
use crate::types::{Change, Encoded};

/// How many due keys one visit of the active cycle deletes before it lets go of the lock.
const EXPIRE_STEP: usize = 64;

/// In this order, so that the lock, the table and whether there is anything cold, which every command asks for, lie on one
/// line of the cache, and what a write needs besides on the next: with a million keys each line is a miss.
#[derive(Default)]
#[repr(C)]
pub struct Slot {
    pub(super) table: Table,
    /// How memory and disk differ; unused without a disk.
    pub(super) differences: Differences,
    /// Counts the changes to the slot's keys. It is on disk beside them, so that a change is replayed exactly once.
    pub(super) sequence: u64,
    /// Live keys, in memory or only on disk, and what they hold.
    pub(super) size: SlotSize,
    pub(super) expiries: ExpiryQueue,
}

/// The lock is a byte, in front of the slot.
const _: () = assert!(
    size_of::<u64>() + std::mem::offset_of!(Slot, differences) + std::mem::offset_of!(Differences, cold) + 4 <= 64
);

impl Slot {
    /// Bytes of the table's cells, and of the deadlines.
    pub(super) fn overhead_bytes(&self) -> (usize, usize) {
        (self.table.memory_bytes(), self.expiries.memory_bytes())
    }
}

/// What becomes of a key's expiry when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExpiry {
    /// It goes (or becomes `default-ttl`, if that is set).
    Clear,
    /// It stays as it is (KEEPTTL); a key that did not exist is treated as by `Clear`.
    Keep,
    /// Unix milliseconds.
    At(u64),
    /// It goes, whatever `default-ttl` says.
    Never,
}

pub struct SlotGuard<'k> {
    pub(super) keyspace: &'k Keyspace,
    pub(super) database: &'k Database,
    pub(super) slots: &'k Slots,
    pub(super) physical: u8,
    pub(super) number: u16,
    pub(super) slot: MutexGuard<'k, Slot>,
    pub(super) caller: Caller,
    /// What goes into the journal once all of a command's changes are made; `None`: each change goes there at once.
    pub(super) staged: Option<Gather>,
}

impl<'k> SlotGuard<'k> {
    #[inline]
    pub(super) fn lock(
        keyspace: &'k Keyspace,
        database: &'k Database,
        slots: &'k Slots,
        physical: u8,
        number: u16,
        caller: Caller,
    ) -> Self {
        let slot = slots.slots[usize::from(number)].lock();
        SlotGuard { keyspace, database, slots, physical, number, slot, caller, staged: None }
    }

    pub(super) fn position(&self) -> (u8, u16) {
        (self.physical, self.number)
    }

    pub(super) fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    pub(super) fn table(&self) -> &Table {
        &self.slot.table
    }

    /// The key's entry in memory, be it one that stands for a deleted key.
    #[inline]
    pub(super) fn entry(&self, key: &Key) -> Option<Index> {
        self.slot.table.find_key(place(key.hash), key.bytes)
    }

    /// Finds a key that exists now; one whose expiry has passed is deleted instead.
    #[inline]
    fn find(&mut self, key: &Key) -> Option<Index> {
        let index = self.entry(key)?;
        let entry = self.slot.table.get(index);
        if entry.marks().has(Marks::DELETED) {
            return None;
        }
        if entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= self.caller.now_ms) {
            self.expire(index);
            return None;
        }
        Some(index)
    }

    #[inline]
    fn touch(&mut self, index: Index) {
        if self.caller.touches {
            let rules = self.keyspace.rules();
            let mut entry = self.slot.table.get_mut(index);
            let recency = entry.recency().touched(self.caller.now_ms, &rules);
            entry.set_recency(recency);
        }
    }

    /// Looks a key up for a read: counts a hit or a miss, and the use of the key.
    #[inline]
    pub fn read(&mut self, key: &Key) -> Option<Ref<'_>> {
        let index = self.find_counted(key)?;
        self.touch(index);
        Some(self.slot.table.get(index))
    }

    /// Looks a key up on the way to a change of it: counts its use, but neither hit nor miss.
    #[inline]
    pub fn read_for_write(&mut self, key: &Key) -> Option<Ref<'_>> {
        let index = self.find(key)?;
        self.touch(index);
        Some(self.slot.table.get(index))
    }

    /// Looks at a key for a client that asks about it (TTL, TYPE, OBJECT, …): counts a hit or a miss, but no use.
    pub fn inspect(&mut self, key: &Key) -> Option<Ref<'_>> {
        self.find_counted(key).map(|index| self.slot.table.get(index))
    }

    /// Finds a key, and counts a hit or a miss.
    #[inline]
    fn find_counted(&mut self, key: &Key) -> Option<Index> {
        let found = self.find(key);
        match found {
            Some(_) => self.keyspace.stats.count(|shard| &shard.keyspace_hits),
            None => self.keyspace.stats.count(|shard| &shard.keyspace_misses),
        }
        found
    }

    /// Looks at a key without a trace.
    pub fn peek(&mut self, key: &Key) -> Option<Ref<'_>> {
        self.find(key).map(|index| self.slot.table.get(index))
    }

    /// How much data a key in memory holds, looked at without a trace.
    pub fn present_bytes(&self, key: &Key) -> usize {
        let entry = self.entry(key).map(|index| self.slot.table.get(index));
        entry.map_or(0, |entry| entry.data_bytes())
    }

    /// Makes the key the string `value`, of any length, whatever it was.
    #[inline]
    pub fn set(&mut self, key: &Key, value: BytesRef<'_>, expiry: NewExpiry) {
        match value {
            BytesRef::Slice(bytes) if bytes.len() < LARGE_BYTES => self.set_string(key, bytes, expiry),
            value => self.put(key, Owned::string(value), expiry),
        }
    }

    /// Makes the key the string `bytes`, which is not large, whatever it was.
    #[inline]
    pub fn set_string(&mut self, key: &Key, bytes: &[u8], expiry: NewExpiry) {
        let expiry_ms = match self.find(key) {
            Some(index) => {
                self.differs(index, key.hash);
                let old_ms = self.slot.table.get(index).expiry_ms();
                let new_ms = self.resolve(expiry, Some(old_ms));
                let mut entry = self.slot.table.get_mut(index);
                let old_bytes = entry.data_bytes();
                entry.set_inline(bytes, new_ms);
                drop(entry);
                self.resized(old_bytes, bytes.len());
                self.touch(index);
                self.expiry_changed(place(key.hash), old_ms, new_ms);
                new_ms
            }
            None => {
                let new_ms = self.resolve(expiry, None);
                self.insert(key, Content::Inline(bytes), new_ms);
                new_ms
            }
        };
        self.changed(key, Effect::set_string(bytes, expiry_ms));
    }

    /// Makes the key hold `value`, whatever it was.
    pub fn put(&mut self, key: &Key, value: Owned, expiry: NewExpiry) {
        let value = match value {
            Owned::Inline(bytes) => return self.set_string(key, &bytes, expiry),
            Owned::Boxed(value) => value,
        };
        let old = self.find(key).map(|index| self.delete(index, key.hash).expiry_ms());
        let new_ms = self.resolve(expiry, old);
        // Written down before it is given away.
        self.changed(key, Effect::Put { value: Encoded::from(&*value), expiry_ms: new_ms });
        self.insert(key, Content::Boxed(value), new_ms);
    }

    /// Changes the value of an existing key in place. Returns whether the key exists.
    pub fn modify(&mut self, key: &Key, change: Change<'_>) -> bool {
        let Some(index) = self.find(key) else { return false };
        self.differs(index, key.hash);
        self.touch(index);
        let mut entry = self.slot.table.get_mut(index);
        let old_bytes = entry.data_bytes();
        change.apply(entry.make_boxed());
        let new_bytes = entry.data_bytes();
        drop(entry);
        self.resized(old_bytes, new_bytes);
        self.changed(key, Effect::Modify(change));
        true
    }

    /// Gives an existing key another expiry, or none. Returns whether the key exists.
    pub fn set_expiry(&mut self, key: &Key, expiry_ms: Option<u64>) -> bool {
        let Some(index) = self.find(key) else { return false };
        self.differs(index, key.hash);
        let old_ms = self.slot.table.get(index).expiry_ms();
        self.slot.table.get_mut(index).set_expiry(expiry_ms);
        self.expiry_changed(place(key.hash), old_ms, expiry_ms);
        self.changed(key, Effect::Expire(expiry_ms));
        true
    }

    /// Deletes a key. Returns whether it existed.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(index) = self.find(key) else { return false };
        drop(self.delete(index, key.hash));
        self.changed(key, Effect::Delete);
        true
    }

    /// Deletes a key and returns its value and expiry.
    pub fn take(&mut self, key: &Key) -> Option<(Owned, Option<u64>)> {
        let index = self.find(key)?;
        let mut entry = self.delete(index, key.hash);
        self.changed(key, Effect::Delete);
        Some((entry.take_content(), entry.expiry_ms()))
    }

    /// Deletes up to [`EXPIRE_STEP`] keys whose expiry has passed. Returns how many records it went through.
    pub(super) fn expire_due(&mut self) -> usize {
        let now_ms = self.caller.now_ms;
        let mut records = 0;
        while records < EXPIRE_STEP {
            let Some(place) = self.slot.expiries.pop_due(now_ms) else { break };
            records += 1;
            let is_due = |entry: &Entry| entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= now_ms);
            if let Some(index) = self.slot.table.find(place, is_due) {
                self.expire(index);
            }
        }
        self.publish_deadline();
        records
    }

    /// Takes the entry that was seen with that place, recency and expiry, if it is as it was, out of memory. Where
    /// there is a disk it stays there, and what is not there yet stays in memory.
    pub(super) fn evict(&mut self, place: u32, recency: Recency, expiry_ms: Option<u64>) -> Option<Entry> {
        let as_seen = |entry: &Entry| entry.recency() == recency && entry.expiry_ms() == expiry_ms;
        let index = self.slot.table.find(place, as_seen)?;
        if self.keyspace.tier().is_some() {
            return self.demote(index);
        }
        let entry = self.remove_entry(index);
        self.keyspace.stats.shard().evicted_keys.add(1);
        self.keyspace.stats.shard().changes.add(1);
        Some(entry)
    }

    /// Shows up to `count` entries that have an expiry, and their places.
    pub(super) fn sample_expiring(&self, random: u64, count: usize, mut show: impl FnMut(u32, &Entry)) {
        for (place, expiry_ms) in self.slot.expiries.sample(random, count) {
            let has_it = |entry: &Entry| entry.expiry_ms().is_some_and(|other_ms| expiry::is_same(other_ms, expiry_ms));
            if let Some(index) = self.slot.table.find(place, has_it) {
                show(place, &self.slot.table.get(index));
            }
        }
    }

    /// The expiry that a key gets; `old` is the one it has, if the key exists.
    fn resolve(&self, expiry: NewExpiry, old: Option<Option<u64>>) -> Option<u64> {
        match (expiry, old) {
            (NewExpiry::At(expiry_ms), _) => Some(expiry_ms),
            (NewExpiry::Never, _) => None,
            (NewExpiry::Keep, Some(old_ms)) => old_ms,
            (NewExpiry::Clear, _) | (NewExpiry::Keep, None) => {
                let default_ttl_s = self.keyspace.settings.default_ttl.get();
                (default_ttl_s > 0).then(|| self.caller.now_ms.saturating_add(default_ttl_s as u64 * 1000))
            }
        }
    }

    /// Adds a key that does not exist.
    fn insert(&mut self, key: &Key, content: Content<'_>, expiry_ms: Option<u64>) {
        let mut entry = self.fresh(key, content, expiry_ms);
        self.count(&entry, 1);
        if self.keyspace.tier().is_some() {
            self.insert_new(key, &mut entry);
        }
        // The entry of a deleted key gives way to the new one.
        let deleted = if self.slot.differences.deleted > 0 { self.entry(key) } else { None };
        match deleted {
            Some(index) => {
                self.slot.differences.deleted -= 1;
                drop(self.slot.table.replace(index, entry));
            }
            None => self.add_entry(place(key.hash), entry),
        }
        self.expiry_changed(place(key.hash), None, expiry_ms);
    }

    /// An entry that is new to memory.
    pub(super) fn fresh(&self, key: &Key, content: Content<'_>, expiry_ms: Option<u64>) -> Entry {
        let rules = self.keyspace.rules();
        let is_bounded = self.keyspace.settings.maxmemory.get() > 0;
        let goes_by_interval = is_bounded && rules.policy == EvictionPolicy::AllkeysLirs;
        let interval = if goes_by_interval { self.keyspace.lirs.came(key.hash) } else { USED_ONCE };
        let recency = Recency::fresh(self.caller.now_ms, &rules, interval);
        Entry::new(key.bytes, content, expiry_ms, recency)
    }

    /// Deletes a live key; what the disk has to be told of that is remembered.
    pub(super) fn delete(&mut self, index: Index, hash: u64) -> Entry {
        match self.keyspace.tier() {
            Some(_) if self.bury_needed(index) => self.bury(index, hash),
            _ => self.remove_entry(index),
        }
    }

    fn remove_entry(&mut self, index: Index) -> Entry {
        let place = self.slot.table.place_of(index);
        let entry = self.take_entry(index);
        self.gone(place, &entry);
        entry
    }

    /// Adds an entry to the table.
    pub(super) fn add_entry(&mut self, place: u32, entry: Entry) {
        self.slot.table.insert(place, entry);
        self.publish_weight();
    }

    /// Takes an entry out of the table.
    pub(super) fn take_entry(&mut self, index: Index) -> Entry {
        let entry = self.slot.table.remove(index);
        self.publish_weight();
        entry
    }

    /// Makes known how likely eviction is to draw this slot, after its table has changed.
    pub(super) fn publish_weight(&self) {
        self.slots.entries.set(self.number, eviction::weight(&self.slot.table));
    }

    /// Counts off a key that has ceased to exist.
    pub(super) fn gone(&mut self, place: u32, entry: &Entry) {
        self.count(entry, -1);
        self.expiry_changed(place, entry.expiry_ms(), None);
    }

    /// Counts an entry in (1) or out (-1).
    #[inline]
    fn count(&mut self, entry: &Entry, sign: i64) {
        let (key_bytes, value_bytes) = (entry.key().len() as i64, entry.data_bytes() as i64);
        self.add(Count { keys: sign, key_bytes: sign * key_bytes, value_bytes: sign * value_bytes, expiring: 0 });
    }

    /// Counts a change of what the slot holds.
    #[inline]
    pub(super) fn add(&mut self, count: Count) {
        self.slot.size.add(count);
        self.database.tally.add(self.number, count);
    }

    /// Counts that a value's data changed its size.
    #[inline]
    fn resized(&mut self, old_bytes: usize, new_bytes: usize) {
        if old_bytes != new_bytes {
            self.add(Count { value_bytes: new_bytes as i64 - old_bytes as i64, ..Count::default() });
            self.grew(old_bytes, new_bytes);
        }
    }

    pub(super) fn expire(&mut self, index: Index) {
        let hash = self.keyspace.spot(self.slot.table.get(index).key()).hash;
        drop(self.delete(index, hash));
        self.keyspace.stats.shard().expired_keys.add(1);
    }

    #[inline]
    fn expiry_changed(&mut self, place: u32, old_ms: Option<u64>, new_ms: Option<u64>) {
        if old_ms == new_ms {
            return;
        }
        let expiring = i64::from(new_ms.is_some()) - i64::from(old_ms.is_some());
        if expiring != 0 {
            self.add(Count { expiring, ..Count::default() });
        }
        self.queue_expiry(place, old_ms, new_ms);
    }

    /// Notes the deadline of an entry that came, changed or went.
    pub(super) fn queue_expiry(&mut self, place: u32, old_ms: Option<u64>, new_ms: Option<u64>) {
        match (old_ms, new_ms) {
            (None, Some(new_ms)) => self.slot.expiries.add(place, new_ms),
            (Some(_), Some(new_ms)) => self.slot.expiries.change(place, new_ms),
            (Some(_), None) => self.slot.expiries.forget(),
            (None, None) => return,
        }
        if self.slot.expiries.needs_compaction() {
            let Slot { table, expiries, .. } = &mut *self.slot;
            expiries.compact(table.places().filter_map(|(place, entry)| Some((place, entry.expiry_ms()?))));
        }
        self.publish_deadline();
    }

    pub(super) fn publish_deadline(&self) {
        self.slots.expiring.set(self.number, self.slot.expiries.live() as u32);
        let next_ms = self.slot.expiries.next_deadline_ms();
        self.slots.deadlines_ms[usize::from(self.number)].store(next_ms, Ordering::Relaxed);
    }

    /// Every change that a command makes to a key comes by here.
    #[inline]
    pub(super) fn changed(&mut self, key: &Key, effect: Effect<'_>) {
        self.keyspace.stats.count(|shard| &shard.changes);
        let Some(tier) = self.keyspace.tier() else { return };
        self.slot.sequence += 1;
        let place = Place { database: self.physical, slot: self.number, sequence: self.slot.sequence };
        match &mut self.staged {
            Some(staged) if tier.is_journaling() => effect.encode(place, key.bytes, staged),
            Some(_) => {}
            None => tier.journal(|bytes| effect.encode(place, key.bytes, bytes)),
        }
    }
}
