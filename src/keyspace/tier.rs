//! The disk under the keyspace: RocksDB, the journal, and what moves keys between them and memory.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::gate::{Gate, Shared};
use super::loader::Loader;
use super::merger::{Mark, MergerState, Round};
use super::pace::{JOURNAL_SHARE, Pace, wait_ms};
use super::space::Space;
use crate::base::gather::Gather;
use crate::base::{clock, memory};
use crate::config::{JournalSync, Settings};
use crate::reply::Error;
use crate::stats::{Counter, Histogram};
use crate::store::journal::{Journal, SyncPolicy, Ticket};
use crate::store::rocks::Rocks;

/// How the disk stands to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    None,
    /// What differs from it would reach its bound before the merger has caught up: a write should wait so many
    /// milliseconds.
    Ahead(u32),
    /// What differs from it has reached its bound: the merger has to catch up first.
    Behind,
    /// It takes none; see [`Tier::failure`].
    Broken,
}

/// Of `maxmemory`, what may differ from the disk: one part in so many, but so many bytes at least.
pub(super) const DIRTY_SHARE: u64 = 8;
/// Why writes are refused while what little room there is, is kept for removals.
const LITTLE_ROOM: &str = "little room is left on the disk, and it is kept for commands that remove keys";
const DIRTY_MIN_BYTES: u64 = 1 << 20;
/// Of `maxmemory`, what is kept free at most.
const RESERVED_SHARE: u64 = 2;
/// The same of `maxdisk`: the journal takes three times as much of it.
const DIRTY_DISK_SHARE: u64 = 32;
/// Of `maxmemory` without the slots, what RocksDB's cache and write buffers take: one part in so many, within these bounds.
const STORE_SHARE: u64 = 4;
const STORE_MIN_BYTES: u64 = 8 << 20;
const STORE_MAX_BYTES: u64 = 1 << 30;
/// The same where memory has no limit.
const STORE_DEFAULT_BYTES: u64 = 256 << 20;
/// With a smaller `maxmemory`, free pages are given back at once. Of a larger one, what the allocator holds back for a while
/// (20 MB at most, seen while RocksDB compacts) is no more than a tenth; and large values are set a quarter faster with it.
const GIVE_BACK_AT_ONCE_BYTES: u64 = 192 << 20;

/// Counts and times for INFO and the metrics.
#[derive(Default)]
pub struct Counters {
    /// Rounds that wrote something.
    pub rounds: Counter,
    pub merged_entries: Counter,
    pub round_latencies: Histogram,
    /// Keys that RocksDB had in its own memory.
    pub cached: Counter,
    /// Keys that its filters knew to be absent, without a read.
    pub absent: Counter,
    /// Commands that waited because the merger was behind.
    pub stalls: Counter,
    /// Commands that waited a little, so that none has to wait for long.
    pub delays: Counter,
}

pub struct Tier {
    pub store: Arc<Rocks>,
    /// Opened once it is replayed.
    journal: OnceLock<Journal>,
    pub loader: Arc<Loader>,
    pub counters: Counters,
    journaling: AtomicBool,
    /// Held for the length of a round, and by who must not meet one.
    pub(super) merger: Mutex<MergerState>,
    committed_round: AtomicU32,
    collecting: AtomicBool,
    /// Passed exclusively when collecting begins.
    round_gate: Gate,
    round: Mutex<Option<Round>>,
    pub(super) pace: Pace,
    /// Why the disk does not take writes; looked at by every write, so there is a flag beside it.
    failure: Mutex<Option<String>>,
    has_failed: AtomicBool,
    is_full: AtomicBool,
    is_lost: AtomicBool,
    /// What little room there is, is kept for commands that remove keys.
    is_short: AtomicBool,
    /// Unix milliseconds until which eviction is not worth the search.
    eviction_rests_until_ms: AtomicU64,
    wishes: Mutex<Wishes>,
    wished: Condvar,
    pub saves: Saves,
    pub space: Space,
}

/// SAVE and BGSAVE.
#[derive(Default)]
pub struct Saves {
    state: Mutex<SaveState>,
}

