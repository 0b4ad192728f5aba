//! Bringing what a batch of commands is going to touch into the cache, all at once.
//!
//! With a million keys a lookup is three dependent cache misses: the slot, its cells, the entry. Done one command after
//! the other they are most of a GET's time. Done for the whole batch, a step at a time, they overlap; Valkey and Garnet
//! do the like.

use super::table::place;
use super::{Key, Keyspace, Slots};
use crate::base::prefetch::prefetch;

impl Keyspace {
    /// Prefetches the entries of `keys`, or where they would be. Only a hint: it changes and promises nothing.
    pub fn prefetch(&self, database: usize, keys: &[Key<'_>]) {
        let Some(slots) = self.database(database).slots.get() else { return };
        for key in keys {
            prefetch(&slots.slots[usize::from(key.slot)]);
        }
        for key in keys {
            with_slot(slots, key, |slot| slot.table.prefetch_cells(place(key.hash)));
        }
        for key in keys {
            with_slot(slots, key, |slot| slot.table.prefetch_entry(place(key.hash)));
        }
    }
}

/// A slot that another thread holds is left out.
fn with_slot(slots: &Slots, key: &Key<'_>, look: impl FnOnce(&super::slot::Slot)) {
    if let Some(slot) = slots.slots[usize::from(key.slot)].try_lock() {
        look(&slot);
    }
}
