//! Making room: which keys go when memory is over `maxmemory`.
//!
//! A round looks at a sample of entries, ranks it by the policy and evicts the worst part. A sample is drawn from all entries
//! alike, whichever slots and databases hold them: a few neighbours at a time, since keys lie in a slot by their hashes.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::super::watch::effect::Effect;
use super::super::watch::event::Event;
use super::counts::Size;
use super::databases::{DIRTY_SHARE, Databases};
use super::entry::Entry;
use super::expiry;
use super::key::Caller;
use super::locked::LockedSlot;
use super::recency::{Recency, Rules};
use super::slots::Database;
use crate::base::chunks::LARGE_BYTES;
use crate::base::{memory, thread};
use crate::config::EvictionPolicy;

/// Entries looked at in a round, for each of `maxmemory-samples`.
const SAMPLE_FACTOR: usize = 6;
/// Entries that are looked at side by side.
const NEIGHBOURS: usize = 16;
/// Slots visited for a sample at most: of what they hold, only a small part may be such that it can go.
const VISITS: usize = 256;
/// A round evicts one in so many of its sample.
const VICTIM_SHARE: usize = 10;
/// With a disk: how long eviction rests after it found nothing at all that may leave memory.
const REST_MS: u64 = 20;
/// What takes memory and is no data counts up to such a share of `maxmemory` against what a value may take.
const FIXED_SHARE: u64 = 4;
/// Looks at a slot and at nothing in it.
const IDLE: Caller = Caller { now_ms: 0, touches: false };

struct Candidate {
    physical: u8,
    slot: u16,
    token: u32,
    recency: Recency,
    expiry_ms: Option<u64>,
}

type Sample = SmallVec<[Candidate; 64]>;

/// Whether there is room for a command that may need memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room, or there will be.
    Enough,
    /// Memory is over its limit, and there is nothing to evict by the policy.
    None,
    /// It is over its limit, and what could go has to be written to disk first.
    Soon,
}

impl Databases {
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
                let unwritten_bytes = tier.throttle.backlog_bytes(self.dirty_bytes(), 0);
                if !is_within && unwritten_bytes > max_bytes / DIRTY_SHARE / 2 {
                    tier.requests.round();
                    return Room::Soon;
                }
                // What is over the limit and cannot go (tables, clients' buffers) does not stop a server whose data
                // has room on disk.
                Room::Enough
            }
        }
    }

    /// Whether memory could hold a value of so many bytes if there were no other data. If not, nobody is to be evicted for it.
    /// `present_bytes` of them are in memory already.
    pub fn can_hold(&self, bytes: usize, present_bytes: usize) -> bool {
        let max_bytes = self.settings.maxmemory.get();
        let data_bytes = |size: Size| size.key_bytes + size.value_bytes;
        let data_bytes: u64 = self.used().map(|database| data_bytes(database.counts.size())).sum();
        let fixed_bytes =
            memory::committed_bytes().saturating_sub(data_bytes + present_bytes as u64).min(max_bytes / FIXED_SHARE);
        max_bytes == 0 || bytes as u64 <= max_bytes - fixed_bytes
    }

    #[cold]
    fn evict_down_to(&self, caller: Caller, max_bytes: u64) -> bool {
        let rules = self.rules();
        if rules.policy == EvictionPolicy::Noeviction && self.tier().is_none() {
            return false;
        }
        Eviction { databases: self, caller, rules }.evict_down_to(max_bytes)
    }
}

/// One caller's rounds of eviction.
struct Eviction<'k> {
    databases: &'k Databases,
    caller: Caller,
    rules: Rules,
}

