//! Making room: which keys go when memory is over `maxmemory`.
//!
//! A round looks at a sample of entries, taken from a few slots side by side, ranks them by the policy and evicts the
//! worst part. The hand goes round all slots, so every entry is looked at again and again; keys lie in the slots by
//! their hashes, so a few slots are as good a sample as any.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::entry::Entry;
use super::recency::{Recency, Rules};
use super::slot::SlotGuard;
use super::tally::Size;
use super::tier::DIRTY_SHARE;
use super::{Caller, Keyspace};
use crate::base::chunks::LARGE_BYTES;
use crate::base::slot::SLOTS;
use crate::base::{memory, thread};
use crate::config::EvictionPolicy;

/// Entries looked at in a round, for each of `maxmemory-samples`.
const SAMPLE_FACTOR: usize = 6;
/// Entries of one slot in a sample, so that a huge slot is not looked at alone.
const SAMPLE_OF_SLOT: usize = 16;
/// Slots visited for a sample once there is a candidate: few keys in many slots are worth no long walk. With a disk, where it
/// may be that nothing can go for now, also if there is none.
const SAMPLE_SLOTS: u64 = 2048;
/// A round evicts one in so many of its sample.
const VICTIM_SHARE: usize = 10;
/// S3-FIFO: the probationary queue's share of all entries, in percent.
const PROBATION_PERCENT: usize = 10;
/// S3-FIFO: uses on probation that earn a place in the main queue.
const PROMOTION_USES: u8 = 2;

/// With a disk: how long eviction rests after it found hardly anything that may leave memory.
const REST_MS: u64 = 20;
/// What takes memory and is no data counts up to such a share of `maxmemory` against what a value may take.
const FIXED_SHARE: u64 = 4;
/// Looks at a slot and at nothing in it.
const IDLE: Caller = Caller { now_ms: 0, touches: false };

struct Candidate {
    physical: u8,
    slot: u16,
    place: u32,
    recency: Recency,
    expiry_ms: Option<u64>,
}

/// Whether there is room for a command that may need memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// Memory is over its limit, and there is nothing to evict by the policy.
    None,
    /// It is over its limit, and what could go has to be written to disk first.
    Soon,
}

impl Keyspace {
    /// Evicts until memory is within `maxmemory`, unless what is wanted could never be held.
    ///
    /// It takes a bounded time (`maxmemory-eviction-tenacity`): while it makes progress, the next caller goes on.
    #[inline]
    pub fn make_room(&self, caller: Caller, wanted_bytes: impl FnOnce() -> usize) -> Room {
        let max_bytes = self.settings.maxmemory.get();
        if max_bytes == 0 || memory::committed_bytes() <= max_bytes {
            return Room::Enough;
        }
        let wanted_bytes = wanted_bytes();
        if wanted_bytes >= LARGE_BYTES && !self.can_hold(wanted_bytes, wanted_bytes) {
            return Room::None;
        }
        match self.tier() {
            None if self.evict_down_to(caller, max_bytes) => Room::Enough,
            None => Room::None,
            Some(tier) => {
                let is_tried = !tier.is_eviction_resting(caller.now_ms);
                let is_within = is_tried && self.evict_down_to(caller, max_bytes);
                if !is_within && self.dirty_bytes() > max_bytes / DIRTY_SHARE / 2 {
                    tier.wish(|wishes| wishes.round = true);
                    return Room::Soon;
                }
                // What is over the limit and cannot go (tables, clients' buffers) does not stop a server whose data
                // has room on disk.
                Room::Enough
            }
        }
    }

