//! Bringing what has changed into RocksDB: rounds, each of one atomic batch.
//!
//! A round takes, slot by slot, the *present* state of what differs from the disk (a key that was written a thousand times
//! since the last round is written once), with the slot's sequence number and counts. The batch is a consistent cut: a
//! command that changes several slots while a round is being collected has them collected first, see [`Merger::collect_first`].
//! Once RocksDB has the batch, synced, the journal is released up to where it was when the round began.
//!
//! Only the merger writes records, so what it reads of the disk during a round cannot change under it.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Instant;

use super::super::disk::gate::Shared;
use super::super::disk::tier::Tier;
use super::super::memory::guard::SlotGuard;
use super::super::memory::key::Caller;
use super::merger::{Merger, MergerState, Merging, retry};
use super::round::{Old, Round, Swept};
use crate::base::gather::Gather;
use crate::store::record::RecordKey;
use crate::store::rocks::{BLOB_BYTES, Batch, RocksError, RocksErrorKind};

/// Keys whose older records are looked for together, at first and at most. All of these are in memory at a time, so there
/// are fewer of them where they are large.
const KEYS_A_READ_FIRST: usize = 8;
const KEYS_A_READ: usize = 256;
const BYTES_A_READ: usize = 16 << 20;
/// While a round takes what differs, workers that have requests to answer come first where processors are few.
const SLOTS_BETWEEN_YIELDS: u16 = 16;
/// The same while it writes a table.
const RECORDS_BETWEEN_YIELDS: u64 = 64;
/// A round of such a share of what may differ becomes a table, within these bounds. Smaller ones would make too many, unless
/// somebody wants no larger ones.
const TABLE_SHARE: u64 = 4;
const TABLE_BYTES_MIN: u64 = 1 << 20;
const TABLE_BYTES_MAX: u64 = 8 << 20;

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Merged {
    /// Keys that were brought to disk or deleted there.
    pub entries: u64,
    /// About what the entries took.
    pub bytes: u64,
    /// More is waiting than one round takes: the next should follow at once.
    pub has_more: bool,
}

