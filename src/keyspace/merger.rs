//! Bringing what has changed into RocksDB: rounds, each of one atomic batch.
//!
//! A round takes, slot by slot, the *present* state of what differs from the disk (a key that was written a thousand times
//! since the last round is written once), with the slot's sequence number and counts. The batch is a consistent cut: a
//! command that changes several slots while a round is being collected has them collected first, see [`Keyspace::collect_first`].
//! Once RocksDB has the batch, synced, the journal is released up to where it was when the round began.
//!
//! Only the merger writes records, so what it reads of the disk during a round cannot change under it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::ages::Ages;
use super::gate::Shared;
use super::slot::SlotGuard;
use super::sweep::Swept;
use super::tier::Tier;
use super::{Caller, Keyspace};
use crate::base::gather::Gather;
use crate::base::slot::SLOTS;
use crate::store::journal::Ticket;
use crate::store::record::{LongKeys, Record, RecordKey, SlotMeta};
use crate::store::rocks::{BLOB_BYTES, Batch, IndexEntry, RecordPlace, RocksError, RocksErrorKind};
use crate::types::Encoded;

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
/// How soon a round is tried again that could not be written.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A batch in the making.
pub struct Round {
    pub number: u32,
    mark: Mark,
    swept: Swept,
    pub(super) batch: Batch,
    pub(super) written_ms: u64,
    pub(super) keeps_age: bool,
    /// There is more to do than fits into a round.
    has_more: bool,
    /// The keys of records that the batch deletes before anything was collected: swept, or evicted. What the disk still
    /// has of them is counted off.
    pub(super) removed: HashSet<Vec<u8>>,
    long_keys: LongKeys,
    /// Of the entry that is being added; `long_key` is empty where the record's key holds the key.
    record_key: Vec<u8>,
    long_key: Vec<u8>,
    value: Gather,
    entries: u64,
    /// About what the entries took that it was collected from.
    pub(super) taken_bytes: u64,
    slots: Vec<RoundSlot>,
    unsettled: Vec<Unsettled>,
}

struct RoundSlot {
    position: (u8, u16),
    meta: SlotMeta,
    deletes: bool,
}

/// A key whose older record has to be looked up.
struct Unsettled {
    /// In `slots`; a slot's entry comes after its keys.
    slot: u32,
    record: RecordPlace,
    expiry_ms: Option<u64>,
    /// The round puts a record in the older one's place; else it deletes that.
    is_put: bool,
    /// It was set or deleted without a look at the disk: whether there is an older record, and what counts of it, is not
    /// known. Else only its time of writing is wanted.
    is_blind: bool,
}

impl Round {
    pub(super) fn begin_key(&mut self, database: u8, slot: u16, hash: u64, key: &[u8]) {
        RecordKey::encode(&mut self.record_key, self.long_keys, database, slot, hash, key);
        self.long_key.clear();
        if self.long_keys.is_long(key) {
            self.long_key.extend_from_slice(key);
        }
        self.entries += 1;
    }

    pub(super) fn forget_expiry(&mut self, expiry_ms: u64) {
        self.batch.delete_expiry(expiry_ms, &self.record_key);
    }

    pub(super) fn delete(&mut self) {
        self.batch.delete_record(&self.record_key);
    }

    pub(super) fn put(&mut self, value: Encoded<'_>, expiry_ms: Option<u64>) {
        self.value.clear();
        let long_key = (!self.long_key.is_empty()).then_some(&self.long_key[..]);
        let head = Record { kind: value.kind(), expiry_ms, written_ms: self.written_ms, long_key, payload: &[] };
        head.encode(self.value.bytes());
        // Large parts by reference: the slot is locked.
        value.write(&mut self.value);
        self.batch.put_gathered_record(&self.record_key, &self.value);
        let value_bytes = value.len();
        if let Some(expiry_ms) = expiry_ms {
            self.batch.put_expiry(expiry_ms, &self.record_key, value_bytes, self.written_ms);
        }
        if self.keeps_age {
            self.batch.put_age(self.written_ms, &self.record_key, value_bytes, expiry_ms);
        }
    }

    /// There may be an older record, which nobody has looked at.
    pub(super) fn unsettled(&mut self, expiry_ms: Option<u64>, is_put: bool) {
        self.look_up(expiry_ms, is_put, true);
    }

    /// There is an older record, which was counted.
    pub(super) fn replaced(&mut self, is_put: bool) {
        if self.keeps_age {
            self.look_up(None, is_put, false);
        }
    }