    /// Whether memory could hold a value of so many bytes if there were no other data. If not, nobody is to be evicted for it.
    /// Of these bytes, so many are in memory already.
    pub fn can_hold(&self, bytes: usize, present_bytes: usize) -> bool {
        let max_bytes = self.settings.maxmemory.get();
        let data_bytes = |size: Size| size.key_bytes + size.value_bytes;
        let data_bytes: u64 = self.used().map(|database| data_bytes(database.tally.size())).sum();
        let fixed_bytes =
            memory::committed_bytes().saturating_sub(data_bytes + present_bytes as u64).min(max_bytes / FIXED_SHARE);
        max_bytes == 0 || bytes as u64 <= max_bytes - fixed_bytes
    }

    /// Whether an entry of the slot may leave memory at all: with a disk, the policy tells the order only.
    fn may_go(&self, slot: &SlotGuard<'_>, entry: &Entry, policy: EvictionPolicy) -> bool {
        if self.tier().is_some() {
            return slot.is_on_disk(entry);
        }
        !is_volatile(policy) || entry.expiry_ms().is_some()
    }

    #[cold]
    fn evict_down_to(&self, caller: Caller, max_bytes: u64) -> bool {
        let rules = self.rules();
        if rules.policy == EvictionPolicy::Noeviction && self.tier().is_none() {
            return false;
        }
        let began = Instant::now();
        let budget = budget(self.settings.maxmemory_eviction_tenacity.get());
        while memory::committed_bytes() > max_bytes {
            if !self.has_candidates(&rules) {
                return false;
            }
            let (sample, is_thin) = self.sample(&rules);
            if let Some(tier) = self.tier().filter(|_| is_thin) {
                // Hardly anything is left in memory that may go: looking for it would cost more than it gives.
                tier.rest_eviction(caller.now_ms + REST_MS);
            }
            if sample.is_empty() {
                return false;
            }
            self.evict_worst(caller, &rules, sample);
            if began.elapsed() > budget {
                break;
            }
        }
        self.stats.shard().eviction_exceeded_us.add(began.elapsed().as_micros() as u64);
        true
    }

    /// Whether there is anything to evict at all: finding nothing in 16,384 slots takes its time.
    fn has_candidates(&self, rules: &Rules) -> bool {
        let is_worth_a_look = |database: &super::Database| {
            let (tally, size) = (&database.tally, database.tally.size());
            match self.tier() {
                None if is_volatile(rules.policy) => size.expiring > 0,
                None => size.keys > 0,
                // What is only on disk, or not there yet, cannot go.
                Some(_) => size.keys > tally.cold_keys() + tally.dirty().0,
            }
        };
        self.used().any(is_worth_a_look)
    }

    /// Entries that the policy may evict, from the slots behind the hand, and whether there were too few to choose from.
    fn sample(&self, rules: &Rules) -> (SmallVec<[Candidate; 64]>, bool) {
        let wanted = self.settings.maxmemory_samples.get().clamp(1, 64) as usize * SAMPLE_FACTOR;
        let mut sample: SmallVec<[Candidate; 64]> = SmallVec::new();
        let positions = self.databases.len() as u64 * u64::from(SLOTS);
        for visited in 0..positions {
            let position = self.hand.fetch_add(1, Ordering::Relaxed) % positions;
            let (physical, number) = ((position / u64::from(SLOTS)) as u8, (position % u64::from(SLOTS)) as u16);
            if self.databases[usize::from(physical)].slots.get().is_none() {
                // On to the next database.
                self.hand.fetch_add(u64::from(SLOTS) - 1 - u64::from(number), Ordering::Relaxed);
                continue;
            }
            let slot = self.lock_slot(IDLE, physical, number);
            if self.tier().is_none() && is_volatile(rules.policy) && slot.slot.expiring() == 0 {
                continue;
            }
            let entries = slot.table().sample(thread::random(), SAMPLE_OF_SLOT);
            sample.extend(entries.filter(|(_, entry)| self.may_go(&slot, entry, rules.policy)).map(
                |(place, entry)| Candidate {
                    physical,
                    slot: number,
                    place,
                    recency: entry.recency(),
                    expiry_ms: entry.expiry_ms(),
                },
            ));
            drop(slot);
            let may_find_none = self.tier().is_some() || !sample.is_empty();
            if sample.len() >= wanted || may_find_none && visited >= SAMPLE_SLOTS {
                break;
            }
        }
        let is_thin = sample.len() < wanted;
        (sample, is_thin)
    }

