//! When keys expire: each slot's deadlines, earliest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::table::TOKEN_BITS;

/// Deadlines past this (the year 2527) are kept as this; such keys still expire when they are looked at.
const MAX_DEADLINE_MS: u64 = (1 << (64 - TOKEN_BITS)) - 1;
/// A queue this short is never compacted.
const COMPACT_FROM: usize = 32;

/// A min-heap of 8-byte records, deadline above token: the token leads to the entry in the slot's table. It takes a pointer
/// as long as no key of the slot has an expiry.
///
/// A record is never searched for. When a key's expiry changes or goes, its old record stays until it is due and then
/// leads to nothing; when stale records outnumber the live ones, the slot makes its queue anew from its table.
#[derive(Default)]
pub struct ExpiryQueue(Option<Box<Deadlines>>);

#[derive(Default)]
struct Deadlines {
    records: BinaryHeap<Reverse<u64>>,
    /// Keys of the slot that have an expiry.
    live: usize,
}

fn record(token: u32, deadline_ms: u64) -> Reverse<u64> {
    Reverse(deadline_ms.min(MAX_DEADLINE_MS) << TOKEN_BITS | u64::from(token))
}

fn token(record: u64) -> u32 {
    (record & ((1 << TOKEN_BITS) - 1)) as u32
}

/// Whether a record's deadline is that of a key with this expiry.
pub fn is_same(expiry_ms: u64, deadline_ms: u64) -> bool {
    expiry_ms.min(MAX_DEADLINE_MS) == deadline_ms
}

impl ExpiryQueue {
    /// Adds the expiry of a key of that token that had none.
    pub fn add(&mut self, token: u32, deadline_ms: u64) {
        self.0.get_or_insert_default().live += 1;
        self.change(token, deadline_ms);
    }

    /// Adds another expiry of a key that had one.
    pub fn change(&mut self, token: u32, deadline_ms: u64) {
        if let Some(deadlines) = &mut self.0 {
            deadlines.records.push(record(token, deadline_ms));
        }
    }

    /// Counts off a key that lost its expiry, or was deleted.
    pub fn forget(&mut self) {
        if let Some(deadlines) = &mut self.0 {
            deadlines.live -= 1;
            if deadlines.live == 0 {
                self.0 = None;
            }
        }
    }

    pub fn live(&self) -> usize {
        self.0.as_ref().map_or(0, |deadlines| deadlines.live)
    }

    /// The earliest deadline that may be real, in Unix milliseconds; `u64::MAX` if there is none.
    pub fn next_deadline_ms(&self) -> u64 {
        let earliest = self.0.as_ref().and_then(|deadlines| deadlines.records.peek());
        earliest.map_or(u64::MAX, |record| record.0 >> TOKEN_BITS)
    }

    /// Takes the earliest record if it is due, and gives its token.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<u32> {
        if self.next_deadline_ms() > now_ms {
            return None;
        }
        let earliest = self.0.as_mut().and_then(|deadlines| deadlines.records.pop());
        earliest.map(|record| token(record.0))
    }

    /// Up to `count` records side by side, from one drawn by chance on: token and deadline. Some may be stale.
    pub fn sample(&self, random: u64, count: usize) -> impl Iterator<Item = (u32, u64)> {
        let records = self.0.as_ref().map_or([].as_slice(), |deadlines| deadlines.records.as_slice());
        let first = random.checked_rem(records.len() as u64).unwrap_or(0) as usize;
        let (before, behind) = records.split_at(first);
        behind.iter().chain(before).take(count).map(move |record| (token(record.0), record.0 >> TOKEN_BITS))
    }

    /// Bytes of the records, and of what holds them.
    pub fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |deadlines| size_of::<Deadlines>() + deadlines.records.capacity() * size_of::<u64>())
    }

    pub fn needs_compaction(&self) -> bool {
        self.0.as_ref().is_some_and(|deadlines| {
            deadlines.records.len() >= COMPACT_FROM && deadlines.records.len() > 2 * deadlines.live
        })
    }

    /// Replaces all records by those of the keys that have an expiry.
    pub fn compact(&mut self, keys: impl Iterator<Item = (u32, u64)>) {
        if let Some(deadlines) = &mut self.0 {
            deadlines.records = keys.map(|(token, deadline_ms)| record(token, deadline_ms)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_records_come_in_order_and_no_sooner() {
        let mut queue = ExpiryQueue::default();
        for (token, deadline_ms) in [(3, 300), (1, 100), (2, 200), (4, u64::MAX)] {
            queue.add(token, deadline_ms);
        }
        assert_eq!((queue.next_deadline_ms(), queue.live()), (100, 4));
        assert_eq!((queue.pop_due(99), queue.pop_due(250), queue.pop_due(250)), (None, Some(1), Some(2)));
        assert_eq!(queue.pop_due(250), None);
        assert_eq!(queue.next_deadline_ms(), 300);
    }

    #[test]
    fn changes_do_not_pile_up() {
        let mut queue = ExpiryQueue::default();
        queue.add(5, 1);
        for deadline_ms in 0..10_000 {
            queue.change(5, deadline_ms);
            if queue.needs_compaction() {
                queue.compact([(5, deadline_ms)].into_iter());
            }
        }
        assert!(queue.0.as_ref().is_some_and(|deadlines| deadlines.records.len() <= COMPACT_FROM));
        assert!(queue.next_deadline_ms() >= 9_968);
    }
}
