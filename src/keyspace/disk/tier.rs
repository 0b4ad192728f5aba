//! The disk under the keyspace: RocksDB, the journal, and what moves keys between them and memory.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::requests::{Requests, Saves};
use super::throttle::Throttle;
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
    /// It takes them.
    None,
    /// What differs from it would reach its bound before the merger has caught up: a write should wait so many
    /// milliseconds.
    Ahead(u32),
    /// What differs from it has reached its bound: the merger has to catch up first.
    Behind,
    /// It takes none; see [`Tier::failure`].
    Broken,
}

/// Why writes are refused while what little room there is, is kept for removals.
const LITTLE_ROOM: &str = "little room is left on the disk, and it is kept for commands that remove keys";
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
    /// Entries that rounds have taken.
    pub merged_entries: Counter,
    /// How long rounds took to be written, in nanoseconds; what was collected before is not in it.
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

/// What is below memory: records in RocksDB, the journal of what they lack, and whether both take writes.
pub struct Tier {
    /// The records.
    pub store: Arc<Rocks>,
    /// Opened once it is replayed.
    journal: OnceLock<Journal>,
    /// Counts for INFO and the metrics.
    pub counters: Counters,
    journaling: AtomicBool,
    committed_round: AtomicU32,
    /// How fast clients may write without getting ahead of the merger.
    pub throttle: Throttle,
    /// Why the disk does not take writes; looked at by every write, so there is a flag beside it.
    failure: Mutex<Option<String>>,
    has_failed: AtomicBool,
    is_full: AtomicBool,
    is_lost: AtomicBool,
    /// What little room there is, is kept for commands that remove keys.
    is_short: AtomicBool,
    /// Unix milliseconds until which eviction is not worth the search.
    eviction_rests_until_ms: AtomicU64,
    /// What the merger's thread is asked to do.
    pub requests: Requests,
    /// How SAVE and BGSAVE have ended.
    pub saves: Saves,
}

impl Tier {
    /// Without a journal yet, so that it can be replayed: [`begin_journal`](Self::begin_journal) follows.
    pub fn new(store: Rocks) -> Tier {
        Tier {
            store: Arc::new(store),
            journal: OnceLock::new(),
            counters: Counters::default(),
            journaling: AtomicBool::new(false),
            committed_round: AtomicU32::new(0),
            throttle: Throttle::default(),
            failure: Mutex::default(),
            has_failed: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            eviction_rests_until_ms: AtomicU64::new(0),
            requests: Requests::default(),
            saves: Saves::default(),
        }
    }

    /// Takes the journal over; what changes from now on goes into it if `journaling`.
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

    /// Whether changes go into the journal (`appendonly`).
    #[inline]
    pub fn is_journaling(&self) -> bool {
        self.journaling.load(Ordering::Relaxed)
    }

    /// Turns journaling on or off for what changes from now on. Returns whether it was on.
    pub fn set_journaling(&self, journaling: bool) -> bool {
        self.journaling.swap(journaling, Ordering::AcqRel)
    }

    /// Puts effects into the journal, if there is one. Returns what must be there before anybody is told of them.
    #[inline]
    pub fn journal(&self, write: impl FnOnce(&mut Gather)) -> Option<Ticket> {
        let journal = self.journal.get().filter(|_| self.is_journaling())?;
        Some(journal.append(write))
    }

    /// Writes everything that is in the journal now, and returns where it ends.
    pub fn mark(&self) -> Option<Ticket> {
        self.journal.get()?.write_all().ok()
    }

    /// Writes everything that is in the journal now, and syncs it if `syncs`. Where it cannot be, the round goes on:
    /// once it is on disk, the journal may let go of what it could not keep.
    pub fn bring_journal_up(&self, syncs: bool) {
        let Some(journal) = self.journal.get().filter(|_| self.is_journaling()) else { return };
        if let Err(error) = journal.write_all().and_then(|_| if syncs { journal.sync() } else { Ok(()) }) {
            tracing::warn!(%error, "the journal is behind what is being merged");
        }
    }

    /// What a replay would read.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.get().map_or(0, Journal::unreleased_bytes)
    }

    /// Lets the journal go up to the mark: all of that is on disk.
    pub fn release(&self, mark: Option<Ticket>) {
        if let (Some(ticket), Some(journal)) = (mark, self.journal.get()) {
            journal.release(ticket);
        }
    }

    /// The number of the last round that is on disk.
    #[inline]
    pub fn committed_round(&self) -> u32 {
        self.committed_round.load(Ordering::Acquire)
    }

    /// Notes that the round is on disk: what it took may leave memory.
    pub fn commit(&self, round: u32) {
        self.committed_round.store(round, Ordering::Release);
    }

    /// Takes note that the data directory is not where it was opened: whatever is written now, a start would not find it.
    pub fn lost(&self, error: &str) {
        self.is_lost.store(true, Ordering::Release);
        self.failed(error, false);
    }

    /// Takes note that the data directory is where it was opened.
    pub fn found(&self) {
        self.is_lost.store(false, Ordering::Release);
    }

    /// Takes note that so little room is left that commands which take some are refused, as on a full disk: it would be gone before keys can be
    /// removed.
    pub fn short_of_room(&self) {
        self.is_short.store(true, Ordering::Release);
        self.failed(LITTLE_ROOM, true);
    }

    /// Takes note that there is room again, as the next round will show.
    pub fn enough_room(&self) {
        if self.is_short.swap(false, Ordering::AcqRel) {
            self.requests.round();
        }
    }

    /// Takes note that the disk refused something; `is_full`: for want of room.
    pub fn failed(&self, error: &str, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
        let mut failure = self.failure.lock();
        if failure.is_none() {
            tracing::error!(error, "the disk does not take writes: clients' writes are refused until it does");
        }
        *failure = Some(error.to_owned());
        drop(failure);
        self.has_failed.store(true, Ordering::Release);
        // The thread that would make the checkpoint is busy with what has failed, be it that it knows of the request or not.
        self.requests.withdraw_save();
        if self.saves.state().is_running {
            self.save_failed();
        }
    }

    /// Ends a checkpoint that cannot be made while the disk takes nothing.
    pub fn save_failed(&self) {
        let reason = self.failure().unwrap_or_default();
        self.saves.finished(clock::now_ms() / 1000, Err(format!("the disk does not take writes: {reason}")));
    }

    /// Takes note that the disk took something.
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
    pub fn has_refused(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Whether what it refused was refused for want of room.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
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

    /// Notes that nothing can be evicted before `until_ms`, in Unix milliseconds.
    pub fn rest_eviction(&self, until_ms: u64) {
        self.eviction_rests_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Whether a search for what can be evicted is not worth it yet.
    pub fn is_eviction_resting(&self, now_ms: u64) -> bool {
        now_ms < self.eviction_rests_until_ms.load(Ordering::Relaxed)
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

/// Makes the allocator give memory back as soon as a disk and the size of `maxmemory` ask for it.
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
