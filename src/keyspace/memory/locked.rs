//! A locked slot: looking up its keys, what is counted of them, and the one place where a key changes.

use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::super::watch::effect::{ChangeId, Effect};
use super::super::watch::event::Event;
use super::super::watch::observer::KeyChange;
use super::changes::Changes;
use super::counts::SizeChange;
use super::databases::Databases;
use super::entry::{Content, Entry, Marks};
use super::key::{Caller, Key};
use super::recency::{Recency, USED_ONCE};
use super::slot::Slot;
use super::slots::{Database, Slots};
use super::table::{Index, Ref, Table, token};
use crate::base::gather::Gather;
use crate::config::EvictionPolicy;

/// A slot's weight, by which eviction draws it, is its table's number of cells. Of a smaller table all entries are looked at,
/// so its weight is that of a few entries in cells as full as they mostly are.
const CELLS_MIN: u32 = 20;

/// A slot that is locked, on behalf of a caller.
pub struct LockedSlot<'k> {
    pub(in crate::keyspace) databases: &'k Databases,
    pub(in crate::keyspace) database: &'k Database,
    pub(in crate::keyspace) slots: &'k Slots,
    pub(in crate::keyspace) physical: u8,
    pub(in crate::keyspace) number: u16,
    pub(in crate::keyspace) slot: MutexGuard<'k, Slot>,
    pub(in crate::keyspace) caller: Caller,
    /// What goes into the journal once all of a command's changes are made; `None`: each change goes there at once.
    pub(in crate::keyspace) staged: Option<Box<Gather>>,
    /// Where changes are reported; `None`: nobody waits for them.
    pub(in crate::keyspace) changes: Option<&'k Changes>,
}

impl Databases {
    /// Locks a slot of a physical database.
    #[inline]
    pub(in crate::keyspace) fn lock_slot(&self, caller: Caller, physical: u8, slot: u16) -> LockedSlot<'_> {
        let database = &self.all[usize::from(physical)];
        let slots = database.slots.get().unwrap_or_else(|| self.begin_slots(physical));
        let number = slot;
        let slot = slots.slots[usize::from(number)].lock();
        LockedSlot { databases: self, database, slots, physical, number, slot, caller, staged: None, changes: None }
    }
}

