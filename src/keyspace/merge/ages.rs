//! The index of ages, which `maxdisk` evicts by: kept while there is a limit, made where it is missing.
//!
//! It has exactly one entry a record, under the time of the record's writing. Whoever replaces or deletes a record takes
//! its entry away in the same batch: a round looks the old record up, the sweep knows the time from the index of
//! expiries, eviction comes from the entry itself. So eviction believes the index and reads no record. Where the limit is
//! taken away, the index goes; where one is set, it is made anew from all records, by steps between the merger's rounds.
//!
//! An evicted key does not come back. Only a key whose record is the truth is evicted, so every change to it that the
//! journal holds has a number below that of its eviction. The eviction is itself a change, with a number and in the
//! journal; the batch that deletes the record tells the slot's number. A crash before it has the journal delete the key,
//! as far as the journal got; after it, the replay passes over all of them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::super::disk::tier::Tier;
use super::super::memory::key::Caller;
use super::merger::{Ages, MergerState, Merging, retry};
use super::round::Round;
use super::space::content_bytes;
use crate::store::collection;
use crate::store::record::{AgeIndex, Record, RecordKey};
use crate::store::rocks::{Batch, IndexEntry, RocksError};

/// Keys that one round evicts at most, and how many of a database are looked at together.
const EVICTED_KEYS: usize = 20_000;
const OLDEST_KEYS: usize = 4096;
/// What one step of making the index goes through at most.
const STEP_KEYS: usize = 20_000;
const STEP_BYTES: usize = 16 << 20;
/// How long writes wait for a full disk until keys are evicted by an index that does not have all of them yet.
const PATIENCE: Duration = Duration::from_secs(10);

