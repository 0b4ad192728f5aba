//! Walks over all keys of a database: SCAN, KEYS, RANDOMKEY.

use std::ops::ControlFlow;

use super::entry::{Entry, Marks};
use super::recency::Recency;
use super::residency::content;
use super::table::{PLACE_BITS, place};
use super::{Caller, Keyspace, SlotGuard};
use crate::base::slot::SLOTS;
use crate::store::record::Record;
use crate::store::rocks::{Rocks, RocksError};

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
    ) -> Result<Cursor, RocksError> {
        let Some((first_slot, mut place)) = cursor.parts() else { return Ok(Cursor::START) };
        let physical = self.physical(database);
        if self.databases[usize::from(physical)].slots.get().is_none() {
            return Ok(Cursor::START);
        }
        let is_small = self.len(database) <= count as u64;
        let most_slots = if is_small { usize::from(SLOTS) } else { count.max(SLOTS_PER_CALL) };
        let mut met = 0;
        for slot in first_slot..SLOTS {
            if usize::from(slot - first_slot) >= most_slots && met > 0 || met >= count {
                return Ok(Cursor::new(slot, 0));
            }
            let left = count - met;
            let (mut guard, stored) = self.lock_with_stored(caller, physical, slot, place, Some(left))?;
            let mut meets_expired = false;
            let mut meet = |entry: &Entry| {
                met += 1;
                match (wanted(entry), has_expired(entry, caller)) {
                    (true, true) => meets_expired = true,
                    (true, false) => visit(entry),
                    (false, _) => {}
                }
            };
            let next = guard.scan(place, left, stored, &mut meet);
            if meets_expired {
                guard.expire_due();
            }
            place = 0;
            if let Some(next) = next {
                return Ok(Cursor::new(slot, next));
            }
        }
        Ok(Cursor::START)
    }

    /// Visits every key of a database, slot by slot.
    ///
    /// # Errors
    /// When cold keys cannot be read.
    pub fn for_each(&self, caller: Caller, database: usize, mut visit: impl FnMut(&Entry)) -> Result<(), RocksError> {
        let physical = self.physical(database);
        if self.is_empty(database) || self.databases[usize::from(physical)].slots.get().is_none() {
            return Ok(());
        }
        for slot in 0..SLOTS {
            let (guard, stored) = self.lock_with_stored(caller, physical, slot, 0, None)?;
            guard.scan(0, usize::MAX, stored, &mut |entry| {
                if !has_expired(entry, caller) {
                    visit(entry);
                }
            });
        }
        Ok(())
    }

    /// A key drawn by chance, each with the same chance; `None` if there is no key. It costs a look at a sixteenth of the
    /// slots.
    ///
    /// # Errors
    /// When cold keys cannot be read.
    pub fn random(
        &self,
        caller: Caller,
        number: usize,
        mut random: impl FnMut() -> u64,
    ) -> Result<Option<Vec<u8>>, RocksError> {
        let physical = self.physical(number);
        let database = &self.databases[usize::from(physical)];
        if database.slots.get().is_none() {
            return Ok(None);
        }
        for _ in 0..RANDOM_DRAWS {
            let counts = database.tally.keys_by_part();
            let total: usize = counts.iter().sum();
            if total == 0 {
                return Ok(None);
            }
            let mut skipped = (random() % total as u64) as usize;
            let mut part = 0;
            while skipped >= counts[part] {
                skipped -= counts[part];
                part += 1;
            }
            for slot in (part as u16..SLOTS).step_by(counts.len()) {
                let len = self.lock_slot(caller, physical, slot).slot.size.keys as usize;
                if skipped >= len {
                    skipped -= len;
                    continue;
                }
                let (mut guard, stored) = self.lock_with_stored(caller, physical, slot, 0, None)?;
                let mut drawn = None;
                let mut left = skipped;
                guard.scan(0, usize::MAX, stored, &mut |entry| {
                    if left == 0 && drawn.is_none() && !has_expired(entry, caller) {
                        drawn = Some(entry.key().to_vec());
                    }
                    left = left.saturating_sub(1);
                });
                if drawn.is_some() {
                    return Ok(drawn);
                }
                guard.expire_due();
                break;
            }
        }
        // Nearly all have expired or go while we draw: any that is left will do.
        let mut any = None;
        self.for_each(caller, number, |entry| {
            any.get_or_insert_with(|| entry.key().to_vec());
        })?;
        Ok(any)
    }

    /// Locks a slot, with the records of it from `place` on that are on disk alone: `about` so many and all others of
    /// the last one's place, or all. They are read before the lock is taken, so that nobody waits at it for the disk.
    fn lock_with_stored(
        &self,
        caller: Caller,
        physical: u8,
        slot: u16,
        place: u32,
        about: Option<usize>,
    ) -> Result<(SlotGuard<'_>, Option<Stored>), RocksError> {
        loop {
            let guard = self.lock_slot(caller, physical, slot);
            let Some(tier) = self.tier().filter(|_| guard.slot.differences.cold > 0) else { return Ok((guard, None)) };
            let departures = guard.slot.differences.departures();
            drop(guard);
            let stored = Stored::read(&tier.store, physical, slot, place, about)?;
            let guard = self.lock_slot(caller, physical, slot);
            if guard.slot.differences.departures() == departures {
                return Ok((guard, Some(stored)));
            }
        }
    }
}

