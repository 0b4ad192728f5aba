//! What the merger owns from round to round, and what it works with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::super::disk::gate::{Gate, Shared};
use super::super::disk::tier::Tier;
use super::super::memory::databases::Databases;
use super::round::Round;
use super::space::Space;
use crate::store::rocks::{RocksError, RocksErrorKind};

/// How soon a round is tried again that could not be written.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How the index stands.
#[derive(Default)]
pub enum Ages {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    None,
    /// It is being made: the records from the key `from` on are missing, as far as they were written before `before_ms`.
    Incomplete {
        before_ms: u64,
        from: Vec<u8>,
        /// Since when writes wait for it, as far as they do.
        full_since: Option<Instant>,
    },
    Complete,
}

impl Ages {
    /// Whether rounds keep it.
    pub fn is_kept(&self) -> bool {
        matches!(self, Ages::Incomplete { .. } | Ages::Complete)
    }

    pub fn is_complete(&self) -> bool {
        matches!(self, Ages::Complete)
    }
}

/// What the merger remembers from round to round.
#[derive(Default)]
pub struct MergerState {
    /// For each database a place in its index of expiries: everything before it has been swept.
    pub swept_to: BTreeMap<u8, Vec<u8>>,
    /// The same in its index of ages: everything before it is evicted, or newer in memory.
    pub evicted_to: BTreeMap<u8, Vec<u8>>,
    /// When the last key that was evicted had been written.
    pub evicted_up_to_ms: u64,
    pub ages: Ages,
    /// Databases that were flushed since the last round: nothing of them on disk is to stay.
    pub flushed: BTreeSet<u8>,
    /// A round that was given up: what it took is nowhere else, so it comes before any other.
    pub unwritten: Option<Round>,
}

/// The merger: its state, and the round that is open, which commands on several slots have to do with.
#[derive(Default)]
pub struct Merger {
    /// Held for the length of a round, and by who must not meet one.
    state: Mutex<MergerState>,
    collecting: AtomicBool,
    /// Passed exclusively when collecting begins.
    round_gate: Gate,
    round: Mutex<Option<Round>>,
    pub space: Space,
}

impl Merger {
    /// Whether a round is under way.
    pub fn is_merging(&self) -> bool {
        self.state.is_locked()
    }

    /// The state, once no round is under way.
    pub fn state(&self) -> MutexGuard<'_, MergerState> {
        self.state.lock()
    }

    /// Locks the merger's state: no round is under way then.
    ///
    /// # Errors
    /// When `gives_up` says so while the round under way cannot be written.
    pub fn lock(&self, tier: &Tier, gives_up: &impl Fn() -> bool) -> Result<MutexGuard<'_, MergerState>, RocksError> {
        loop {
            if let Some(state) = self.state.try_lock_for(RETRY_PAUSE) {
                return Ok(state);
            }
            if let Some(failure) = tier.failure().filter(|_| gives_up()) {
                return Err(RocksError::not_tried(failure));
            }
        }
    }

    /// Opens the round: slots may be collected into it, by the merger and by commands. Waits for those who hold rounds
    /// back: the merger does not lock slots where nothing differs, so it could miss some of their changes and take others.
    pub fn open_round(&self, round: Round) {
        *self.round.lock() = Some(round);
        let _alone = self.round_gate.exclusive();
        self.collecting.store(true, Ordering::Release);
    }

    /// Keeps rounds from being opened while what it returns is held. Slots are locked before this, never within it.
    #[inline]
    pub fn hold_rounds_back(&self) -> Shared<'_> {
        self.round_gate.shared()
    }

    #[inline]
    pub fn is_collecting(&self) -> bool {
        self.collecting.load(Ordering::Acquire)
    }

    /// Calls `collect` with the round, if it is still open. Slots are locked before this, never within it.
    pub fn with_round(&self, tier: &Tier, collect: impl FnOnce(&mut Round)) {
        if let Some(round) = &mut *self.round.lock() {
            collect(round);
            tier.throttle.took(round.taken_bytes);
        }
    }

    /// Closes the round, and returns it as it was collected.
    pub fn close_round(&self) -> Round {
        self.collecting.store(false, Ordering::Release);
        match self.round.lock().take() {
            Some(round) => round,
            None => unreachable!("the merger closes what it opened"),
        }
    }
}

/// The merger at work: what it brings to disk, and where to.
#[derive(Clone, Copy)]
pub struct Merging<'k> {
    pub databases: &'k Databases,
    pub tier: &'k Tier,
    pub merger: &'k Merger,
}

/// Who merges the databases sees all of them.
impl Deref for Merging<'_> {
    type Target = Databases;
    fn deref(&self) -> &Databases {
        self.databases
    }
}

/// Tries until it succeeds; meanwhile the tier refuses writes.
pub fn retry<R>(
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
