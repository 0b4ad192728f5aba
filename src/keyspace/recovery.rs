//! What a start does: take over the counts that are on disk, then replay what the journal has beyond them. No record is
//! read but those that a change in place is replayed on.

use super::effect::{Effect, Place};
use super::entry::Owned;
use super::loader::{Cold, Loader};
use super::residency::{Differences, Residence};
use super::tally::Size;
use super::{Caller, DATABASES, Key, Keyspace, NewExpiry, Spot};
use crate::base::slot::SLOTS;
use crate::store::rocks::{Rocks, RocksError};

/// Nothing expires while it is replayed: it had not when it was written.
const REPLAY: Caller = Caller { now_ms: 0, touches: false };

/// What a replay did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    /// Changes that were not on disk yet.
    pub applied: u64,
    /// Changes that were.
    pub known: u64,
}

impl Keyspace {
    /// Takes over what the store tells of its slots, before anything is replayed or served.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn adopt(&self, store: &Rocks) -> Result<(), RocksError> {
        if let Some(order) = store.order()? {
            self.set_order(order);
        }
        for (physical, number, meta) in store.slots()? {
            let Some(database) = self.databases.get(usize::from(physical)).filter(|_| number < SLOTS) else {
                return Err(RocksError::corruption(format!("there is no slot {number} of database {physical}")));
            };
            let slots = database.slots.get().unwrap_or_else(|| self.begin_slots(physical));
            let mut slot = slots.slots[usize::from(number)].lock();
            slot.sequence = meta.sequence;
            let size = Size {
                keys: meta.keys,
                expiring: meta.expiring,
                key_bytes: meta.key_bytes,
                value_bytes: meta.value_bytes,
            };
            slot.size = size.into();
            slot.differences = Differences::all_cold(meta.keys);
            database.tally.add(number, size.as_change());
            database.tally.add_cold(number, meta.keys as i64);
        }
        Ok(())
    }

    /// Whether any slot has ever been changed, as far as the store tells.
    pub fn was_ever_written(&self) -> bool {
        self.used().next().is_some()
    }

    /// Replays one block of the journal: what its slots do not have yet, in their order.
    ///
    /// # Errors
    /// When the block is not what the journal writes, or a record that it builds upon cannot be read.
    pub fn replay(&self, block: &[u8], recovery: &mut Recovery) -> Result<(), String> {
        let mut effects = Vec::new();
        let mut rest = block;
        while !rest.is_empty() {
            effects.push(Effect::decode(&mut rest).ok_or("a change in it cannot be read")?);
        }
        // Threads put their changes in side by side; a slot's are told apart by their numbers.
        effects.sort_by_key(|(place, ..)| *place);
        for (place, key, effect) in effects {
            if usize::from(place.database) >= DATABASES || place.slot != crate::base::slot::slot(key) {
                return Err("a change in it is of no such database or slot".to_owned());
            }
            if self.replay_effect(place, key, effect)? {
                recovery.applied += 1;
            } else {
                recovery.known += 1;
            }
        }
        Ok(())
    }

    fn replay_effect(&self, place: Place, key: &[u8], effect: Effect<'_>) -> Result<bool, String> {
        let Spot { hash, slot } = self.spot(key);
        let key = Key { bytes: key, hash, slot };
        let mut guard = self.lock_slot(REPLAY, place.database, slot);
        if place.sequence <= guard.slot.sequence {
            return Ok(false);
        }
        // The journal has this change already.
        guard.staged = Some(Vec::new());
        if matches!(effect, Effect::Expire(_) | Effect::Modify(_)) {
            let mut cold = Cold::default();
            loop {
                match guard.make_resident(&key, &mut cold) {
                    Residence::Here => break,
                    Residence::Failed(error) => return Err(error),
                    Residence::Cold => self.load_now(&mut cold),
                }
            }
        }
        match effect {
            Effect::Put { kind, payload, expiry_ms } => {
                let expiry = expiry_ms.map_or(NewExpiry::Never, NewExpiry::At);
                let value = Owned::from_record(kind, payload).ok_or_else(|| format!("unknown type {kind}"))?;
                guard.put(&key, value, expiry);
            }
            Effect::Delete if guard.remove(&key) => {}
            Effect::Delete => guard.bury_unseen(&key),
            Effect::Expire(expiry_ms) => drop(guard.set_expiry(&key, expiry_ms)),
            Effect::Modify(change) => drop(guard.modify(&key, change)),
        }
        guard.slot.sequence = place.sequence;
        Ok(true)
    }

    /// Loads in this thread, while there is nobody else.
    fn load_now(&self, cold: &mut Cold) {
        if let Some(tier) = self.tier() {
            Loader::load_here(&tier.store, cold);
        }
    }
}