impl Merging<'_> {
    /// Makes or deletes the index, as `maxdisk` wants it, before a round. True: there is more to make.
    pub fn tend_ages(
        &self,
        state: &mut MergerState,
        now_ms: u64,
        gives_up: &impl Fn() -> bool,
    ) -> Result<bool, RocksError> {
        let is_wanted = self.settings.maxdisk.get() > 0;
        match (is_wanted, &mut state.ages) {
            (_, Ages::Unknown) => {
                let found = retry(self.tier, gives_up, || self.tier.store.age_index())?;
                state.ages = match found {
                    Some(index) if index.is_complete && is_wanted => {
                        self.merger.space.restore_ratio(index.disk_bytes_a_byte);
                        Ages::Complete
                    }
                    Some(_) if !is_wanted => Ages::Complete,
                    // One that was left incomplete is made anew.
                    _ => Ages::None,
                };
                return match (is_wanted, &state.ages) {
                    (true, Ages::None) | (false, Ages::Complete) => self.tend_ages(state, now_ms, gives_up),
                    _ => Ok(false),
                };
            }
            (false, Ages::None) | (true, Ages::Complete) => return Ok(false),
            (true, Ages::None) => {
                self.begin_ages(Some(AgeIndex { is_complete: false, disk_bytes_a_byte: 0.0 }), gives_up)?;
                state.ages = Ages::Incomplete { before_ms: now_ms, from: Vec::new(), full_since: None };
            }
            (false, _) => {
                self.begin_ages(None, gives_up)?;
                state.ages = Ages::None;
            }
            (true, Ages::Incomplete { from, .. }) => match make_step(self.tier, from, gives_up)? {
                Some(next) => *from = next,
                None => {
                    tracing::info!("the index of ages is complete");
                    state.ages = Ages::Complete;
                }
            },
        }
        state.evicted_to = Default::default();
        Ok(matches!(state.ages, Ages::Incomplete { .. }))
    }

    fn begin_ages(&self, index: Option<AgeIndex>, gives_up: &impl Fn() -> bool) -> Result<(), RocksError> {
        let mut batch = Batch::default();
        batch.delete_ages();
        batch.put_age_index(index);
        retry(self.tier, gives_up, || self.tier.store.write(&batch))
    }

    /// Deletes the oldest keys while there is too much on disk. True: the round had not room for all that should go.
    pub fn evict_oldest(
        &self,
        state: &mut MergerState,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<bool, RocksError> {
        if round.written_ms < state.evicted_up_to_ms {
            // The clock was set back: there will be entries before the places that were reached.
            (state.evicted_to, state.evicted_up_to_ms) = Default::default();
        }
        // What was written since the index was begun is younger than what is missing.
        let up_to_ms = match &mut state.ages {
            Ages::Complete => u64::MAX,
            Ages::Incomplete { full_since, .. } if !self.is_disk_full(self.dirty_bytes()) => {
                *full_since = None;
                return Ok(false);
            }
            Ages::Incomplete { before_ms, full_since, .. } => {
                if full_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                    return Ok(false);
                }
                before_ms.saturating_sub(1)
            }
            Ages::Unknown | Ages::None => return Ok(false),
        };
        let mut excess_bytes = self.excess_bytes();
        if excess_bytes == 0 || self.tier.has_failed() {
            return Ok(false);
        }
        let caller = Caller { now_ms: round.written_ms, touches: false };
        let mut evicted = 0;
        while excess_bytes > 0 && evicted < EVICTED_KEYS {
            let oldest = retry(self.tier, gives_up, || self.oldest(state, up_to_ms))?;
            let evicted_before = evicted;
            for aged in &oldest {
                if excess_bytes == 0 || evicted >= EVICTED_KEYS {
                    break;
                }
                let Some(record_key) = RecordKey::decode(&aged.record_key) else { continue };
                state.evicted_to.insert(record_key.database, aged.index_key());
                state.evicted_up_to_ms = aged.time_ms;
                let key = retry(self.tier, gives_up, || self.tier.store.whole_key(&record_key, &aged.record_key))?;
                let Some(key) = key else { continue };
                let key = self.key(&key);
                let mut slot = self.lock_slot(caller, record_key.database, record_key.slot);
                if slot.discard(&key, aged.value_bytes, aged.other_ms) {
                    drop(slot);
                    round.forget_age(aged);
                    round.delete_leaves((record_key.database, record_key.slot), aged.collection);
                    evicted += 1;
                    excess_bytes = excess_bytes.saturating_sub(content_bytes(1, key.bytes.len(), aged.value_bytes));
                    self.merger.space.evicted.add(1);
                }
            }
            if evicted == evicted_before {
                return Ok(false);
            }
        }
        Ok(excess_bytes > 0)
    }

    /// The oldest entries of all databases, in their order, from where each was left.
    fn oldest(&self, state: &MergerState, up_to_ms: u64) -> Result<Vec<IndexEntry>, RocksError> {
        let mut all = Vec::new();
        let mut known_up_to_ms = u64::MAX;
        for (physical, database) in self.databases.all.iter().enumerate() {
            if database.slots.get().is_none() {
                continue;
            }
            let physical = physical as u8;
            let after = state.evicted_to.get(&physical).map_or([].as_slice(), Vec::as_slice);
            let found = self.tier.store.oldest(physical, after, up_to_ms, OLDEST_KEYS)?;
            if let Some(last) = found.last().filter(|_| found.len() == OLDEST_KEYS) {
                known_up_to_ms = known_up_to_ms.min(last.time_ms);
            }
            all.extend(found);
        }
        all.sort_by_key(|aged| aged.time_ms);
        all.truncate(all.partition_point(|aged| aged.time_ms <= known_up_to_ms));
        Ok(all)
    }
}

/// Puts the next records from `from` on into the index. Returns where to go on; `None`: it is complete.
fn make_step(tier: &Tier, from: &[u8], gives_up: &impl Fn() -> bool) -> Result<Option<Vec<u8>>, RocksError> {
    retry(tier, gives_up, || {
        let mut batch = Batch::default();
        let (mut keys, mut bytes, mut next) = (0, 0, None);
        tier.store.scan_records(from, |key, value| {
            if keys >= STEP_KEYS || bytes >= STEP_BYTES {
                next = Some(key.to_vec());
                return Ok(ControlFlow::Break(()));
            }
            let record = Record::decode(value).map_err(|error| RocksError::corruption(error.to_string()))?;
            let summary = collection::summary(&record).map_err(|error| RocksError::corruption(error.to_string()))?;
            batch.put_age(record.written_ms, key, summary, record.expiry_ms);
            keys += 1;
            bytes += value.len();
            Ok(ControlFlow::Continue(()))
        })?;
        if next.is_none() {
            batch.put_age_index(Some(AgeIndex { is_complete: true, disk_bytes_a_byte: 0.0 }));
        }
        tier.store.write(&batch)?;
        Ok(next)
    })
}
