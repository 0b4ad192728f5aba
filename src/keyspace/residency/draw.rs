//! RANDOMKEY: a key drawn by chance.

use super::super::memory::databases::Databases;
use super::super::memory::entry::{Entry, Marks};
use super::super::memory::key::Caller;
use super::super::memory::locked::LockedSlot;
use super::super::memory::table::TOKEN_BITS;
use super::scan::{Cursor, Scan, Step, Visitor, Walk, has_expired};
use super::stored::{Position, with_stored};
use crate::base::slot::SLOTS;
use crate::store::rocks::RocksError;

/// How often a slot is drawn anew, when its keys have expired or gone meanwhile.
const SLOT_DRAWS: usize = 16;
/// How often a key in memory is drawn anew, when it has expired.
const KEY_DRAWS: usize = 64;
/// Keys on disk that are read together; one of them is drawn, so that it matters less how far it is from the one before.
const KEYS_A_READ: usize = 16;
/// How often more are read when all were in memory too.
const READS: usize = 64;

/// Draws a key by chance: a slot by the number of its keys, then memory or disk likewise, then one of them. In memory each
/// key has the same chance; on disk the chance goes by how far the [`KEYS_A_READ`] keys before it lie apart, those at the end
/// of the slot coming before its first. It costs a look at a sixteenth of the slots.
pub struct RandomDraw {
    caller: Caller,
    number: usize,
    random: fn() -> u64,
    draws_left: usize,
    /// Goes on with that slot's keys on disk, until one is found that is not in memory.
    on_disk: Option<OnDisk>,
    /// Where nearly all have expired, or go while we draw: any that is left will do.
    any: Option<Scan<First>>,
    /// The key; `None` if there is none.
    pub name: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct OnDisk {
    position: Position,
    /// How many keys are read from there on.
    keys: usize,
    reads_left: usize,
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
    fn step(&mut self, databases: &Databases, may_read: bool) -> Result<Step, RocksError> {
        if let Some(any) = &mut self.any {
            let step = any.step(databases, may_read)?;
            self.name = any.visitor.0.take();
            return Ok(if self.name.is_some() { Step::Done } else { step });
        }
        // What was drawn holds until it can be looked at, or keys in memory would have the better chance.
        if let Some(on_disk) = self.on_disk {
            return self.read(databases, on_disk, may_read);
        }
        if databases.is_empty(self.number) {
            return Ok(Step::Done);
        }
        if self.draws_left == 0 {
            self.any = Some(databases.scan(self.caller, self.number, Cursor::START, usize::MAX, First::default()));
            return Ok(Step::More);
        }
        self.draws_left -= 1;
        let Some(mut guard) = self.draw_slot(databases) else { return Ok(Step::More) };
        let cold = u64::from(guard.slot.cold);
        let in_memory = guard.table().len() as u64 - u64::from(guard.slot.differences.deleted);
        if (self.random)().checked_rem(cold + in_memory).is_some_and(|drawn| drawn < cold) {
            let token = ((self.random)() >> (u64::BITS - TOKEN_BITS)) as u32;
            let position = Position { physical: guard.physical, slot: guard.number, token };
            self.on_disk = Some(OnDisk { position, keys: KEYS_A_READ, reads_left: READS });
            return Ok(Step::More);
        }
        self.name = draw_in_memory(&mut guard, self.random);
        Ok(if self.name.is_some() { Step::Done } else { Step::More })
    }
}

impl RandomDraw {
    /// One of the keys from there on that are not in memory, the first behind the last.
    fn read(&mut self, databases: &Databases, on_disk: OnDisk, may_read: bool) -> Result<Step, RocksError> {
        let OnDisk { position, keys, reads_left } = on_disk;
        let (caller, random) = (self.caller, self.random);
        let read = with_stored(databases, caller, position, keys, false, may_read, |guard, stored| {
            // Where the slot ends before so many keys, its first ones are the rest of them, which one read cannot show. Without
            // them the first would be drawn only from tokens that lie right in front of it.
            let read = stored.entries.len();
            let rest = if stored.next.is_none() && position.token > 0 { keys.saturating_sub(read) } else { 0 };
            if random() % keys as u64 >= (keys - rest) as u64 {
                return (None, None, rest);
            }
            let is_candidate = |(token, entry): &(u32, Entry)| {
                guard.table().find_key(*token, entry.key()).is_none() && !has_expired(entry, caller)
            };
            let candidates: Vec<_> = stored.entries.iter().filter(|stored| is_candidate(stored)).collect();
            let drawn = random().checked_rem(candidates.len() as u64);
            (drawn.map(|drawn| candidates[drawn as usize].1.key().to_vec()), stored.next, KEYS_A_READ)
        })?;
        let Some((name, next, keys)) = read else { return Ok(Step::Cold) };
        if name.is_some() {
            self.name = name;
            return Ok(Step::Done);
        }
        let position = Position { token: next.unwrap_or(0), ..position };
        self.on_disk = (reads_left > 1).then_some(OnDisk { position, keys, reads_left: reads_left - 1 });
        Ok(Step::More)
    }

    /// A slot, by the number of its keys; `None` if some went meanwhile.
    fn draw_slot<'k>(&self, databases: &'k Databases) -> Option<LockedSlot<'k>> {
        let physical = databases.physical(self.number);
        let counts = databases.all[usize::from(physical)].counts.keys_by_part();
        let total: usize = counts.iter().sum();
        let mut skipped = (self.random)().checked_rem(total as u64)? as usize;
        let mut part = 0;
        while skipped >= counts[part] {
            skipped -= counts[part];
            part += 1;
        }
        for slot in (part as u16..SLOTS).step_by(counts.len()) {
            let guard = databases.lock_slot(self.caller, physical, slot);
            let keys = guard.slot.size.keys() as usize;
            if skipped < keys {
                return Some(guard);
            }
            skipped -= keys;
        }
        None
    }
}

/// A key in memory, drawn by chance. Keys that have expired are deleted on the way.
fn draw_in_memory(slot: &mut LockedSlot<'_>, random: fn() -> u64) -> Option<Vec<u8>> {
    for _ in 0..KEY_DRAWS {
        let index = slot.table().draw(random)?;
        let entry = slot.table().get(index);
        if entry.marks().has(Marks::DELETED) {
            continue;
        }
        if !has_expired(&entry, slot.caller) {
            return Some(entry.key().to_vec());
        }
        slot.expire(index);
    }
    None
}

impl Databases {
    /// A draw of a key of a database.
    pub fn draw(&self, caller: Caller, database: usize, random: fn() -> u64) -> RandomDraw {
        let number = database;
        RandomDraw { caller, number, random, draws_left: SLOT_DRAWS, on_disk: None, any: None, name: None }
    }
}
