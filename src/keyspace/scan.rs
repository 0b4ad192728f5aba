//! Walks over all keys of a database: SCAN, KEYS, RANDOMKEY.

use super::entry::Entry;
use super::table::PLACE_BITS;
use super::{Caller, Keyspace};
use crate::base::slot::SLOTS;

/// Slots that one SCAN call that has found something passes at most, or as many as it was to find keys: a sparse
/// database costs a bounded time a call. One with no more than that many keys is gone through in one call.
const SLOTS_PER_CALL: usize = 2048;
/// How often RANDOMKEY draws anew when it comes upon a key that has expired.
const RANDOM_DRAWS: usize = 16;

/// Where a walk goes on: a slot, and a place in the order of its keys' hashes. 0 is the start, and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    pub const START: Cursor = Cursor(0);

    fn new(slot: u16, place: u32) -> Cursor {
        Cursor(u64::from(slot) << PLACE_BITS | u64::from(place))
    }

    /// `None` for numbers that no call gave out: they end a walk.
    fn parts(self) -> Option<(u16, u32)> {
        let slot = self.0 >> PLACE_BITS;
        (slot < u64::from(SLOTS)).then_some((slot as u16, (self.0 & ((1 << PLACE_BITS) - 1)) as u32))
    }
}

impl Keyspace {
    /// Visits about `count` keys from `cursor` on and returns where to go on. A key that exists throughout a walk is
    /// met exactly once (<https://redis.io/docs/latest/commands/scan/>). Only what is `wanted` is visited, and where
    /// that has expired, it is deleted instead.
    pub fn scan(
        &self,
        caller: Caller,
        database: usize,
        cursor: Cursor,
        count: usize,
        mut wanted: impl FnMut(&Entry) -> bool,
        mut visit: impl FnMut(&Entry),
    ) -> Cursor {
        let Some((first_slot, mut place)) = cursor.parts() else { return Cursor::START };
        let physical = self.physical(database);
        if self.databases[usize::from(physical)].slots.get().is_none() {
            return Cursor::START;
        }
        let is_small = self.len(database) <= count as u64;
        let most_slots = if is_small { usize::from(SLOTS) } else { count.max(SLOTS_PER_CALL) };
        let mut met = 0;
        for slot in first_slot..SLOTS {
            if usize::from(slot - first_slot) >= most_slots && met > 0 || met >= count {
                return Cursor::new(slot, 0);
            }
            let mut guard = self.lock_slot(caller, physical, slot);
            let mut meets_expired = false;
            let next = guard.table().scan(place, count - met, |entry| {
                met += 1;
                match (wanted(entry), has_expired(entry, caller)) {
                    (true, true) => meets_expired = true,
                    (true, false) => visit(entry),
                    (false, _) => {}
                }
            });
            if meets_expired {
                guard.expire_due();
            }
            place = 0;
            if let Some(next) = next {
                return Cursor::new(slot, next);
            }
        }
        Cursor::START
    }

    /// Visits every key of a database, slot by slot.
    pub fn for_each(&self, caller: Caller, database: usize, mut visit: impl FnMut(&Entry)) {
        let physical = self.physical(database);
        if self.is_empty(database) || self.databases[usize::from(physical)].slots.get().is_none() {
            return;
        }
        for slot in 0..SLOTS {
            let guard = self.lock_slot(caller, physical, slot);
            guard.table().iter().filter(|entry| !has_expired(entry, caller)).for_each(|entry| visit(&entry));
        }
    }

    /// Visits a key drawn by chance, each with the same chance, and returns what `visit` made of it; `None` if there is
    /// no key. It costs a look at a sixteenth of the slots.
    pub fn random<R>(
        &self,
        caller: Caller,
        database: usize,
        mut random: impl FnMut() -> u64,
        visit: impl FnOnce(&Entry) -> R,
    ) -> Option<R> {
        let physical = self.physical(database);
        let database = &self.databases[usize::from(physical)];
        database.slots.get()?;
        for _ in 0..RANDOM_DRAWS {
            let counts = database.tally.keys_by_part();
            let total: usize = counts.iter().sum();
            if total == 0 {
                return None;
            }
            let mut skipped = (random() % total as u64) as usize;
            let mut part = 0;
            while skipped >= counts[part] {
                skipped -= counts[part];
                part += 1;
            }
            for slot in (part as u16..SLOTS).step_by(counts.len()) {
                let mut guard = self.lock_slot(caller, physical, slot);
                let len = guard.table().len();
                if skipped >= len {
                    skipped -= len;
                    continue;
                }
                if let Some(entry) = guard.random(&mut random).filter(|entry| !has_expired(entry, caller)) {
                    return Some(visit(&entry));
                }
                guard.expire_due();
                break;
            }
        }
        // Nearly all have expired or go while we draw: any that is left will do.
        for slot in 0..SLOTS {
            let guard = self.lock_slot(caller, physical, slot);
            if let Some(entry) = guard.table().iter().find(|entry| !has_expired(entry, caller)) {
                return Some(visit(&entry));
            }
        }
        None
    }
}

fn has_expired(entry: &Entry, caller: Caller) -> bool {
    entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= caller.now_ms)
}
