//! The keys: databases of 16,384 slots each, each slot a small table under its own lock.
//!
//! Handlers reach a key by one door: [`Keyspace::lock`](Databases::lock) gives a [`SlotGuard`], whose methods look up, expire, count,
//! and change. Locks are taken in the order of (database, slot) and never held across an await.
//!
//! The rooms, each of which knows those before it:
//!
//! | room | what is in it |
//! |---|---|
//! | `disk` | RocksDB and the journal as memory sees them: whether they take writes, and how fast these may come |
//! | `watch` | what changes, and who is told: effects, events, observers |
//! | `memory` | entries, slots, databases; lookup, change, expiry, eviction |
//! | `residency` | keys that are on disk alone: loading them, walking over them |
//! | `merge` | rounds that bring changes to disk, `maxdisk`, recovery |
//!
//! Above them stand [`Keyspace`], which puts them together, and what concerns several slots (`guards`) or databases (`flush`)
//! at once.

mod disk;
mod flush;
mod guards;
mod memory;
mod merge;
mod residency;
mod settings;
mod watch;

use std::ops::Deref;
use std::sync::Arc;

use crate::base::key_hash::HashSecret;
use crate::config::Settings;
use crate::stats::Stats;
use crate::store::rocks::RocksError;
use disk::gate::Gate;
use disk::tier::{Pressure, Tier};
use merge::merger::{Merger, Merging};

pub use disk::{gate, tier};
pub use flush::Flushed;
pub use guards::SlotGuards;
pub use memory::changes::Changes;
pub use memory::counts::Size;
pub use memory::databases::Databases;
pub use memory::entry::{self, Owned};
pub use memory::eviction::Room;
pub use memory::expiry_cycle::ExpiryCursor;
pub use memory::guard::{NewExpiry, SlotGuard};
pub use memory::key::{Caller, Key, Spot};
pub use memory::recency;
pub use memory::table::strain as table_strain;
pub use merge::rounds::Merged;
pub use merge::{garbage, recovery, space};
pub use residency::loader::{self, Loader, Loading};
pub use residency::resident::Residence;
pub use residency::scan::{Cursor, Scan, Step, Visitor, Walk};
pub use watch::event::Event;
pub use watch::{effect, observer};

/// The databases, with what reads their cold keys and what brings their changes to disk.
pub struct Keyspace {
    databases: Databases,
    pub loader: Loader,
    pub merger: Merger,
    /// Passed exclusively by who must be alone with all databases.
    pub gate: Gate,
}

impl Deref for Keyspace {
    type Target = Databases;
    #[inline]
    fn deref(&self) -> &Databases {
        &self.databases
    }
}

impl Keyspace {
    /// `secret` is that of the hash that places keys; on disk, the one that the records were placed by.
    pub fn new(secret: HashSecret, tier: Option<Tier>, settings: Arc<Settings>, stats: Arc<Stats>) -> Keyspace {
        Keyspace {
            databases: Databases::new(secret, tier, settings, stats),
            loader: Loader::default(),
            merger: Merger::default(),
            gate: Gate::default(),
        }
    }

    /// The merger at work on these databases; `None` with the memory engine.
    #[inline]
    pub fn merging(&self) -> Option<Merging<'_>> {
        self.tier().map(|tier| Merging { databases: &self.databases, tier, merger: &self.merger })
    }

    /// Has what `cold` requests loaded. Without the loader's threads it is, when this returns.
    pub fn load(&self, tier: &Tier, cold: &mut loader::Cold) -> Loading {
        self.loader.load(&self.databases, tier, cold)
    }

    /// Runs one round, see [`Merging::merge`].
    ///
    /// # Errors
    /// When it gave up: nothing is lost that the journal holds.
    pub fn merge(&self, now_ms: u64, gives_up: impl Fn() -> bool) -> Result<Merged, RocksError> {
        self.merging().map_or(Ok(Merged::default()), |merging| merging.merge(now_ms, gives_up))
    }

    /// Whether the disk can take more writes; asks for a round in good time before it cannot.
    pub fn pressure(&self) -> Pressure {
        self.merging().map_or(Pressure::None, |merging| merging.pressure())
    }
}

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod observer_tests;
#[cfg(test)]
mod residency_tests;
#[cfg(test)]
mod tests;
