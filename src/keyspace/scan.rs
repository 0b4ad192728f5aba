//! Walks over all keys of a database: SCAN, KEYS, RANDOMKEY.

use std::any::Any;
use std::ops::ControlFlow;

use super::entry::{Entry, Marks};
use super::recency::Recency;
use super::residency::content;
use super::table::{PLACE_BITS, place};
use super::{Caller, Keyspace, SlotGuard};
use crate::base::chunks::BytesRef;
use crate::base::slot::SLOTS;
use crate::store::record::Record;
use crate::store::rocks::{Rocks, RocksError};

/// Slots that one SCAN call that has found something passes at most, or as many as it was to find keys: a sparse
/// database costs a bounded time a call. One with no more than that many keys is gone through in one call.
const SLOTS_PER_CALL: usize = 2048;
/// Records that a step of a walk reads, about.
const RECORDS_A_STEP: usize = 256;
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

/// A walk over keys, in steps. It holds what it has found. Whoever takes the steps can do other things in between, and
/// another thread may go on with it: a worker walks as far as memory goes, and leaves the rest to the loader.
pub trait Walk: Any + Send {
    /// Takes a step; `may_read`: the thread may wait for the disk.
    ///
    /// # Errors
    /// When cold keys cannot be read; that ends the walk.
    fn step(&mut self, keyspace: &Keyspace, may_read: bool) -> Result<Step, RocksError>;
}

/// How a step of a walk has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to walk over.
    More,
    /// It is through.
    Done,
    /// Nothing was done: records have to be read from the disk first, and the step was not to.
    Cold,
}

/// What is done with the keys that a walk comes by.
pub trait Visitor: Send + 'static {
    /// Whether the key is to be visited.
    fn wants(&self, _entry: &Entry) -> bool {
        true
    }

    /// Looks at a key, once, and only if it exists and is wanted. Its slot is locked meanwhile.
    fn visit(&mut self, entry: &Entry);
}

/// A walk over the keys of one database, a slot or a part of it a step.
pub struct Scan<V> {
    caller: Caller,
    physical: u8,
    /// Where it goes on; `None`: it is through.
    position: Option<(u16, u32)>,
    /// Keys it is to find, and slots it may pass once it has found any.
    count: usize,
    most_slots: usize,
    met: usize,
    passed: usize,
    pub visitor: V,
}

impl<V: Visitor> Scan<V> {
    /// Where the next walk may go on: behind the keys that this one has met.
    pub fn cursor(&self) -> Cursor {
        self.position.map_or(Cursor::START, |(slot, place)| Cursor::new(slot, place))
    }
}

impl<V: Visitor> Walk for Scan<V> {
    fn step(&mut self, keyspace: &Keyspace, may_read: bool) -> Result<Step, RocksError> {
        let Some((slot, place)) = self.position else { return Ok(Step::Done) };
        if self.passed >= self.most_slots && self.met > 0 || self.met >= self.count {
            return Ok(Step::Done);
        }
        let left = self.count - self.met;
        let about = left.min(RECORDS_A_STEP);
        let locked = keyspace.lock_with_stored(self.caller, self.physical, slot, place, about, may_read)?;
        let Some((mut guard, stored)) = locked else { return Ok(Step::Cold) };
        let (caller, met, visitor) = (self.caller, &mut self.met, &mut self.visitor);
        let mut meets_expired = false;
        let next = guard.scan(place, left, stored, &mut |entry| {
            *met += 1;
            match (visitor.wants(entry), has_expired(entry, caller)) {
                (true, true) => meets_expired = true,
                (true, false) => visitor.visit(entry),
                (false, _) => {}
            }
        });
        if meets_expired {
            guard.expire_due();
        }
        self.position = match next {
            Some(next) => Some((slot, next)),
            None => {
                self.passed += 1;
                (slot + 1 < SLOTS).then_some((slot + 1, 0))
            }
        };
        Ok(Step::More)
    }
}

/// Draws a key by chance, each with the same chance. It costs a look at a sixteenth of the slots.
pub struct RandomDraw {
    caller: Caller,
    number: usize,
    random: fn() -> u64,
    draws_left: usize,
    /// The slot drawn, and which of its keys.
    drawn: Option<(u16, usize)>,
    /// Where nearly all have expired, or go while we draw: any that is left will do.
    any: Option<Scan<First>>,
    /// The key; `None` if there is none.
    pub name: Option<Vec<u8>>,
}

/// The first key that is met.
#[derive(Default)]
struct First(Option<Vec<u8>>);

impl Visitor for First {
    fn visit(&mut self, entry: &Entry) {
        self.0.get_or_insert_with(|| entry.key().to_vec());
    }
}