/// How checkpoints stand.
#[derive(Clone, Debug, Default)]
pub struct SaveState {
    pub is_running: bool,
    /// Unix seconds of the last one that succeeded since the start; 0: none did.
    pub last_s: u64,
    /// Whether the last one failed, and why.
    pub last_error: Option<String>,
    /// Ended ones.
    pub count: u64,
}

impl Saves {
    pub fn state(&self) -> SaveState {
        self.state.lock().clone()
    }

    pub fn finished(&self, now_s: u64, result: Result<(), String>) {
        let mut state = self.state.lock();
        state.is_running = false;
        state.count += 1;
        match result {
            Ok(()) => {
                state.last_s = now_s;
                state.last_error = None;
            }
            Err(error) => state.last_error = Some(error),
        }
    }
}

/// What the merger's thread is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A round now, without waiting for the interval.
    pub round: bool,
    /// A checkpoint.
    pub save: bool,
    /// The last round, and the end.
    pub end: bool,
}

impl Tier {
    /// Without a journal yet, so that it can be replayed: [`begin_journal`](Self::begin_journal) follows.
    pub fn new(store: Rocks) -> Tier {
        Tier {
            store: Arc::new(store),
            journal: OnceLock::new(),
            loader: Arc::default(),
            counters: Counters::default(),
            journaling: AtomicBool::new(false),
            merger: Mutex::default(),
            committed_round: AtomicU32::new(0),
            collecting: AtomicBool::new(false),
            round_gate: Gate::default(),
            round: Mutex::default(),
            pace: Pace::default(),
            failure: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            eviction_rests_until_ms: AtomicU64::new(0),
            wishes: Mutex::default(),
            wished: Condvar::new(),
            saves: Saves::default(),
            space: Space::default(),
        }
    }

    /// From now on there is a journal, and what changes goes into it if `journaling`.
    pub fn begin_journal(&self, journal: Journal, journaling: bool) {
        if self.journal.set(journal).is_ok() {
            self.journaling.store(journaling, Ordering::Release);
        }
    }

    /// The journal, once there is one.
    #[inline]
    pub fn opened_journal(&self) -> Option<&Journal> {
        self.journal.get()
    }

    #[inline]
    pub fn is_journaling(&self) -> bool {
        self.journaling.load(Ordering::Relaxed)
    }

    /// Puts effects into the journal, if there is one. Returns what must be there before anybody is told of them.
    #[inline]
    pub(super) fn journal(&self, write: impl FnOnce(&mut Gather)) -> Option<Ticket> {
        let journal = self.journal.get().filter(|_| self.is_journaling())?;
        Some(journal.append(write))
    }

    /// Has everything that is in the journal now written, and tells where it ends.
    pub(super) fn mark(&self) -> Mark {
        self.journal.get()?.write_all().ok()
    }

    /// Has everything that is in the journal now written, and synced if `syncs`. Where it cannot be, the round goes on:
    /// once it is on disk, the journal may let go of what it could not keep.
    pub(super) fn bring_journal_up(&self, syncs: bool) {
        let Some(journal) = self.journal.get().filter(|_| self.is_journaling()) else { return };
        if let Err(error) = journal.write_all().and_then(|_| if syncs { journal.sync() } else { Ok(()) }) {
            tracing::warn!(%error, "the journal is behind what is being merged");
        }
    }

    /// What a replay would read.
    pub(super) fn journal_bytes(&self) -> u64 {
        self.journal.get().map_or(0, Journal::unreleased_bytes)
    }

    /// Everything up to the mark is on disk.
    pub(super) fn release(&self, mark: Mark) {
        if let (Some(ticket), Some(journal)) = (mark, self.journal.get()) {
            journal.release(ticket);
        }
    }

    #[inline]
    pub(super) fn committed_round(&self) -> u32 {
        self.committed_round.load(Ordering::Acquire)
    }

    pub(super) fn commit(&self, round: u32) {
        self.committed_round.store(round, Ordering::Release);
    }

