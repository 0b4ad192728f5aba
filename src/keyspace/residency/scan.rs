//! Walks over all keys of a database: SCAN, KEYS, RANDOMKEY.

use std::any::Any;

use super::super::memory::databases::Databases;
use super::super::memory::entry::{Entry, Marks};
use super::super::memory::key::Caller;
use super::super::memory::locked::LockedSlot;
use super::super::memory::table::TOKEN_BITS;
use super::stored::{Position, Stored, with_stored};
use crate::base::slot::SLOTS;
use crate::store::rocks::RocksError;

/// Slots that one SCAN call that has found something passes at most, or as many as it was to find keys: a sparse
/// database costs a bounded time a call. One with no more than that many keys is gone through in one call.
const SLOTS_PER_CALL: usize = 2048;
/// Keys that a step of a walk looks at, in memory and on disk, about.
const KEYS_A_STEP: usize = 256;

/// Where a walk goes on: a slot, and a token in the order of its keys' hashes. 0 is the start, and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Before the first key.
    pub const START: Cursor = Cursor(0);

    fn new(slot: u16, token: u32) -> Cursor {
        Cursor(u64::from(slot) << TOKEN_BITS | u64::from(token))
    }

    /// `None` for numbers that no call gave out: they end a walk.
    fn parts(self) -> Option<(u16, u32)> {
        let slot = self.0 >> TOKEN_BITS;
        (slot < u64::from(SLOTS)).then_some((slot as u16, (self.0 & ((1 << TOKEN_BITS) - 1)) as u32))
    }
}

/// A walk over keys, in steps. It holds what it has found. Whoever takes the steps can do other things in between, and
/// another thread may go on with it: a worker walks as far as memory goes, and leaves the rest to the loader.
pub trait Walk: Any + Send {
    /// Takes a step; `may_read`: the thread may wait for the disk.
    ///
    /// # Errors
    /// When cold keys cannot be read; that ends the walk.
    fn step(&mut self, databases: &Databases, may_read: bool) -> Result<Step, RocksError>;
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
    /// Whether it looks at values. If not, those of keys that are on disk alone are not read, and it is shown empty ones of their
    /// types.
    const READS_VALUES: bool = false;

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
    /// What the walk shows its keys to.
    pub visitor: V,
}

impl<V: Visitor> Scan<V> {
    /// Where the next walk may go on: behind the keys that this one has met.
    pub fn cursor(&self) -> Cursor {
        self.position.map_or(Cursor::START, |(slot, token)| Cursor::new(slot, token))
    }
}

impl<V: Visitor> Walk for Scan<V> {
    fn step(&mut self, databases: &Databases, may_read: bool) -> Result<Step, RocksError> {
        let Some((slot, token)) = self.position else { return Ok(Step::Done) };
        if self.passed >= self.most_slots && self.met > 0 || self.met >= self.count {
            return Ok(Step::Done);
        }
        let left = (self.count - self.met).min(KEYS_A_STEP);
        let position = Position { physical: self.physical, slot, token };
        let (caller, met, visitor) = (self.caller, &mut self.met, &mut self.visitor);
        let next = with_stored(databases, caller, position, left, V::READS_VALUES, may_read, |guard, stored| {
            let mut meets_expired = false;
            let next = scan_slot(guard, token, left, stored, &mut |entry| {
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
            next
        })?;
        let Some(next) = next else { return Ok(Step::Cold) };
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

impl Databases {
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
        let is_used = keys > 0 && self.all[usize::from(physical)].slots.get().is_some();
        let most_slots = if keys <= count as u64 { usize::from(SLOTS) } else { count.max(SLOTS_PER_CALL) };
        let position = cursor.parts().filter(|_| is_used);
        Scan { caller, physical, position, count, most_slots, met: 0, passed: 0, visitor }
    }
}

/// Visits the slot's keys, those in memory and `stored` ones that are not, in the order of their tokens, from
/// `first_token` on until at least `count` were looked at; returns the token to go on with, or `None` when the slot is
/// through. An entry in memory, be it of a deleted key, is the truth about its key.
fn scan_slot(
    slot: &LockedSlot<'_>,
    first_token: u32,
    count: usize,
    stored: Stored,
    visit: &mut impl FnMut(&Entry),
) -> Option<u32> {
    let table = slot.table();
    let Stored { entries, next, .. } = stored;
    let (mut in_memory, mut stored) = (table.ordered(first_token).peekable(), entries.iter().peekable());
    let (mut looked_at, mut last_token) = (0, first_token);
    loop {
        let of_memory = in_memory.peek().map(|(token, _)| *token);
        let of_disk = stored.peek().map(|(token, _)| *token);
        // What was not read may be from `next` on.
        let Some(token) =
            of_memory.into_iter().chain(of_disk).min().filter(|token| next.is_none_or(|next| *token < next))
        else {
            return next;
        };
        if looked_at >= count && token > last_token {
            return Some(token);
        }
        (looked_at, last_token) = (looked_at + 1, token);
        if of_memory == Some(token) {
            let entry = in_memory.next().filter(|(_, entry)| !entry.marks().has(Marks::DELETED));
            entry.iter().for_each(|(_, entry)| visit(entry));
        } else if let Some((_, entry)) = stored.next()
            && table.find_key(token, entry.key()).is_none()
        {
            visit(entry);
        }
    }
}

pub fn has_expired(entry: &Entry, caller: Caller) -> bool {
    entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= caller.now_ms)
}