    fn evict_worst(&self, caller: Caller, rules: &Rules, mut sample: SmallVec<[Candidate; 64]>) {
        let victims = sample.len().div_ceil(VICTIM_SHARE);
        if rules.policy == EvictionPolicy::AllkeysS3fifo {
            return self.evict_from_queues(caller, sample, victims);
        }
        sample.sort_by_cached_key(|candidate| worth(candidate, rules, caller.now_ms));
        for candidate in &sample[..victims] {
            let mut slot = self.lock_slot(caller, candidate.physical, candidate.slot);
            slot.evict(candidate.place, candidate.recency, candidate.expiry_ms);
        }
    }

    /// S3-FIFO (Yang et al., SOSP 2023) on a sample: while probation holds more than its share, its oldest either have
    /// earned a place in the main queue or go; else the main queue's oldest go, unless they were used meanwhile.
    fn evict_from_queues(&self, caller: Caller, mut sample: SmallVec<[Candidate; 64]>, victims: usize) {
        let now_ms = caller.now_ms;
        sample.sort_by_key(|candidate| std::cmp::Reverse(candidate.recency.queued_ticks(now_ms)));
        let (main, probation): (SmallVec<[Candidate; 64]>, SmallVec<[Candidate; 64]>) =
            sample.into_iter().partition(|candidate| candidate.recency.is_in_main());
        let probation_max = (main.len() + probation.len()) * PROBATION_PERCENT / 100;
        let (mut in_probation, mut evicted) = (probation.len(), 0);
        let (mut main, mut probation) = (main.iter(), probation.iter());
        while evicted < victims {
            let from_probation = in_probation > probation_max;
            let next = if from_probation { probation.next() } else { main.next() };
            // The chosen queue's part of the sample is through: the rest of the round takes what there is.
            let Some(candidate) = next.or_else(|| probation.next()).or_else(|| main.next()) else { return };
            let recency = candidate.recency;
            let mut slot = self.lock_slot(caller, candidate.physical, candidate.slot);
            if !recency.is_in_main() {
                in_probation -= 1;
                if recency.uses() >= PROMOTION_USES {
                    slot.requeue(candidate.place, recency, recency.requeued(now_ms, 0));
                    continue;
                }
            } else if recency.uses() > 0 {
                slot.requeue(candidate.place, recency, recency.requeued(now_ms, recency.uses() - 1));
                continue;
            }
            slot.evict(candidate.place, recency, candidate.expiry_ms);
            evicted += 1;
        }
    }
}

fn is_volatile(policy: EvictionPolicy) -> bool {
    use EvictionPolicy::*;
    matches!(policy, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
}

/// What the policy loses with an entry: the smallest goes first.
fn worth(candidate: &Candidate, rules: &Rules, now_ms: u64) -> u64 {
    use EvictionPolicy::*;
    match rules.policy {
        AllkeysLru | VolatileLru => u64::MAX - candidate.recency.idle_seconds(now_ms),
        AllkeysLfu | VolatileLfu => u64::from(candidate.recency.frequency(now_ms, rules)),
        VolatileTtl => candidate.expiry_ms.unwrap_or(u64::MAX),
        AllkeysRandom | VolatileRandom | AllkeysS3fifo | Noeviction => thread::random(),
    }
}

/// How long one caller may evict, by `maxmemory-eviction-tenacity` as Redis reads it: 10 is half a millisecond, 100 is
/// without a limit.
fn budget(tenacity: i64) -> Duration {
    match tenacity {
        ..=10 => Duration::from_micros(50 * tenacity.max(0) as u64),
        11..100 => Duration::from_micros((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64),
        _ => Duration::MAX,
    }
}
