//! The keyspace as a whole: the rooms put together.

use std::ops::Deref;
use std::sync::Arc;

use super::disk::gate::Gate;
use super::disk::tier::{Pressure, Tier};
use super::memory::databases::Databases;
use super::merge::merger::{Merger, Merging};
use super::merge::rounds::Merged;
use super::residency::loader::{Cold, Loader, Loading};
use crate::base::key_hash::HashSecret;
use crate::config::Settings;
use crate::stats::Stats;
use crate::store::rocks::RocksError;

/// The databases, with what reads their cold keys and what brings their changes to disk.
pub struct Keyspace {
    pub(super) databases: Databases,
    /// Reads cold keys.
    pub loader: Loader,
    /// Brings changes to disk.
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

    /// Loads what `cold` asks for. Without the loader's threads it is, when this returns.
    pub fn load(&self, tier: &Tier, cold: &mut Cold) -> Loading {
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