    /// From now on slots may be collected into the round, by the merger and by commands. Waits for those who hold rounds
    /// back: the merger does not lock slots where nothing differs, so it could miss some of their changes and take others.
    pub(super) fn open_round(&self, round: Round) {
        *self.round.lock() = Some(round);
        let _alone = self.round_gate.exclusive();
        self.collecting.store(true, Ordering::Release);
    }

    /// While it is held, no round begins to be collected. Slots are locked before this, never within it.
    #[inline]
    pub(super) fn hold_rounds_back(&self) -> Shared<'_> {
        self.round_gate.shared()
    }

    #[inline]
    pub(super) fn is_collecting(&self) -> bool {
        self.collecting.load(Ordering::Acquire)
    }

    /// Calls `collect` with the round, if it is still open. Slots are locked before this, never within it.
    pub(super) fn with_round(&self, collect: impl FnOnce(&mut Round)) {
        if let Some(round) = &mut *self.round.lock() {
            collect(round);
            self.pace.took(round.taken_bytes);
        }
    }

    /// The round as it was collected; nothing more is.
    pub(super) fn close_round(&self) -> Round {
        self.collecting.store(false, Ordering::Release);
        match self.round.lock().take() {
            Some(round) => round,
            None => unreachable!("the merger closes what it opened"),
        }
    }

    /// The data directory is not where it was opened: whatever is written now, a start would not find it.
    pub fn lost(&self, error: &str) {
        self.is_lost.store(true, Ordering::Release);
        self.failed(error, false);
    }

    /// The data directory is where it was opened.
    pub fn found(&self) {
        self.is_lost.store(false, Ordering::Release);
    }

    /// So little room is left that commands which take some are refused, as on a full disk: it would be gone before keys can be
    /// removed.
    pub fn short_of_room(&self) {
        self.is_short.store(true, Ordering::Release);
        self.failed(LITTLE_ROOM, true);
    }

    /// There is room again, as the next round will show.
    pub fn enough_room(&self) {
        if self.is_short.swap(false, Ordering::AcqRel) {
            self.wish(|wishes| wishes.round = true);
        }
    }

    /// The disk refused something; `is_full`: for want of room.
    pub fn failed(&self, error: &str, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(error, "the disk does not take writes: clients' writes are refused until it does");
        }
        *failure = Some(error.to_owned());
        drop(failure);
        self.has_failed.store(true, Ordering::Release);
        // The thread that would make the checkpoint is busy with what has failed, be it that it knows of the wish or not.
        self.wishes.lock().save = false;
        if self.saves.state().is_running {
            self.save_failed();
        }
    }

    /// No checkpoint is made while the disk takes nothing.
    pub fn save_failed(&self) {
        let reason = self.failure().unwrap_or_default();
        self.saves.finished(clock::now_ms() / 1000, Err(format!("the disk does not take writes: {reason}")));
    }

    /// The disk took something.
    pub fn recovered(&self) {
        if !self.has_failed.load(Ordering::Acquire) || self.is_lost.load(Ordering::Acquire) {
            return;
        }
        if self.is_short.load(Ordering::Acquire) {
            self.failed(LITTLE_ROOM, true);
        } else {
            *self.failure.lock() = None;
            self.has_failed.store(false, Ordering::Release);
            tracing::info!("the disk takes writes again");
        }
    }

    /// Whether the store has refused something since it last took something.
    pub(super) fn has_refused(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Why the disk does not take writes at present.
    pub fn failure(&self) -> Option<String> {
        if !self.has_failed() {
            return None;
        }
        self.failure.lock().clone().or_else(|| self.journal.get()?.failure())
    }

    /// Whether `failure` has something to tell: cheap.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed) || self.journal.get().is_some_and(Journal::has_failed)
    }

    /// Ready: what the ticket stands for is in the journal, as `appendfsync` wants it. A full disk keeps it waiting.
    pub fn poll_acknowledged(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()> {
        self.journal.get().map_or(Poll::Ready(()), |journal| journal.poll_acknowledged(ticket, context))
    }

    /// Whether nobody should wait for the ticket any more: the journal has failed for too long.
    pub fn has_given_up(&self, ticket: Ticket) -> bool {
        self.journal.get().is_some_and(|journal| journal.has_given_up() && !journal.is_acknowledged(ticket))
    }

    /// What is said then.
    pub fn unwritten(&self) -> Error {
        let reason = self.failure().unwrap_or_default();
        Error::owned(format!("MISCONF The change is in memory, but not on disk yet, which does not take it: {reason}"))
    }

    /// Whether it would be ready at once.
    pub fn is_acknowledged(&self, ticket: Ticket) -> bool {
        self.journal.get().is_none_or(|journal| journal.is_acknowledged(ticket))
    }

    pub(super) fn rest_eviction(&self, until_ms: u64) {
        self.eviction_rests_until_ms.store(until_ms, Ordering::Relaxed);
    }

    pub(super) fn is_eviction_resting(&self, now_ms: u64) -> bool {
        now_ms < self.eviction_rests_until_ms.load(Ordering::Relaxed)
    }

    /// Whether a round is under way.
    pub fn is_merging(&self) -> bool {
        self.merger.is_locked()
    }

    /// Asks the merger's thread for something.
    pub fn wish(&self, add: impl FnOnce(&mut Wishes)) {
        add(&mut self.wishes.lock());
        self.wished.notify_one();
    }

    /// Asks for a checkpoint; false: one is being made.
    pub fn wish_save(&self) -> bool {
        if std::mem::replace(&mut self.saves.state.lock().is_running, true) {
            return false;
        }
        self.wish(|wishes| wishes.save = true);
        true
    }

    /// Waits for a wish, `interval` at most, and takes what is wished for.
    pub fn wait_for_wish(&self, interval: Duration) -> Wishes {
        let mut wishes = self.wishes.lock();
        if *wishes == Wishes::default() {
            self.wished.wait_for(&mut wishes, interval);
        }
        std::mem::take(&mut *wishes)
    }
}