impl Eviction<'_> {
    /// Evicts until memory is within its limit, or the caller's time is up. False: there was nothing to evict.
    fn evict_down_to(&self, max_bytes: u64) -> bool {
        let databases = self.databases;
        let began = Instant::now();
        let budget = budget(databases.settings.maxmemory_eviction_tenacity.get());
        while memory::committed_bytes() > max_bytes {
            let candidates = self.candidates();
            let sample = if candidates > 0 { self.sample() } else { Sample::new() };
            if sample.is_empty() {
                if let Some(tier) = databases.tier() {
                    // Looking again at once would cost more than it gives.
                    tier.rest_eviction(self.caller.now_ms + REST_MS);
                }
                return false;
            }
            self.evict_worst(sample, candidates);
            if began.elapsed() > budget {
                break;
            }
        }
        databases.stats.shard().eviction_exceeded_us.add(began.elapsed().as_micros() as u64);
        true
    }

    /// Whether an entry of the slot may leave memory at all: with a disk, the policy tells the order only.
    fn may_go(&self, slot: &LockedSlot<'_>, entry: &Entry) -> bool {
        if self.databases.tier().is_some() {
            return slot.is_on_disk(entry);
        }
        !self.rules.policy.is_volatile() || entry.expiry_ms().is_some()
    }

    /// About how many keys there are to choose from.
    fn candidates(&self) -> u64 {
        let of_database = |database: &Database| {
            let (counts, size) = (&database.counts, database.counts.size());
            match self.databases.tier() {
                None if self.rules.policy.is_volatile() => size.expiring,
                None => size.keys,
                // What is only on disk, or not there yet, cannot go.
                Some(_) => size.keys.saturating_sub(counts.cold_keys() + counts.dirty().0),
            }
        };
        self.databases.used().map(of_database).sum()
    }

    /// Entries that the policy may evict.
    fn sample(&self) -> Sample {
        let wanted = self.databases.settings.maxmemory_samples.get().clamp(1, 64) as usize * SAMPLE_FACTOR;
        let goes_by_expiry = self.databases.tier().is_none() && self.rules.policy.is_volatile();
        let mut sample = Sample::new();
        for _ in 0..VISITS {
            let Some((physical, number)) = self.draw_slot(goes_by_expiry) else { break };
            let slot = self.databases.lock_slot(IDLE, physical, number);
            let mut consider = |token: u32, entry: &Entry| {
                if self.may_go(&slot, entry) {
                    let (recency, expiry_ms) = (entry.recency(), entry.expiry_ms());
                    sample.push(Candidate { physical, slot: number, token, recency, expiry_ms });
                }
            };
            if goes_by_expiry {
                slot.sample_expiring(thread::random(), NEIGHBOURS, consider);
            } else {
                let entries = slot.table().sample(thread::random(), NEIGHBOURS);
                entries.for_each(|(token, entry)| consider(token, &entry));
            }
            if sample.len() >= wanted {
                break;
            }
        }
        sample
    }

    /// A slot, drawn by what it holds; `None`: there is nothing in any.
    fn draw_slot(&self, goes_by_expiry: bool) -> Option<(u8, u16)> {
        let spreads = || {
            self.databases.all.iter().enumerate().filter_map(|(physical, database)| {
                let slots = database.slots.get()?;
                Some((physical as u8, if goes_by_expiry { &slots.expiring } else { &slots.entries }))
            })
        };
        let total: u64 = spreads().map(|(_, spread)| spread.total()).sum();
        let mut token = thread::random().checked_rem(total)?;
        for (physical, spread) in spreads() {
            match token.checked_sub(spread.total()) {
                Some(behind) => token = behind,
                None => return spread.slot_at(token).map(|slot| (physical, slot)),
            }
        }
        None
    }

    fn evict_worst(&self, mut sample: Sample, candidates: u64) {
        let victims = sample.len().div_ceil(VICTIM_SHARE);
        if self.rules.policy != EvictionPolicy::AllkeysLirs {
            sample.sort_by_cached_key(|candidate| worth(candidate, &self.rules, self.caller.now_ms));
            for candidate in &sample[..victims] {
                self.evict(candidate);
            }
            return;
        }
        let is_done_with = |candidate: &Candidate| self.databases.lirs.is_done_with(candidate.recency);
        let is_main = |candidate: &Candidate| !candidate.recency.is_used_once();
        sample.sort_by_cached_key(|candidate| {
            (!is_done_with(candidate), is_main(candidate), Reverse(candidate.recency.reuse(self.rules.clock)))
        });
        let done = sample.iter().take(victims).take_while(|candidate| is_done_with(candidate)).count();
        let (done, rest) = sample.split_at(done);
        let (probation, main) = rest.split_at(rest.partition_point(|candidate| !is_main(candidate)));
        let victims = victims - done.len();
        let from_probation = self.databases.lirs.victims_on_probation(probation.len(), rest.len(), victims);
        let worst = probation[..from_probation].iter().chain(&main[..victims - from_probation]);
        for candidate in done.iter().chain(worst) {
            if let Some(evicted) = self.evict(candidate) {
                self.databases.lirs.evicted(self.databases.key_hash(evicted.key()).hash, candidate.recency, candidates);
            }
        }
    }

    /// Takes an entry of the sample out of memory, unless it has changed since.
    fn evict(&self, candidate: &Candidate) -> Option<Entry> {
        let mut slot = self.databases.lock_slot(self.caller, candidate.physical, candidate.slot);
        slot.evict(candidate.token, candidate.recency, candidate.expiry_ms)
    }
}

impl LockedSlot<'_> {
    /// Takes the entry that was seen with that token, recency and expiry, if it is as it was, out of memory. Where
    /// there is a disk it stays there, and what is not there yet stays in memory.
    pub(in crate::keyspace) fn evict(&mut self, token: u32, recency: Recency, expiry_ms: Option<u64>) -> Option<Entry> {
        let as_seen = |entry: &Entry| entry.recency() == recency && entry.expiry_ms() == expiry_ms;
        let index = self.slot.table.find(token, as_seen)?;
        if self.databases.tier().is_some() {
            return self.demote(index);
        }
        let entry = self.remove_entry(index);
        self.databases.stats.shard().evicted_keys.add(1);
        self.changed(entry.key(), Effect::Evicted, Event::Evicted);
        Some(entry)
    }

    /// Shows up to `count` entries that have an expiry, and their tokens.
    fn sample_expiring(&self, random: u64, count: usize, mut show: impl FnMut(u32, &Entry)) {
        for (token, expiry_ms) in self.slot.expiries.sample(random, count) {
            let has_it = |entry: &Entry| entry.expiry_ms().is_some_and(|other_ms| expiry::is_same(other_ms, expiry_ms));
            if let Some(index) = self.slot.table.find(token, has_it) {
                show(token, &self.slot.table.get(index));
            }
        }
    }
}

/// What the policy loses with an entry: the smallest goes first.
fn worth(candidate: &Candidate, rules: &Rules, now_ms: u64) -> u64 {
    use EvictionPolicy::*;
    match rules.policy {
        AllkeysLru | VolatileLru => u64::MAX - candidate.recency.idle_seconds(now_ms),
        AllkeysLfu | VolatileLfu => u64::from(candidate.recency.frequency(now_ms, rules)),
        VolatileTtl => candidate.expiry_ms.unwrap_or(u64::MAX),
        AllkeysRandom | VolatileRandom | AllkeysLirs | Noeviction => thread::random(),
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
