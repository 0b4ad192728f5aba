//! The databases: 16,384 slots each, which come into being with the first key, and what is counted over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::super::disk::tier::Tier;
use super::super::watch::observer::Observers;
use super::counts::Size;
use super::key::{Key, KeyHash};
use super::lirs::Lirs;
use super::recency::Rules;
use super::slots::{Database, Slots};
use crate::base::key_hash::{HashSecret, KeyHasher};
use crate::base::slot::SLOTS;
use crate::config::{Integer, JournalSync, Settings};
use crate::stats::Stats;

/// How many databases there are at most: the record format gives a byte to their number, and bounds of ranges take the
/// highest one.
const DATABASES_MAX: usize = 255;
/// How many there are at least, whatever SELECT knows: a data directory may hold as many.
pub const DATABASES_MIN: usize = 16;
/// The bit of [`Databases::used`] that stands for all databases from this one on.
const OTHERS_BIT: usize = 63;

/// Of `maxmemory`, what may differ from the disk: one part in so many, but so many bytes at least.
pub const DIRTY_SHARE: u64 = 8;
const DIRTY_MIN_BYTES: u64 = 1 << 20;
/// The same of `maxdisk`: the journal takes three times as much of it.
const DIRTY_DISK_SHARE: u64 = 32;

/// All databases, in memory, over a disk if there is one.
pub struct Databases {
    pub(in crate::keyspace) all: Box<[Database]>,
    /// A bit for each of `all` that has slots, and one for those beyond [`OTHERS_BIT`]: looking at all of them takes
    /// time that every write would spend.
    used: AtomicU64,
    /// Which of `all` a database number means; SWAPDB exchanges two.
    order: [AtomicU8; DATABASES_MAX],
    /// Places keys; the records on disk are in its order.
    hash: KeyHasher,
    pub(in crate::keyspace) lirs: Lirs,
    /// Whether expired keys are deleted in the background (DEBUG SET-ACTIVE-EXPIRE); if not, only when they are met.
    pub expires_actively: AtomicBool,
    /// The parameters, at their present values.
    pub settings: Arc<Settings>,
    /// What is counted and timed.
    pub stats: Arc<Stats>,
    /// Who is told of changes.
    pub(in crate::keyspace) observers: Observers,
    /// What is below memory, with the RocksDB engine.
    tier: Option<Tier>,
}

impl Databases {
    /// `secret` is that of the hash that places keys; on disk, the one that the records were placed by.
    pub fn new(secret: HashSecret, tier: Option<Tier>, settings: Arc<Settings>, stats: Arc<Stats>) -> Databases {
        let databases = (settings.databases.get().max(0) as usize).clamp(DATABASES_MIN, DATABASES_MAX);
        Databases {
            all: std::iter::repeat_with(Database::default).take(databases).collect(),
            used: AtomicU64::new(0),
            order: std::array::from_fn(|index| AtomicU8::new(index as u8)),
            hash: KeyHasher::new(secret),
            lirs: Lirs::default(),
            expires_actively: AtomicBool::new(true),
            settings,
            stats,
            observers: Observers::default(),
            tier,
        }
    }

    /// The disk; `None` with the memory engine.
    #[inline]
    pub fn tier(&self) -> Option<&Tier> {
        self.tier.as_ref()
    }

    /// Computes where a key belongs.
    #[inline]
    pub fn key_hash(&self, bytes: &[u8]) -> KeyHash {
        KeyHash { hash: self.hash.hash(bytes), slot: crate::base::slot::slot(bytes) }
    }

