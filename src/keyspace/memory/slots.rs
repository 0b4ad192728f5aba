//! The slots of a database, and what is published of them outside of their locks.

use std::ops::{Deref, Range};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::super::watch::observer::Observers;
use super::counts::Counts;
use super::slot::Slot;
use super::spread::Spread;
use crate::base::slot::SLOTS;

/// One of the key spaces. Its tables come into being with the first key.
#[derive(Default)]
pub struct Database {
    pub slots: OnceLock<Slots>,
    pub counts: Counts,
}

/// Begins on a cache line and takes two.
#[derive(Default)]
#[repr(align(64))]
pub struct AlignedSlot(Mutex<Slot>);

const _: () = assert!(size_of::<AlignedSlot>() == 128);

impl Deref for AlignedSlot {
    type Target = Mutex<Slot>;
    fn deref(&self) -> &Mutex<Slot> {
        &self.0
    }
}

/// The slots of one database.
pub struct Slots {
    pub slots: Box<[AlignedSlot]>,
    /// For each slot a lower bound of its next deadline in Unix milliseconds, written under the slot's lock: the
    /// active cycle reads these instead of visiting every slot.
    pub deadlines_ms: Box<[AtomicU64]>,
    /// Entries in memory, and those of them that have an expiry: what eviction draws slots by.
    pub entries: Spread,
    pub expiring: Spread,
    /// A bit a slot: it may differ from what is on disk.
    pub dirty: Box<[AtomicU64]>,
}

impl Slots {
    pub fn new() -> Slots {
        let all = || 0..SLOTS;
        Slots {
            slots: all().map(|_| AlignedSlot::default()).collect(),
            deadlines_ms: all().map(|_| AtomicU64::new(u64::MAX)).collect(),
            entries: Spread::default(),
            expiring: Spread::default(),
            dirty: (0..SLOTS / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Slots {
    pub fn set_dirty(&self, number: u16) {
        let (word, bit) = (&self.dirty[usize::from(number / 64)], 1 << (number % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// The highest number that a change of any of them has.
    pub fn last_sequence(&self) -> u64 {
        self.slots.iter().map(|slot| slot.lock().sequence).max().unwrap_or(0)
    }

    /// Has the changes of all of them have numbers above `floor` from now on.
    pub fn raise_sequences(&self, floor: u64) {
        for slot in &self.slots {
            let mut slot = slot.lock();
            if slot.sequence == 0 {
                // It never had a change, so there is nothing that a flush would have to tell the disk of.
                slot.differences.flushed_at = floor;
            }
            slot.sequence = slot.sequence.max(floor);
        }
    }

    /// Notes in these slots whether anybody watches them.
    pub fn update_watched(&self, numbers: Range<u16>, observers: &Observers) {
        for number in numbers {
            let mut slot = self.slots[usize::from(number)].lock();
            slot.is_watched = observers.watch(number);
        }
    }

    /// Visits every slot that was marked, and takes the mark away before.
    pub fn take_dirty(&self, mut visit: impl FnMut(u16)) {
        debug_assert_eq!(self.dirty.len() * 64, usize::from(SLOTS));
        for (index, word) in self.dirty.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::AcqRel);
            while bits != 0 {
                visit((index * 64) as u16 + bits.trailing_zeros() as u16);
                bits &= bits - 1;
            }
        }
    }
}