impl Merging<'_> {
    /// Runs one round. While RocksDB refuses the batch, it is tried again, and writes are refused meanwhile, until it is
    /// taken or `gives_up` says so.
    ///
    /// # Errors
    /// When it gave up: nothing is lost that the journal holds.
    pub fn merge(&self, now_ms: u64, gives_up: impl Fn() -> bool) -> Result<Merged, RocksError> {
        let mut state = self.merger.lock(self.tier, &gives_up)?;
        if let Some(round) = state.unwritten.take() {
            self.finish_round(&mut state, round, &gives_up)?;
        }
        let round = self.begin_round(&mut state, now_ms, &gives_up)?;
        let round = self.collect_all(round);
        self.finish_round(&mut state, round, &gives_up)
    }

    /// Brings a round to disk, or keeps it for later.
    fn finish_round(
        &self,
        state: &mut MergerState,
        mut round: Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Merged, RocksError> {
        let began = Instant::now();
        let merged = Merged { entries: round.entries, bytes: round.taken_bytes, has_more: round.has_more };
        if round.slots.is_empty() {
            // Nothing shows whether the disk takes writes again, and none come while it is said not to.
            if self.tier.has_refused() && self.tier.store.try_recover().is_ok() {
                self.tier.recovered();
            }
        } else {
            if let Err(error) = self.write_round(&mut round, gives_up) {
                state.unwritten = Some(round);
                return Err(error);
            }
            self.tier.counters.rounds.add(1);
            self.tier.counters.merged_entries.add(round.entries);
            self.tier.counters.round_latencies.record(began.elapsed().as_nanos() as u64);
            // Whoever gave up before has not seen that the disk is back.
            self.tier.recovered();
        }
        self.end_round(round);
        Ok(merged)
    }

    /// A new round, with what it deletes of its own accord. [`Self::collect_all`] is to follow.
    pub fn begin_round(
        &self,
        state: &mut MergerState,
        now_ms: u64,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Round, RocksError> {
        self.drop_flushed(state);
        let is_making_ages = self.tend_ages(state, now_ms, gives_up)?;
        // Whatever the journal holds by now is in memory, and so in this round or in one before.
        let mark = self.tier.mark();
        self.tier.throttle.begin(self.tier.journal_bytes());
        let mut round = Round {
            number: self.tier.committed_round() + 1,
            mark,
            swept: Swept::default(),
            batch: self.new_batch(),
            written_ms: now_ms,
            keeps_age: state.ages.is_kept(),
            has_more: is_making_ages,
            removed: HashSet::new(),
            long_keys: self.tier.store.long_keys(),
            record_key: Vec::new(),
            long_key: Vec::new(),
            value: Gather::default(),
            entries: 0,
            taken_bytes: 0,
            slots: Vec::new(),
            lookups: Vec::new(),
        };
        if let Err(error) = self.delete_old(state, &mut round, gives_up) {
            // What has been deleted already is counted off: the round that says so must not be lost.
            state.unwritten = Some(self.collect_all(round));
            return Err(error);
        }
        Ok(round)
    }

    /// What differs by now decides its form. Large values go through the log, since a flush takes them into blob files. Where
    /// the disk has a limit, its files are few and large.
    fn new_batch(&self) -> Batch {
        let (keys, bytes) = self.dirty();
        let least_bytes = TABLE_BYTES_MIN.min(self.settings.maxdirty.get() / TABLE_SHARE);
        let is_large = bytes >= (self.dirty_limit_bytes() / TABLE_SHARE).clamp(least_bytes, TABLE_BYTES_MAX);
        let has_small_values = bytes < keys * (BLOB_BYTES / 2) as u64;
        if is_large && has_small_values && self.settings.maxdisk.get() == 0 {
            Batch::with_table()
        } else {
            Batch::default()
        }
    }

    /// Deletes what has expired, and what has to make room.
    fn delete_old(
        &self,
        state: &mut MergerState,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<(), RocksError> {
        round.swept = self.sweep(round.written_ms, state, round, gives_up)?;
        round.has_more |= round.swept.has_more;
        round.has_more |= self.evict_oldest(state, round, gives_up)?;
        Ok(())
    }

    /// Finishes the round's batch and brings it to disk.
    pub fn write_round(&self, round: &mut Round, gives_up: &impl Fn() -> bool) -> Result<(), RocksError> {
        // The slots were collected one after the other: only with the journal up to here is what is on disk a moment
        // that clients have seen, so the round must not get ahead of it.
        self.tier.bring_journal_up(self.syncs());
        let older = retry(self.tier, gives_up, || find_older(self.tier, round))?;
        self.reconcile(round, older);
        for slot in &round.slots {
            round.batch.put_slot_meta(slot.position.0, slot.position.1, &slot.meta);
        }
        // Both again if either fails: a store that was opened anew may have lost what was not synced.
        retry(self.tier, gives_up, || {
            let written = Cell::new(0_u64);
            let give_way = || {
                written.set(written.get() + 1);
                if written.get().is_multiple_of(RECORDS_BETWEEN_YIELDS) {
                    self.tier.throttle.wrote(written.get(), round.entries);
                    if !self.is_nearly_behind() {
                        std::thread::yield_now();
                    }
                }
            };
            self.tier.store.write_giving_way(&round.batch, &give_way)?;
            self.tier.store.flush_wal(true)
        })
    }

    /// Corrects counts and indexes by the older records that were found.
    fn reconcile(&self, round: &mut Round, older: Vec<(u32, Old)>) {
        let caller = Caller { now_ms: round.written_ms, touches: false };
        // Taken, since a round that is tried again must not count them off twice.
        let all_lookups = std::mem::take(&mut round.lookups);
        for (index, old) in older {
            let lookup = &all_lookups[index as usize];
            if lookup.is_blind {
                // Whoever looks at a collection before it deletes it knows its leaves.
                round.delete_leaves(round.slots[lookup.slot as usize].position, old.collection);
            }
            let Round { batch, record_key, slots, .. } = round;
            record_key.clear();
            record_key.extend_from_slice(batch.record_key(lookup.record));
            // Two rounds in one millisecond: that is the new record's entry.
            if round.keeps_age && !(lookup.is_put && old.written_ms == round.written_ms) {
                batch.delete_age(old.written_ms, record_key);
            }
            if !lookup.is_blind {
                continue;
            }
            let key_bytes = old.long_key_bytes.unwrap_or(record_key.len() - RecordKey::PREFIX_BYTES);
            let slot = &mut slots[lookup.slot as usize];
            let mut guard = self.lock_slot(caller, slot.position.0, slot.position.1);
            guard.uncount_stored(key_bytes, old.value_bytes, old.expiry_ms.is_some());
            drop(guard);
            slot.meta.keys -= 1;
            slot.meta.key_bytes -= key_bytes as u64;
            slot.meta.value_bytes -= old.value_bytes as u64;
            if let Some(expiry_ms) = old.expiry_ms {
                slot.meta.expiring -= 1;
                if lookup.expiry_ms != old.expiry_ms {
                    batch.delete_expiry(expiry_ms, record_key);
                }
            }
        }
    }

    /// Ends a round that is on disk.
    pub fn end_round(&self, round: Round) {
        self.tier.commit(round.number);
        let caller = Caller { now_ms: round.written_ms, touches: false };
        for slot in round.slots.iter().filter(|slot| slot.deletes) {
            self.lock_slot(caller, slot.position.0, slot.position.1).commit_deleted();
        }
        self.tier.release(round.mark);
        self.tier.throttle.end();
        self.tier.store.swept_up_to(round.swept.up_to_ms);
    }

    /// Takes everything that differs into the round.
    pub fn collect_all(&self, round: Round) -> Round {
        let caller = Caller { now_ms: round.written_ms, touches: false };
        self.merger.open_round(round);
        for (physical, database) in self.databases.all.iter().enumerate() {
            let Some(slots) = database.slots.get() else { continue };
            slots.take_dirty(|number| {
                if number.is_multiple_of(SLOTS_BETWEEN_YIELDS) && !self.is_nearly_behind() {
                    std::thread::yield_now();
                }
                let mut guard = self.lock_slot(caller, physical as u8, number);
                self.merger.with_round(self.tier, |round| round.collect(&mut guard));
            });
        }
        self.merger.close_round()
    }
}

impl Merger {
    /// Keeps a command on several slots, which has locked all of them, out of the middle of a round: one that is being collected
    /// takes these slots before the command changes anything, and none begins until what is returned is dropped, after the
    /// changes. So either all of the command's changes are in a round, or none.
    pub fn collect_first(&self, tier: &Tier, guards: &mut [SlotGuard<'_>]) -> Shared<'_> {
        let holding_rounds_back = self.hold_rounds_back();
        if self.is_collecting() {
            self.with_round(tier, |round| guards.iter_mut().for_each(|guard| round.collect(guard)));
        }
        holding_rounds_back
    }
}

/// The keys of the round, by their number, that had an older record, and what that was.
fn find_older(tier: &Tier, round: &Round) -> Result<Vec<(u32, Old)>, RocksError> {
    let record_key = |index: &u32| round.batch.record_key(round.lookups[*index as usize].record);
    let mut order: Vec<u32> = (0..round.lookups.len() as u32).collect();
    order.sort_by(|one, other| record_key(one).cmp(record_key(other)));
    let mut older = Vec::new();
    let (mut rest, mut keys) = (&order[..], KEYS_A_READ_FIRST);
    while !rest.is_empty() {
        let (part, after) = rest.split_at(keys.min(rest.len()));
        let names: Vec<&[u8]> = part.iter().map(record_key).collect();
        let mut read_bytes = 0;
        for (index, found) in part.iter().zip(tier.store.look_at_many(&names, Old::of)) {
            let found = match found {
                // It can never be read, and the new one takes its place: writes must not wait for that.
                Err(error) if error.kind == RocksErrorKind::Corruption => {
                    tracing::warn!(%error, "a record that cannot be read is replaced; counts of its slot may be off by it");
                    Some(Old::UNREADABLE)
                }
                found => found?,
            };
            let Some(old) = found else { continue };
            read_bytes = old.value_bytes.saturating_add(read_bytes);
            older.push((*index, old));
        }
        // How long they are is not known before: the next are taken to be like these.
        let fitting = BYTES_A_READ * part.len() / read_bytes.max(1);
        keys = fitting.clamp(1, KEYS_A_READ.min(2 * part.len()));
        rest = after;
    }
    Ok(older)
}