impl Walk for RandomDraw {
    fn step(&mut self, keyspace: &Keyspace, may_read: bool) -> Result<Step, RocksError> {
        if let Some(any) = &mut self.any {
            let step = any.step(keyspace, may_read)?;
            self.name = any.visitor.0.take();
            return Ok(if self.name.is_some() { Step::Done } else { step });
        }
        // What was drawn holds until it can be looked at, or keys in memory would have the better chance.
        if self.drawn.is_none() {
            if self.draws_left == 0 {
                self.any = Some(keyspace.scan(self.caller, self.number, Cursor::START, usize::MAX, First::default()));
                return Ok(Step::More);
            }
            self.draws_left -= 1;
            self.drawn = self.draw(keyspace);
        }
        let Some((slot, skipped)) = self.drawn else {
            return Ok(if keyspace.is_empty(self.number) { Step::Done } else { Step::More });
        };
        let physical = keyspace.physical(self.number);
        let locked = keyspace.lock_with_stored(self.caller, physical, slot, 0, usize::MAX, may_read)?;
        let Some((mut guard, stored)) = locked else { return Ok(Step::Cold) };
        self.drawn = None;
        let mut left = skipped;
        guard.scan(0, usize::MAX, stored, &mut |entry| {
            if left == 0 && self.name.is_none() && !has_expired(entry, self.caller) {
                self.name = Some(entry.key().to_vec());
            }
            left = left.saturating_sub(1);
        });
        if self.name.is_some() {
            return Ok(Step::Done);
        }
        guard.expire_due();
        Ok(Step::More)
    }
}

impl RandomDraw {
    /// A slot, and which of its keys; `None` if there are none, or some went meanwhile.
    fn draw(&self, keyspace: &Keyspace) -> Option<(u16, usize)> {
        let physical = keyspace.physical(self.number);
        let database = &keyspace.databases[usize::from(physical)];
        let counts = database.tally.keys_by_part();
        let total: usize = counts.iter().sum();
        let mut skipped = (self.random)().checked_rem(total as u64)? as usize;
        let mut part = 0;
        while skipped >= counts[part] {
            skipped -= counts[part];
            part += 1;
        }
        for slot in (part as u16..SLOTS).step_by(counts.len()) {
            let len = keyspace.lock_slot(self.caller, physical, slot).slot.size.keys() as usize;
            if skipped < len {
                return Some((slot, skipped));
            }
            skipped -= len;
        }
        None
    }
}

impl Keyspace {
    /// A walk that visits about `count` keys from `cursor` on. A key that exists throughout the walks that go on where
    /// the one before ended is met exactly once (<https://redis.io/docs/latest/commands/scan/>). Only what the visitor
    /// wants is visited, and where that has expired, it is deleted instead.
    pub fn scan<V: Visitor>(
        &self,
        caller: Caller,
        database: usize,
        cursor: Cursor,
        count: usize,
        visitor: V,
    ) -> Scan<V> {
        let physical = self.physical(database);
        let keys = self.len(database);
        let is_used = keys > 0 && self.databases[usize::from(physical)].slots.get().is_some();
        let most_slots = if keys <= count as u64 { usize::from(SLOTS) } else { count.max(SLOTS_PER_CALL) };
        let position = cursor.parts().filter(|_| is_used);
        Scan { caller, physical, position, count, most_slots, met: 0, passed: 0, visitor }
    }

    /// A draw of a key of a database.
    pub fn draw(&self, caller: Caller, database: usize, random: fn() -> u64) -> RandomDraw {
        let number = database;
        RandomDraw { caller, number, random, draws_left: RANDOM_DRAWS, drawn: None, any: None, name: None }
    }

    /// Locks a slot, with the records of it from `place` on that are on disk alone: `about` so many and all others of
    /// the last one's place. They are read before the lock is taken, so that nobody waits at it for the disk. `None`:
    /// there may be some, and they may not be read.
    fn lock_with_stored(
        &self,
        caller: Caller,
        physical: u8,
        slot: u16,
        place: u32,
        about: usize,
        may_read: bool,
    ) -> Result<Option<(SlotGuard<'_>, Option<Stored>)>, RocksError> {
        loop {
            let guard = self.lock_slot(caller, physical, slot);
            let Some(tier) = self.tier().filter(|_| guard.slot.differences.cold > 0) else {
                return Ok(Some((guard, None)));
            };
            if !may_read {
                return Ok(None);
            }
            let departures = guard.slot.differences.departures();
            drop(guard);
            let stored = Stored::read(&tier.store, physical, slot, place, about)?;
            let guard = self.lock_slot(caller, physical, slot);
            if guard.slot.differences.departures() == departures {
                return Ok(Some((guard, Some(stored))));
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
    fn read(store: &Rocks, physical: u8, slot: u16, place: u32, about: usize) -> Result<Stored, RocksError> {
        let mut stored = Stored { entries: Vec::new(), next: None };
        let mut damage = None;
        let first_hash = place << (u32::BITS - PLACE_BITS);
        store.scan_slot(physical, slot, first_hash, |key, value| {
            let place = key.hash >> (u32::BITS - PLACE_BITS);
            let is_enough = stored.entries.len() >= about;
            if is_enough && stored.entries.last().is_some_and(|(last, _)| *last < place) {
                stored.next = Some(place);
                return ControlFlow::Break(());
            }
            let record = Record::decode(value).map_err(|error| error.to_string());
            let entry = record.and_then(|record| {
                let content = content(record.kind, BytesRef::Slice(record.payload))
                    .ok_or_else(|| format!("unknown type {}", record.kind))?;
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
