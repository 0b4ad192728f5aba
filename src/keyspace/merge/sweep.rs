//! Deleting what has expired and is on disk alone: a part of each round.

use std::sync::atomic::Ordering;

use super::super::disk::tier::Tier;
use super::super::memory::key::Caller;
use super::merger::{MergerState, Merging, retry};
use super::round::{Old, Round, Swept};
use crate::store::record::RecordKey;
use crate::store::rocks::{IndexEntry, RocksError};

/// Expired cold keys that one round sweeps away at most.
const SWEEP_KEYS: usize = 20_000;

impl Merging<'_> {
    /// Counts off cold keys whose expiry has passed, and has the round delete them.
    pub fn sweep(
        &self,
        now_ms: u64,
        state: &mut MergerState,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Swept, RocksError> {
        if !self.expires_actively.load(Ordering::Relaxed) {
            return Ok(Swept::default());
        }
        let mut swept = Swept { has_more: false, up_to_ms: now_ms };
        for physical in 0..self.databases() as u8 {
            if self.databases.all[usize::from(physical)].slots.get().is_some() {
                swept.join(self.sweep_database(physical, now_ms, state, round, gives_up)?);
            }
        }
        Ok(swept)
    }

    fn sweep_database(
        &self,
        physical: u8,
        now_ms: u64,
        state: &mut MergerState,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Swept, RocksError> {
        let swept_to = state.swept_to.entry(physical).or_default();
        let due = retry(self.tier, gives_up, || self.tier.store.due_expiries(physical, swept_to, now_ms, SWEEP_KEYS))?;
        let caller = Caller { now_ms, touches: false };
        let mut first_left = None;
        for due in &due {
            let Some(record_key) = RecordKey::decode(&due.record_key) else { continue };
            // Before it is counted off: after that, nothing may fail.
            let key = retry(self.tier, gives_up, || self.tier.store.whole_key(&record_key, &due.record_key))?;
            let Some(key) = key else { continue };
            let key = self.key(&key);
            let written_ms =
                if round.keeps_age { retry(self.tier, gives_up, || written_ms(self.tier, due))? } else { None };
            if self.lock_slot(caller, physical, record_key.slot).sweep(&key, due.value_bytes) {
                round.batch.delete_record(&due.record_key);
                round.batch.delete_expiry(due.time_ms, &due.record_key);
                round.delete_leaves((physical, record_key.slot), due.collection);
                written_ms.inspect(|written_ms| round.batch.delete_age(*written_ms, &due.record_key));
                round.removed.insert(due.record_key.clone());
            } else if first_left.is_none() {
                // It is in memory: its own expiry, or its next record, takes it out of the index.
                first_left = Some(due);
            }
        }
        // What was swept is not walked over again, nor what is left of it.
        if let Some(next) = first_left.or(due.last()) {
            *swept_to = next.index_key();
        }
        let has_more = due.len() >= SWEEP_KEYS;
        let first_not_swept_ms = match (first_left, due.last()) {
            (Some(left), _) => left.time_ms,
            (None, Some(last)) if has_more => last.time_ms,
            _ => now_ms + 1,
        };
        Ok(Swept { has_more, up_to_ms: first_not_swept_ms.saturating_sub(1) })
    }
}

/// When the record of an entry of the index of expiries was written, if there is one.
fn written_ms(tier: &Tier, due: &IndexEntry) -> Result<Option<u64>, RocksError> {
    if due.other_ms.is_some() {
        return Ok(due.other_ms);
    }
    let old = tier.store.look_at_many(&[&due.record_key], Old::of).swap_remove(0)?;
    Ok(old.map(|old| old.written_ms))
}
