//! The keys: databases of 16,384 slots each, each slot a small table under its own lock.
//!
//! Handlers reach a key by one door: [`Keyspace::lock`] gives a [`SlotGuard`], whose methods look up, expire, count,
//! and change. Locks are taken in the order of (database, slot) and never held across an await.

mod ages;
mod changes;
mod draw;
mod effect;
pub mod entry;
mod eviction;
mod expiry;
mod flush;
pub mod garbage;
pub mod gate;
mod ghosts;
mod lirs;
pub mod loader;
mod memory;
mod merger;
mod pace;
mod prefetch;
pub mod recency;
mod recovery;
mod residency;
mod scan;
mod slot;
pub mod space;
mod spread;
mod stored;
mod sweep;
mod table;
mod tally;
pub mod tier;
mod trickle;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::base::gather::Gather;
use crate::base::key_hash::{HashSecret, KeyHash};
use crate::base::slot::SLOTS;
use crate::config::{Integer, Settings};
use crate::stats::Stats;

pub use changes::Changes;
pub use entry::Owned;
pub use eviction::Room;
pub use flush::Flushed;
pub use merger::Merged;
pub use residency::Residence;
pub use scan::{Cursor, Scan, Step, Visitor, Walk};
use slot::Slot;
pub use slot::{NewExpiry, SlotGuard};
use spread::Spread;
pub use table::strain as table_strain;
pub use tally::Size;
use tally::Tally;

/// How many databases there are at most: the record format gives a byte to their number, and bounds of ranges take the
/// highest one.
const DATABASES_MAX: usize = 255;
/// How many there are at least, whatever SELECT knows: a data directory may hold as many.
const DATABASES_MIN: usize = 16;
/// The bit of [`Keyspace::used`] that stands for all databases from this one on.
const OTHERS_BIT: usize = 63;

/// A key with what its lookup needs, computed once.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    bytes: &'a [u8],
    hash: u64,
    slot: u16,
}

/// Where a key belongs: what there is to compute of it before its lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    hash: u64,
    slot: u16,
}

impl<'a> Key<'a> {
    /// `spot` must be the one that [`Keyspace::spot`] gave for the same bytes.
    #[inline]
    pub fn at(bytes: &'a [u8], spot: Spot) -> Key<'a> {
        Key { bytes, hash: spot.hash, slot: spot.slot }
    }

    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn slot(&self) -> u16 {
        self.slot
    }
}

/// What the caller's lookups go by.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: u64,
    /// Whether looking at a key counts as a use of it (CLIENT NO-TOUCH turns it off).
    pub touches: bool,
}

/// One of the key spaces. Its tables come into being with the first key.
#[derive(Default)]
struct Database {
    slots: OnceLock<Slots>,
    tally: Tally,
}

/// Begins on a cache line and takes two.
#[derive(Default)]
#[repr(align(64))]
struct LockedSlot(Mutex<Slot>);

const _: () = assert!(size_of::<LockedSlot>() == 128);

impl Deref for LockedSlot {
    type Target = Mutex<Slot>;
    fn deref(&self) -> &Mutex<Slot> {
        &self.0
    }
}

struct Slots {
    slots: Box<[LockedSlot]>,
    /// For each slot a lower bound of its next deadline in Unix milliseconds, written under the slot's lock: the
    /// active cycle reads these instead of visiting every slot.
    deadlines_ms: Box<[AtomicU64]>,
    /// Entries in memory, and those of them that have an expiry: what eviction draws slots by.
    entries: Spread,
    expiring: Spread,
    /// A bit a slot: it may differ from what is on disk.
    dirty: Box<[AtomicU64]>,
}