impl LockedSlot<'_> {
    pub(in crate::keyspace) fn position(&self) -> (u8, u16) {
        (self.physical, self.number)
    }

    pub(in crate::keyspace) fn table(&self) -> &Table {
        &self.slot.table
    }

    /// The key's entry in memory, be it one that stands for a deleted key.
    #[inline]
    pub(in crate::keyspace) fn entry(&self, key: &Key) -> Option<Index> {
        self.slot.table.find_key(token(key.hash), key.bytes)
    }

    /// Whether whatever there is of the key is in memory, as far as memory tells. Without a disk nothing is cold.
    #[inline]
    pub(in crate::keyspace) fn is_resident(&self, key: &Key) -> bool {
        self.slot.cold == 0 || self.entry(key).is_some()
    }

    /// Finds a key that exists now; one whose expiry has passed is deleted instead.
    #[inline]
    pub(in crate::keyspace) fn find(&mut self, key: &Key) -> Option<Index> {
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

    /// Notes a use of an entry, if the caller's count.
    #[inline(always)]
    pub(in crate::keyspace) fn touch(&mut self, index: Index) {
        if self.caller.touches {
            let (rules, now_ms) = (self.databases.rules(), self.caller.now_ms);
            let mut entry = self.slot.table.get_mut(index);
            let recency = entry.recency().touched(now_ms, &rules);
            entry.set_recency(recency);
        }
    }

    /// Looks a key up for a read: counts a hit or a miss, and the use of the key.
    #[inline]
    pub fn read(&mut self, key: &Key) -> Option<Ref<'_>> {
        let found = self.find(key);
        self.count_lookup(found.is_some());
        let index = found?;
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
        let found = self.find(key);
        self.count_lookup(found.is_some());
        found.map(|index| self.slot.table.get(index))
    }

    #[inline]
    fn count_lookup(&self, is_hit: bool) {
        self.databases.stats.count(|shard| if is_hit { &shard.keyspace_hits } else { &shard.keyspace_misses });
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

    /// An entry that is new to memory.
    pub(in crate::keyspace) fn fresh(&self, key: &Key, content: Content<'_>, expiry_ms: Option<u64>) -> Entry {
        let rules = self.databases.rules();
        let is_bounded = self.databases.settings.maxmemory.get() > 0;
        let goes_by_interval = is_bounded && rules.policy == EvictionPolicy::AllkeysLirs;
        let interval = if goes_by_interval { self.databases.lirs.came(key.hash) } else { USED_ONCE };
        let recency = Recency::fresh(self.caller.now_ms, &rules, interval);
        Entry::new(key.bytes, content, expiry_ms, recency)
    }

    /// Adds an entry to the table.
    pub(in crate::keyspace) fn add_entry(&mut self, token: u32, entry: Entry) {
        self.slot.table.insert(token, entry);
        self.publish_weight();
    }

    /// Takes an entry out of the table.
    pub(in crate::keyspace) fn take_entry(&mut self, index: Index) -> Entry {
        let entry = self.slot.table.remove(index);
        self.publish_weight();
        entry
    }

    /// Makes known how likely eviction is to draw this slot, after its table has changed.
    pub(in crate::keyspace) fn publish_weight(&self) {
        self.slots.entries.set(self.number, weight(&self.slot.table));
    }

    /// Counts off a key that has ceased to exist.
    pub(in crate::keyspace) fn uncount(&mut self, token: u32, entry: &Entry) {
        self.count(entry, -1);
        self.expiry_changed(token, entry.expiry_ms(), None);
    }

    /// Counts an entry in (1) or out (-1).
    #[inline]
    pub(in crate::keyspace) fn count(&mut self, entry: &Entry, sign: i64) {
        let (key_bytes, value_bytes) = (entry.key().len() as i64, entry.data_bytes() as i64);
        self.add(SizeChange { keys: sign, key_bytes: sign * key_bytes, value_bytes: sign * value_bytes, expiring: 0 });
    }

    /// Counts a change of what the slot holds.
    #[inline]
    pub(in crate::keyspace) fn add(&mut self, count: SizeChange) {
        self.slot.size.add(count);
        self.database.counts.add(self.number, count);
    }

    #[inline]
    pub(in crate::keyspace) fn expiry_changed(&mut self, token: u32, old_ms: Option<u64>, new_ms: Option<u64>) {
        if old_ms == new_ms {
            return;
        }
        let expiring = i64::from(new_ms.is_some()) - i64::from(old_ms.is_some());
        if expiring != 0 {
            self.add(SizeChange { expiring, ..SizeChange::default() });
        }
        self.queue_expiry(token, old_ms, new_ms);
    }

    /// Notes the deadline of an entry that came, changed or went.
    pub(in crate::keyspace) fn queue_expiry(&mut self, token: u32, old_ms: Option<u64>, new_ms: Option<u64>) {
        match (old_ms, new_ms) {
            (None, Some(new_ms)) => self.slot.expiries.add(token, new_ms),
            (Some(_), Some(new_ms)) => self.slot.expiries.change(token, new_ms),
            (Some(_), None) => self.slot.expiries.forget(),
            (None, None) => return,
        }
        if self.slot.expiries.needs_compaction() {
            let Slot { table, expiries, .. } = &mut *self.slot;
            expiries.compact(table.tokens().filter_map(|(token, entry)| Some((token, entry.expiry_ms()?))));
        }
        self.publish_deadline();
    }

    pub(in crate::keyspace) fn publish_deadline(&self) {
        self.slots.expiring.set(self.number, self.slot.expiries.live() as u32);
        let next_ms = self.slot.expiries.next_deadline_ms();
        self.slots.deadlines_ms[usize::from(self.number)].store(next_ms, Ordering::Relaxed);
    }

    /// Every change of a key comes by here, be it made by a command or by an eviction. It is counted and numbered, told to who
    /// watches the slot, and noted in the journal.
    #[inline]
    pub(in crate::keyspace) fn changed(&mut self, key: &[u8], effect: Effect<'_>, event: Event) {
        self.databases.stats.count(|shard| &shard.changes);
        if let Some(changes) = self.changes {
            changes.note();
        }
        let id = self.number_change(key, effect, event);
        let Some(tier) = self.databases.tier() else { return };
        match &mut self.staged {
            Some(staged) if tier.is_journaling() => effect.encode(id, key, staged),
            Some(_) => {}
            None => {
                let ticket = tier.journal(|bytes| effect.encode(id, key, bytes));
                if let Some(changes) = self.changes {
                    changes.note_journaled(ticket);
                }
            }
        }
    }

    /// The same for a key whose expiry has passed: nobody has done that, and a replay comes to the same without the journal.
    pub(in crate::keyspace) fn expired(&mut self, key: &[u8]) {
        self.databases.stats.shard().expired_keys.add(1);
        self.number_change(key, Effect::Expired, Event::Expired);
    }

    /// Numbers a change, and tells who watches the slot of it.
    #[inline]
    fn number_change(&mut self, key: &[u8], effect: Effect<'_>, event: Event) -> ChangeId {
        self.slot.sequence += 1;
        let id = ChangeId { database: self.physical, slot: self.number, sequence: self.slot.sequence };
        if self.slot.is_watched {
            self.tell(KeyChange { id, key, effect, event });
        }
        id
    }

    #[cold]
    fn tell(&self, change: KeyChange<'_>) {
        self.databases.observers.key_changed(&change);
    }
}

/// How likely a slot is to be visited, by the entries that its table holds.
fn weight(table: &Table) -> u32 {
    match table.len() {
        0 => 0,
        _ => ((table.memory_bytes() / size_of::<u64>()) as u32).max(CELLS_MIN),
    }
}
