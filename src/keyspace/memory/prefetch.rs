//! Bringing what a batch of commands is going to touch into the cache, all at once.
//!
//! With a million keys a lookup is three dependent cache misses: the slot, its cells, the entry; a write notes besides that
//! memory and disk differ. Done one command after the other they are most of a GET's time. Done for the whole batch, a step
//! at a time, they overlap; Valkey and Garnet do the like.

use super::databases::Databases;
use super::key::{Key, KeyHash};
use super::slot::Slot;
use super::slots::Slots;
use super::table::token;
use crate::base::prefetch::{LINE_BYTES, prefetch};

/// Keys of one command that are prefetched at most: so many fit into the second cache, with room for others.
const KEYS_OF_A_COMMAND: usize = 256;

impl Databases {
    /// Prefetches the keys of one command, of one database; see [`Databases::prefetch`].
    pub fn prefetch_keys<'k>(&self, database: usize, keys: impl Iterator<Item = Key<'k>> + Clone) {
        let key_hash = |key: Key<'k>| KeyHash { hash: key.hash, slot: key.slot };
        self.prefetch(database, keys.take(KEYS_OF_A_COMMAND).map(key_hash));
    }

    /// Prefetches the entries of keys, or where they would be. Only a hint: it changes and promises nothing.
    pub fn prefetch(&self, database: usize, key_hashes: impl Iterator<Item = KeyHash> + Clone) {
        let Some(slots) = self.database(database).slots.get() else { return };
        let has_disk = self.tier().is_some();
        for key_hash in key_hashes.clone() {
            let slot = std::ptr::from_ref(&slots.slots[usize::from(key_hash.slot)]);
            prefetch(slot);
            // What a write to disk needs besides.
            if has_disk {
                prefetch(slot.wrapping_byte_add(LINE_BYTES));
            }
        }
        for key_hash in key_hashes.clone() {
            with_slot(slots, key_hash, |slot| {
                slot.table.prefetch_cells(token(key_hash.hash));
                if has_disk {
                    slot.differences.prefetch();
                }
            });
        }
        for key_hash in key_hashes {
            with_slot(slots, key_hash, |slot| slot.table.prefetch_entry(token(key_hash.hash)));
        }
    }
}

/// A slot that another thread holds is left out.
#[inline]
fn with_slot(slots: &Slots, key_hash: KeyHash, look: impl FnOnce(&Slot)) {
    if let Some(slot) = slots.slots[usize::from(key_hash.slot)].try_lock() {
        look(&slot);
    }
}