impl super::Keyspace {
    /// Whether the disk can take more writes; asks for a round in good time before it cannot.
    pub fn pressure(&self) -> Pressure {
        let Some(tier) = self.tier() else { return Pressure::None };
        if tier.has_failed() {
            // The next round tells when it does no longer.
            tier.wish(|wishes| wishes.round = true);
            return Pressure::Broken;
        }
        let limit_bytes = self.dirty_limit_bytes();
        let (dirty_bytes, journal_bytes) = (self.dirty_bytes(), tier.journal_bytes());
        let is_disk_full = self.is_disk_full(tier, dirty_bytes);
        if dirty_bytes >= limit_bytes / 2 || journal_bytes >= limit_bytes || is_disk_full {
            tier.wish(|wishes| wishes.round = true);
        }
        let is_journal_full = journal_bytes >= limit_bytes.saturating_mul(JOURNAL_SHARE);
        let is_full = is_journal_full || is_disk_full && !self.trickles(tier, dirty_bytes);
        match wait_ms(tier.pace.backlog_bytes(dirty_bytes, journal_bytes), limit_bytes).filter(|_| !is_full) {
            None => {
                tier.counters.stalls.add(1);
                Pressure::Behind
            }
            Some(0) => Pressure::None,
            Some(wait_ms) => Pressure::Ahead(wait_ms),
        }
    }

    /// Whether a disk that is full takes what only removes keys: that needs room in the journal's present segment at most, and
    /// in memory up to the bound.
    pub fn admits_removals(&self) -> bool {
        self.tier().is_some_and(|tier| {
            let limit_bytes = self.dirty_limit_bytes();
            tier.is_full.load(Ordering::Relaxed)
                && tier.journal.get().is_none_or(|journal| !journal.has_failed())
                && self.dirty_bytes() < limit_bytes
                && tier.journal_bytes() < limit_bytes.saturating_mul(JOURNAL_SHARE)
        })
    }

    /// Whether writes are made to wait for the round under way.
    pub(super) fn is_nearly_behind(&self, tier: &Tier) -> bool {
        tier.pace.backlog_bytes(self.dirty_bytes(), tier.journal_bytes()) >= self.dirty_limit_bytes()
    }

