//! The keys: databases of 16,384 slots each, each slot a small table under its own lock.
//!
//! Handlers reach a key by one door: an [`AccessSet`] lends them a [`SlotGuard`], whose methods look up, expire, count,
//! and change. It takes the locks, in the order of (database, slot), and they are never held across an await.
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
//! Above them stand [`Keyspace`], which puts them together, what commands hold of it (`access_set`), and what concerns whole
//! databases at once (`flush`).

#![deny(missing_docs)]

mod access_set;
mod disk;
mod flush;
mod memory;
mod merge;
mod residency;
mod settings;
mod watch;
mod whole;

pub use access_set::{AccessSet, SlotGuards, Unavailable};
pub use disk::{gate, tier};
pub use flush::Flushed;
pub use memory::changes::Changes;
pub use memory::counts::Size;
pub use memory::databases::Databases;
pub use memory::entry::{self, Owned};
pub use memory::eviction::Room;
pub use memory::expiry_cycle::ExpiryCursor;
pub use memory::guard::{NewExpiry, SlotGuard};
pub use memory::key::{Caller, Key, KeyHash};
pub use memory::recency;
pub use memory::table::strain as table_strain;
pub use merge::rounds::Merged;
pub use merge::{garbage, recovery, space};
pub use residency::loader::{self, Loader, Loading};
pub use residency::scan::{Cursor, Scan, Step, Visitor, Walk};
pub use watch::event::Event;
pub use watch::{effect, observer};
pub use whole::Keyspace;

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod observer_tests;
#[cfg(test)]
mod residency_tests;
#[cfg(test)]
mod tests;