/// Records of one slot, in the order of their places.
struct Stored {
    entries: Vec<(u32, Entry)>,
    /// There may be more from this place on.
    next: Option<u32>,
}

impl Stored {
    fn read(store: &Rocks, physical: u8, slot: u16, place: u32, about: Option<usize>) -> Result<Stored, RocksError> {
        let mut stored = Stored { entries: Vec::new(), next: None };
        let mut damage = None;
        let first_hash = place << (u32::BITS - PLACE_BITS);
        store.scan_slot(physical, slot, first_hash, |key, value| {
            let place = key.hash >> (u32::BITS - PLACE_BITS);
            let is_enough = about.is_some_and(|about| stored.entries.len() >= about);
            if is_enough && stored.entries.last().is_some_and(|(last, _)| *last < place) {
                stored.next = Some(place);
                return ControlFlow::Break(());
            }
            let record = Record::decode(value).map_err(|error| error.to_string());
            let entry = record.and_then(|record| {
                let content = content(&record).ok_or_else(|| format!("unknown type {}", record.kind))?;
                Ok(Entry::new(key.key, content, record.expiry_ms, Recency::from_bits(0)))
            });
            match entry {
                Ok(entry) => stored.entries.push((place, entry)),
                Err(error) => {
                    damage = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        damage.map_or(Ok(stored), |error| Err(RocksError::corruption(error)))
    }
}

impl SlotGuard<'_> {
    /// Visits the slot's keys, those in memory and `stored` ones that are not, from `first_place` on until at least
    /// `count` were visited; returns the place to go on with, or `None` when the slot is through. An entry in memory,
    /// be it of a deleted key, is the truth about its key.
    fn scan(
        &self,
        first_place: u32,
        count: usize,
        stored: Option<Stored>,
        visit: &mut impl FnMut(&Entry),
    ) -> Option<u32> {
        let mut live = |entry: &Entry| {
            if !entry.marks().has(Marks::DELETED) {
                visit(entry);
            }
        };
        let Some(stored) = stored else { return self.table().scan(first_place, count, live) };
        let end = stored.next.unwrap_or(u32::MAX);
        self.table().scan(first_place, usize::MAX, |entry| {
            if place(self.keyspace().spot(entry.key()).hash) < end {
                live(entry);
            }
        });
        for (place, entry) in &stored.entries {
            if self.table().find(*place, |other| other.key() == entry.key()).is_none() {
                live(entry);
            }
        }
        stored.next
    }
}

fn has_expired(entry: &Entry, caller: Caller) -> bool {
    entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= caller.now_ms)
}