    /// Looks at what memory is used for, with a disk, and has RocksDB take its share of what is left beside the slots: to be called
    /// every 100 ms or so.
    pub fn measure_memory(&self) {
        let Some(tier) = self.tier() else { return };
        // The cache and the memtables in it grow and shrink fast, so their place is kept free; and a round copies what
        // differs.
        let store_bytes = store_memory_bytes(&self.settings, self.slots_bytes());
        tier.store.set_memory_bytes(store_bytes);
        let unused_bytes = store_bytes.saturating_sub(tier.store.memory_bytes());
        let max_bytes = self.settings.maxmemory.get() / RESERVED_SHARE;
        memory::measure_foreign(unused_bytes + self.dirty_bytes(), max_bytes);
    }

    /// Has the journal go by the present settings.
    pub fn apply_settings(&self) {
        let Some(tier) = self.tier() else { return };
        tier.store.set_memory_bytes(store_memory_bytes(&self.settings, self.slots_bytes()));
        set_up_allocator(&self.settings);
        if let Err(error) = tier.store.set_disk_bytes(self.settings.maxdisk.get()) {
            tracing::warn!(%error, "files keep the sizes that they had");
        }
        if self.settings.maxdisk.get() == 0 {
            tier.space.forget();
        }
        if let Some(journal) = tier.journal.get() {
            journal.set_policy(sync_policy(&self.settings));
        }
        let journaling = self.settings.appendonly.get();
        let was_journaling = tier.journaling.swap(journaling, Ordering::AcqRel);
        if journaling && !was_journaling {
            // What was not journaled gets to disk before anybody is told that there is a journal.
            let has_failed = || tier.has_failed();
            if let Err(error) = self.merge(clock::now_ms(), has_failed) {
                tracing::warn!(%error, "what was changed without a journal is not on disk yet");
            }
        }
    }

    /// How much may differ from the disk: `maxdirty`, and never most of a small memory or disk.
    pub(super) fn dirty_limit_bytes(&self) -> u64 {
        let settings = &self.settings;
        [(settings.maxmemory.get(), DIRTY_SHARE), (settings.maxdisk.get(), DIRTY_DISK_SHARE)]
            .into_iter()
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, share)| (bytes / share).max(DIRTY_MIN_BYTES))
            .fold(settings.maxdirty.get(), u64::min)
    }

    /// Keys on disk that are not in memory.
    pub fn cold_keys(&self) -> u64 {
        self.used().map(|database| database.tally.cold_keys()).sum()
    }

    /// Entries that differ from the disk, and about how many bytes they take.
    pub fn dirty(&self) -> (u64, u64) {
        self.used().map(|database| database.tally.dirty()).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    pub(super) fn dirty_bytes(&self) -> u64 {
        self.used().map(|database| database.tally.dirty_bytes()).sum()
    }

    /// Whether what clients were told is to survive the machine's end, sooner or later.
    pub(super) fn syncs(&self) -> bool {
        self.settings.appendfsync.get() != JournalSync::No
    }
}

/// What RocksDB's cache and write buffers may take of `maxmemory`, of which the slots take so much: with many databases, and a
/// small limit, that may be most of it.
pub fn store_memory_bytes(settings: &Settings, slots_bytes: u64) -> u64 {
    match settings.maxmemory.get() {
        0 => STORE_DEFAULT_BYTES,
        bytes => (bytes.saturating_sub(slots_bytes) / STORE_SHARE).clamp(STORE_MIN_BYTES, STORE_MAX_BYTES),
    }
}

/// Has the allocator give memory back as soon as a disk and the size of `maxmemory` ask for it.
pub fn set_up_allocator(settings: &Settings) {
    let at_once = (1..GIVE_BACK_AT_ONCE_BYTES).contains(&settings.maxmemory.get());
    if let Err(error) = memory::give_back_at_once(at_once) {
        tracing::warn!(%error, "free memory is given back as before");
    }
}

/// `appendfsync` in the journal's words.
pub fn sync_policy(settings: &Settings) -> SyncPolicy {
    match settings.appendfsync.get() {
        JournalSync::Always => SyncPolicy::Always,
        JournalSync::Everysec => SyncPolicy::EverySecond,
        JournalSync::No => SyncPolicy::Never,
    }
}