impl Slots {
    fn new() -> Slots {
        let all = || 0..SLOTS;
        Slots {
            slots: all().map(|_| LockedSlot::default()).collect(),
            deadlines_ms: all().map(|_| AtomicU64::new(u64::MAX)).collect(),
            entries: Spread::default(),
            expiring: Spread::default(),
            dirty: (0..SLOTS / 64).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

pub struct Keyspace {
    databases: Box<[Database]>,
    /// A bit for each of `databases` that has slots, and one for those beyond [`OTHERS_BIT`]: looking at all of them takes
    /// time that every write would spend.
    used: AtomicU64,
    /// Which of `databases` a database number means; SWAPDB exchanges two.
    order: [AtomicU8; DATABASES_MAX],
    /// Places keys; the records on disk are in its order.
    hash: KeyHash,
    lirs: lirs::Lirs,
    pub gate: gate::Gate,
    /// Whether expired keys are deleted in the background (DEBUG SET-ACTIVE-EXPIRE); if not, only when they are met.
    pub expires_actively: AtomicBool,
    pub settings: Arc<Settings>,
    pub stats: Arc<Stats>,
    /// What is below memory, with the RocksDB engine.
    tier: Option<tier::Tier>,
}

/// Several slots, locked together. What is changed in them gets into the journal whole, when they are let go.
pub struct SlotGuards<'k> {
    guards: SmallVec<[SlotGuard<'k>; 4]>,
    changes: Option<&'k Changes>,
    /// From before it was looked at whether a round is open until the changes are made.
    #[allow(dead_code, reason = "it is held, not read")]
    holding_rounds_back: Option<gate::Shared<'k>>,
}

impl Drop for SlotGuards<'_> {
    fn drop(&mut self) {
        let Some(tier) = self.guards.first().and_then(|first| first.keyspace().tier()) else { return };
        // Before the locks go, so that nobody's later change of these slots can come before this in the journal.
        let staged = || self.guards.iter().filter_map(|guard| guard.staged.as_ref());
        if staged().any(|bytes| !bytes.is_empty()) {
            let ticket = tier.journal(|journal| staged().for_each(|bytes| journal.extend(bytes)));
            self.changes.iter().for_each(|changes| changes.note_journaled(ticket));
        }
    }
}

impl<'k> SlotGuards<'k> {
    /// Has what is changed by them reported to `changes`.
    pub fn report_to(mut self, changes: &'k Changes) -> Self {
        self.guards.iter_mut().for_each(|guard| guard.changes = Some(changes));
        self.changes = Some(changes);
        self
    }

    /// The guard of a key that was named when the slots were locked.
    ///
    /// # Panics
    /// For another key: a handler's mistake, not reachable by a client's choice of arguments.
    pub fn of(&mut self, database: usize, key: &Key) -> &mut SlotGuard<'k> {
        let Some(first) = self.guards.first() else { unreachable!("no slot is locked") };
        let wanted = (first.keyspace().physical(database), key.slot);
        match self.guards.binary_search_by_key(&wanted, SlotGuard::position) {
            Ok(index) => &mut self.guards[index],
            Err(_) => unreachable!("the slot was not locked"),
        }
    }
}

impl Keyspace {
    /// `secret` is that of the hash that places keys; on disk, the one that the records were placed by.
    pub fn new(secret: HashSecret, tier: Option<tier::Tier>, settings: Arc<Settings>, stats: Arc<Stats>) -> Keyspace {
        let databases = (settings.databases.get().max(0) as usize).clamp(DATABASES_MIN, DATABASES_MAX);
        Keyspace {
            databases: std::iter::repeat_with(Database::default).take(databases).collect(),
            used: AtomicU64::new(0),
            order: std::array::from_fn(|index| AtomicU8::new(index as u8)),
            hash: KeyHash::new(secret),
            lirs: lirs::Lirs::default(),
            gate: gate::Gate::default(),
            expires_actively: AtomicBool::new(true),
            settings,
            stats,
            tier,
        }
    }

    /// The disk; `None` with the memory engine.
    #[inline]
    pub fn tier(&self) -> Option<&tier::Tier> {
        self.tier.as_ref()
    }

    #[inline]
    pub fn spot(&self, bytes: &[u8]) -> Spot {
        Spot { hash: self.hash.hash(bytes), slot: crate::base::slot::slot(bytes) }
    }

    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::at(bytes, self.spot(bytes))
    }

    /// What eviction's metadata goes by now.
    #[inline]
    pub fn rules(&self) -> recency::Rules {
        let policy = self.settings.maxmemory_policy.get();
        let lfu = |parameter: &Integer| if policy.is_lfu() { parameter.get().max(0) as u32 } else { 0 };
        recency::Rules {
            policy,
            log_factor: lfu(&self.settings.lfu_log_factor),
            decay_minutes: lfu(&self.settings.lfu_decay_time),
            clock: self.lirs.clock(),
        }
    }

    /// How many databases there are. SELECT may know fewer.
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The index in `databases` of database `number`, which must be below [`Self::databases`].
    #[inline]
    fn physical(&self, number: usize) -> u8 {
        self.order[number].load(Ordering::Acquire)
    }

    fn database(&self, number: usize) -> &Database {
        &self.databases[usize::from(self.physical(number))]
    }