    fn look_up(&mut self, expiry_ms: Option<u64>, is_put: bool, is_blind: bool) {
        if !self.removed.contains(&self.record_key) {
            let (slot, record) = (self.slots.len() as u32, self.batch.last_record());
            self.unsettled.push(Unsettled { slot, record, expiry_ms, is_put, is_blind });
        }
    }

    /// An evicted key's entry of the index of ages.
    pub(super) fn forget_age(&mut self, aged: &IndexEntry) {
        self.batch.delete_age(aged.time_ms, &aged.record_key);
        self.removed.insert(aged.record_key.clone());
    }

    pub(super) fn slot(&mut self, database: u8, slot: u16, meta: SlotMeta, deletes: bool) {
        self.slots.push(RoundSlot { position: (database, slot), meta, deletes });
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Merged {
    pub entries: u64,
    /// About what the entries took.
    pub bytes: u64,
    /// More is waiting than one round takes: the next should follow at once.
    pub has_more: bool,
}

/// What the merger remembers from round to round.
#[derive(Default)]
pub struct MergerState {
    /// For each database a place in its index of expiries: everything before it has been swept.
    pub(super) swept_to: BTreeMap<u8, Vec<u8>>,
    /// The same in its index of ages: everything before it is evicted, or newer in memory.
    pub(super) evicted_to: BTreeMap<u8, Vec<u8>>,
    /// When the last key that was evicted had been written.
    pub(super) evicted_up_to_ms: u64,
    pub(super) ages: Ages,
    /// Databases that were flushed since the last round: nothing of them on disk is to stay.
    pub(super) flushed: BTreeSet<u8>,
    /// A round that was given up: what it took is nowhere else, so it comes before any other.
    pub(super) unwritten: Option<Round>,
}

impl Keyspace {
    /// Runs one round. While RocksDB refuses the batch, it is tried again, and writes are refused meanwhile, until it is
    /// taken or `gives_up` says so.
    ///
    /// # Errors
    /// When it gave up: nothing is lost that the journal holds.
    pub fn merge(&self, now_ms: u64, gives_up: impl Fn() -> bool) -> Result<Merged, RocksError> {
        let Some(tier) = self.tier() else { return Ok(Merged::default()) };
        let mut state = lock(tier, &gives_up)?;
        if let Some(round) = state.unwritten.take() {
            self.finish_round(tier, &mut state, round, &gives_up)?;
        }
        let round = self.begin_round(tier, &mut state, now_ms, &gives_up)?;
        let round = self.collect_all(tier, round);
        self.finish_round(tier, &mut state, round, &gives_up)
    }

    /// Brings a round to disk, or keeps it for later.
    fn finish_round(
        &self,
        tier: &Tier,
        state: &mut MergerState,
        mut round: Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Merged, RocksError> {
        let began = Instant::now();
        let merged = Merged { entries: round.entries, bytes: round.taken_bytes, has_more: round.has_more };
        if round.slots.is_empty() {
            // Nothing shows whether the disk takes writes again, and none come while it is said not to.
            if tier.has_refused() && tier.store.try_recover().is_ok() {
                tier.recovered();
            }
        } else {
            if let Err(error) = self.write_round(tier, &mut round, gives_up) {
                state.unwritten = Some(round);
                return Err(error);
            }
            tier.counters.rounds.add(1);
            tier.counters.merged_entries.add(round.entries);
            tier.counters.round_latencies.record(began.elapsed().as_nanos() as u64);
            // Whoever gave up before has not seen that the disk is back.
            tier.recovered();
        }
        self.end_round(tier, round);
        Ok(merged)
    }

    /// A new round, with what it deletes of its own accord. [`Self::collect_all`] is to follow.
    pub(super) fn begin_round(
        &self,
        tier: &Tier,
        state: &mut MergerState,
        now_ms: u64,
        gives_up: &impl Fn() -> bool,
    ) -> Result<Round, RocksError> {
        self.drop_flushed(tier, state);
        let is_making_ages = self.tend_ages(tier, state, now_ms, gives_up)?;
        // Whatever the journal holds by now is in memory, and so in this round or in one before.
        let mark = tier.mark();
        tier.pace.begin(tier.journal_bytes());
        let mut round = Round {
            number: tier.committed_round() + 1,
            mark,
            swept: Swept::default(),
            batch: self.new_batch(),
            written_ms: now_ms,
            keeps_age: state.ages.is_kept(),
            has_more: is_making_ages,
            removed: HashSet::new(),
            long_keys: tier.store.long_keys(),
            record_key: Vec::new(),
            long_key: Vec::new(),
            value: Gather::default(),
            entries: 0,
            taken_bytes: 0,
            slots: Vec::new(),
            unsettled: Vec::new(),
        };
        if let Err(error) = self.delete_old(tier, state, &mut round, gives_up) {
            // What has been deleted already is counted off: the round that says so must not be lost.
            state.unwritten = Some(self.collect_all(tier, round));
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
        tier: &Tier,
        state: &mut MergerState,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<(), RocksError> {
        round.swept = self.sweep(tier, round.written_ms, state, round, gives_up)?;
        round.has_more |= round.swept.has_more;
        round.has_more |= self.evict_oldest(tier, state, round, gives_up)?;
        Ok(())
    }

    /// Finishes the round's batch and brings it to disk.
    pub(super) fn write_round(
        &self,
        tier: &Tier,
        round: &mut Round,
        gives_up: &impl Fn() -> bool,
    ) -> Result<(), RocksError> {
        // The slots were collected one after the other: only with the journal up to here is what is on disk a moment
        // that clients have seen, so the round must not get ahead of it.
        tier.bring_journal_up(self.syncs());
        let settled = retry(tier, gives_up, || find_settled(tier, round))?;
        self.settle(round, settled);
        for slot in &round.slots {
            round.batch.put_slot_meta(slot.position.0, slot.position.1, &slot.meta);
        }
        // Both again if either fails: a store that was opened anew may have lost what was not synced.
        retry(tier, gives_up, || {
            let written = Cell::new(0_u64);
            let give_way = || {
                written.set(written.get() + 1);
                if written.get().is_multiple_of(RECORDS_BETWEEN_YIELDS) {
                    tier.pace.wrote(written.get(), round.entries);
                    if !self.is_nearly_behind(tier) {
                        std::thread::yield_now();
                    }
                }
            };
            tier.store.write_giving_way(&round.batch, &give_way)?;
            tier.store.flush_wal(true)
        })
    }

    /// Corrects counts and indexes by the older records that were found.
    fn settle(&self, round: &mut Round, settled: Vec<(u32, Old)>) {
        let caller = Caller { now_ms: round.written_ms, touches: false };
        // Taken, since a round that is tried again must not settle them twice.
        let all_unsettled = std::mem::take(&mut round.unsettled);
        for (index, old) in settled {
            let unsettled = &all_unsettled[index as usize];
            let Round { batch, record_key, slots, .. } = round;
            record_key.clear();
            record_key.extend_from_slice(batch.record_key(unsettled.record));
            // Two rounds in one millisecond: that is the new record's entry.
            if round.keeps_age && !(unsettled.is_put && old.written_ms == round.written_ms) {
                batch.delete_age(old.written_ms, record_key);
            }
            if !unsettled.is_blind {
                continue;
            }
            let key_bytes = old.long_key_bytes.unwrap_or(record_key.len() - RecordKey::PREFIX_BYTES);
            let slot = &mut slots[unsettled.slot as usize];
            let mut guard = self.lock_slot(caller, slot.position.0, slot.position.1);
            guard.settle(key_bytes, old.value_bytes, old.expiry_ms.is_some());
            drop(guard);
            slot.meta.keys -= 1;
            slot.meta.key_bytes -= key_bytes as u64;
            slot.meta.value_bytes -= old.value_bytes as u64;
            if let Some(expiry_ms) = old.expiry_ms {
                slot.meta.expiring -= 1;
                if unsettled.expiry_ms != old.expiry_ms {
                    batch.delete_expiry(expiry_ms, record_key);
                }
            }
        }
    }

    /// The round is on disk.
    pub(super) fn end_round(&self, tier: &Tier, round: Round) {
        tier.commit(round.number);
        let caller = Caller { now_ms: round.written_ms, touches: false };
        for slot in round.slots.iter().filter(|slot| slot.deletes) {
            self.lock_slot(caller, slot.position.0, slot.position.1).commit_deleted();
        }
        tier.release(round.mark);
        tier.pace.end();
        tier.store.swept_up_to(round.swept.up_to_ms);
    }

    /// Takes everything that differs into the round.
    pub(super) fn collect_all(&self, tier: &Tier, round: Round) -> Round {
        let caller = Caller { now_ms: round.written_ms, touches: false };
        tier.open_round(round);
        for (physical, database) in self.databases.iter().enumerate() {
            let Some(slots) = database.slots.get() else { continue };
            slots.take_dirty(|number| {
                if number.is_multiple_of(SLOTS_BETWEEN_YIELDS) && !self.is_nearly_behind(tier) {
                    std::thread::yield_now();
                }
                let mut guard = self.lock_slot(caller, physical as u8, number);
                tier.with_round(|round| guard.collect(round));
            });
        }
        tier.close_round()
    }

    /// To be called with all locks of a command that may change several slots: a round that is being collected takes
    /// them before the command changes anything, and none begins until what is returned is dropped, after the changes. So
    /// either all of the command's changes are in a round, or none.
    pub(super) fn collect_first<'t>(&self, tier: &'t Tier, guards: &mut [SlotGuard<'_>]) -> Shared<'t> {
        let holding_rounds_back = tier.hold_rounds_back();
        if tier.is_collecting() {
            tier.with_round(|round| guards.iter_mut().for_each(|guard| guard.collect(round)));
        }
        holding_rounds_back
    }
}

/// The keys of the round, by their number, that had an older record, and what that was.
fn find_settled(tier: &Tier, round: &Round) -> Result<Vec<(u32, Old)>, RocksError> {
    let record_key = |index: &u32| round.batch.record_key(round.unsettled[*index as usize].record);
    let mut order: Vec<u32> = (0..round.unsettled.len() as u32).collect();
    order.sort_by(|one, other| record_key(one).cmp(record_key(other)));
    let mut settled = Vec::new();
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
            read_bytes += old.value_bytes;
            settled.push((*index, old));
        }
        // How long they are is not known before: the next are taken to be like these.
        let fitting = BYTES_A_READ * part.len() / read_bytes.max(1);
        keys = fitting.clamp(1, KEYS_A_READ.min(2 * part.len()));
        rest = after;
    }
    Ok(settled)
}

/// What was known of a record from the record itself.
pub(super) struct Old {
    value_bytes: usize,
    expiry_ms: Option<u64>,
    pub(super) written_ms: u64,
    long_key_bytes: Option<usize>,
}

impl Old {
    const UNREADABLE: Old = Old { value_bytes: 0, expiry_ms: None, written_ms: 0, long_key_bytes: None };

    pub(super) fn of(record: &[u8]) -> Result<Old, RocksError> {
        let record = Record::decode(record).map_err(|error| RocksError::corruption(error.to_string()))?;
        Ok(Old {
            value_bytes: record.payload.len(),
            expiry_ms: record.expiry_ms,
            written_ms: record.written_ms,
            long_key_bytes: record.long_key.map(<[u8]>::len),
        })
    }
}

/// Tries until it succeeds; meanwhile the tier refuses writes.
pub(super) fn retry<R>(
    tier: &Tier,
    gives_up: &impl Fn() -> bool,
    mut attempt: impl FnMut() -> Result<R, RocksError>,
) -> Result<R, RocksError> {
    let mut has_failed = false;
    loop {
        match attempt() {
            Ok(done) => {
                if has_failed {
                    tier.recovered();
                }
                return Ok(done);
            }
            Err(error) => {
                has_failed = true;
                tier.failed(&error.message, error.kind == RocksErrorKind::NoSpace);
                if gives_up() {
                    return Err(error);
                }
                std::thread::sleep(RETRY_PAUSE);
                // Most errors end with their cause; for the others the store is opened anew. The next attempt tells.
                let _ = tier.store.try_recover();
            }
        }
    }
}

/// Locks the merger's state: no round is under way then.
///
/// # Errors
/// When `gives_up` says so while the round under way cannot be written.
pub(super) fn lock<'t>(
    tier: &'t Tier,
    gives_up: &impl Fn() -> bool,
) -> Result<MutexGuard<'t, MergerState>, RocksError> {
    loop {
        if let Some(state) = tier.merger.try_lock_for(RETRY_PAUSE) {
            return Ok(state);
        }
        if let Some(failure) = tier.failure().filter(|_| gives_up()) {
            return Err(RocksError::not_tried(failure));
        }
    }
}

/// Where the journal was when a round began; `None` without a journal.
pub type Mark = Option<Ticket>;

impl super::Slots {
    pub(super) fn mark_dirty(&self, number: u16) {
        let (word, bit) = (&self.dirty[usize::from(number / 64)], 1 << (number % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Visits every slot that was marked, and takes the mark away before.
    fn take_dirty(&self, mut visit: impl FnMut(u16)) {
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