    /// Makes a key that can be looked up.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::at(bytes, self.key_hash(bytes))
    }

    /// What eviction's metadata goes by now.
    #[inline]
    pub fn rules(&self) -> Rules {
        let policy = self.settings.maxmemory_policy.get();
        let lfu = |parameter: &Integer| if policy.is_lfu() { parameter.get().max(0) as u32 } else { 0 };
        Rules {
            policy,
            log_factor: lfu(&self.settings.lfu_log_factor),
            decay_minutes: lfu(&self.settings.lfu_decay_time),
            clock: self.lirs.clock(),
        }
    }

    /// How many databases there are. SELECT may know fewer.
    pub fn databases(&self) -> usize {
        self.all.len()
    }

    /// The index in `all` of database `number`, which must be below [`Self::databases`].
    #[inline]
    pub(in crate::keyspace) fn physical(&self, number: usize) -> u8 {
        self.order[number].load(Ordering::Acquire)
    }

    pub(in crate::keyspace) fn database(&self, number: usize) -> &Database {
        &self.all[usize::from(self.physical(number))]
    }

    #[cold]
    pub(in crate::keyspace) fn begin_slots(&self, physical: u8) -> &Slots {
        let begin = || {
            let slots = Slots::new();
            slots.update_watched(0..SLOTS, &self.observers);
            slots
        };
        let slots = self.all[usize::from(physical)].slots.get_or_init(begin);
        // Who has begun to watch in between has not seen them yet.
        if !self.observers.is_empty() {
            slots.update_watched(0..SLOTS, &self.observers);
        }
        self.used.fetch_or(1 << usize::from(physical).min(OTHERS_BIT), Ordering::Relaxed);
        slots
    }

    /// The databases that ever held a key. Of those from [`OTHERS_BIT`] on, if any did, all.
    #[inline]
    pub(in crate::keyspace) fn used(&self) -> impl Iterator<Item = &Database> {
        let mut bits = self.used.load(Ordering::Relaxed);
        let mut other = OTHERS_BIT;
        std::iter::from_fn(move || {
            let physical = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
            if physical < OTHERS_BIT {
                bits &= bits - 1;
                return self.all.get(physical);
            }
            other += 1;
            self.all.get(other - 1)
        })
    }

    /// Makes database numbers mean these databases.
    pub(in crate::keyspace) fn set_order(&self, order: &[u8]) {
        for (token, physical) in self.order.iter().zip(order) {
            token.store(*physical, Ordering::Release);
        }
    }

    /// Whether any slot has ever been changed, as far as the store tells.
    pub fn was_ever_written(&self) -> bool {
        self.used().next().is_some()
    }

    /// Keys in a database, those included whose expiry has passed but was not noticed yet.
    pub fn len(&self, database: usize) -> u64 {
        self.size(database).keys
    }

    /// Whether a database has no keys.
    pub fn is_empty(&self, database: usize) -> bool {
        self.len(database) == 0
    }

    /// Keys in all databases.
    pub fn total_keys(&self) -> u64 {
        self.used().map(|database| database.counts.size().keys).sum()
    }

    /// Keys in a database that have an expiry.
    pub fn expiring(&self, database: usize) -> u64 {
        self.size(database).expiring
    }

    /// What a database holds, by the same count as [`len`](Self::len).
    pub fn size(&self, database: usize) -> Size {
        self.database(database).counts.size()
    }

    /// How much may differ from the disk: `maxdirty`, and never most of a small memory or disk.
    pub(in crate::keyspace) fn dirty_limit_bytes(&self) -> u64 {
        let settings = &self.settings;
        [(settings.maxmemory.get(), DIRTY_SHARE), (settings.maxdisk.get(), DIRTY_DISK_SHARE)]
            .into_iter()
            .filter(|(bytes, _)| *bytes > 0)
            .map(|(bytes, share)| (bytes / share).max(DIRTY_MIN_BYTES))
            .fold(settings.maxdirty.get(), u64::min)
    }

    /// Keys on disk that are not in memory.
    pub fn cold_keys(&self) -> u64 {
        self.used().map(|database| database.counts.cold_keys()).sum()
    }

    /// Entries that differ from the disk, and about how many bytes they take.
    pub fn dirty(&self) -> (u64, u64) {
        self.used().map(|database| database.counts.dirty()).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    pub(in crate::keyspace) fn dirty_bytes(&self) -> u64 {
        self.used().map(|database| database.counts.dirty_bytes()).sum()
    }

    /// Whether what clients were told is to survive the machine's end, sooner or later.
    pub(in crate::keyspace) fn syncs(&self) -> bool {
        self.settings.appendfsync.get() != JournalSync::No
    }
}