    /// Locks the slot of one key that may not be in memory, for who does not ask what it was.
    #[inline]
    pub fn lock(&self, caller: Caller, database: usize, key: &Key) -> SlotGuard<'_> {
        self.lock_slot(caller, self.physical(database), key.slot)
    }

    /// Locks the slots of several keys, each slot once, in the one order that excludes deadlock.
    pub fn lock_all<'a>(&self, caller: Caller, keys: impl Iterator<Item = (usize, Key<'a>)>) -> SlotGuards<'_> {
        let mut positions: SmallVec<[(u8, u16); 16]> =
            keys.map(|(database, key)| (self.physical(database), key.slot)).collect();
        positions.sort_unstable();
        positions.dedup();
        let lock = |(physical, slot)| {
            let mut guard = self.lock_slot(caller, physical, slot);
            guard.staged = self.tier.is_some().then(Gather::default);
            guard
        };
        let mut guards: SmallVec<_> = positions.into_iter().map(lock).collect();
        let holding_rounds_back = self.tier().map(|tier| self.collect_first(tier, &mut guards));
        SlotGuards { guards, changes: None, holding_rounds_back }
    }

    #[inline]
    fn lock_slot(&self, caller: Caller, physical: u8, slot: u16) -> SlotGuard<'_> {
        let database = &self.databases[usize::from(physical)];
        let slots = database.slots.get().unwrap_or_else(|| self.begin_slots(physical));
        SlotGuard::lock(self, database, slots, physical, slot, caller)
    }

    #[cold]
    fn begin_slots(&self, physical: u8) -> &Slots {
        let slots = self.databases[usize::from(physical)].slots.get_or_init(Slots::new);
        self.used.fetch_or(1 << usize::from(physical).min(OTHERS_BIT), Ordering::Relaxed);
        slots
    }

    /// The databases that ever held a key. Of those from [`OTHERS_BIT`] on, if any did, all.
    #[inline]
    fn used(&self) -> impl Iterator<Item = &Database> {
        let mut bits = self.used.load(Ordering::Relaxed);
        let mut other = OTHERS_BIT;
        std::iter::from_fn(move || {
            let physical = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            if physical < OTHERS_BIT {
                bits &= bits - 1;
                return self.databases.get(physical);
            }
            other += 1;
            self.databases.get(other - 1)
        })
    }

    /// Keys in a database, those included whose expiry has passed but was not noticed yet.
    pub fn len(&self, database: usize) -> u64 {
        self.size(database).keys
    }

    pub fn is_empty(&self, database: usize) -> bool {
        self.len(database) == 0
    }

    /// Keys in all databases.
    pub fn total_keys(&self) -> u64 {
        self.used().map(|database| database.tally.size().keys).sum()
    }

    /// Keys in a database that have an expiry.
    pub fn expiring(&self, database: usize) -> u64 {
        self.size(database).expiring
    }

    /// What a database holds, by the same count as [`len`](Self::len).
    pub fn size(&self, database: usize) -> Size {
        self.database(database).tally.size()
    }

    /// Deletes keys whose expiry has passed, until `deadline` at the latest. It begins at `cursor` and leaves there
    /// where to go on, so that no slot waits for ever behind others. Returns whether it got through all of them.
    pub fn expire_due(&self, now_ms: u64, cursor: &mut ExpiryCursor, deadline: std::time::Instant) -> bool {
        if !self.expires_actively.load(Ordering::Relaxed) {
            return true;
        }
        let caller = Caller { now_ms, touches: false };
        let slots = usize::from(SLOTS);
        for _ in 0..self.databases.len() + 1 {
            let physical = cursor.0 / slots % self.databases.len();
            let first = cursor.0 % slots;
            let deadlines_ms =
                self.databases[physical].slots.get().map_or([].as_slice(), |slots| &slots.deadlines_ms[first..]);
            for (offset, next_ms) in deadlines_ms.iter().enumerate() {
                while next_ms.load(Ordering::Relaxed) <= now_ms {
                    let number = (first + offset) as u16;
                    if self.lock_slot(caller, physical as u8, number).expire_due() == 0 {
                        break;
                    }
                    if std::time::Instant::now() >= deadline {
                        cursor.0 = physical * slots + first + offset;
                        return false;
                    }
                }
            }
            cursor.0 = (physical + 1) % self.databases.len() * slots;
        }
        true
    }
}

/// Where the active expiry cycle goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryCursor(usize);

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod residency_tests;
#[cfg(test)]
mod tests;
