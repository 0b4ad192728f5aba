//! Who is told of changes, and in which slots.
//!
//! A slot knows by a flag whether anybody watches it, so that a change in an unwatched slot costs one test. The list of observers
//! is looked at only where the flag is set.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLock;

use super::effect::{ChangeId, Effect};
use super::event::Event;

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeyChange<'a> {
    /// Numbers follow each other in each slot without a gap until the process ends. The next begins beyond all of them, on disk;
    /// with the memory engine at 1.
    pub id: ChangeId,
    /// The key that has changed.
    pub key: &'a [u8],
    /// What became of it.
    pub effect: Effect<'a>,
    /// What brought that about.
    pub event: Event,
}

/// A change of whole databases, which has no number in their slots. Nobody changes a key meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseChange {
    /// The database, as it lies on disk, has lost all its keys.
    Flushed(u8),
    /// Each of two database numbers means what the other meant.
    Swapped(usize, usize),
}

/// Somebody who follows changes.
pub trait Observer: Send + Sync {
    /// Takes note of a change. The key's slot is locked: this has to be quick, and may neither lock a slot nor begin or
    /// cease to watch.
    fn key_changed(&self, change: &KeyChange<'_>);

    /// Takes note of a change of whole databases, under the same conditions.
    fn databases_changed(&self, change: DatabaseChange);
}

/// An observer at its place: to be named when it leaves.
#[derive(Debug, PartialEq, Eq)]
pub struct WatchId(u64);

struct Watch {
    id: u64,
    slots: Range<u16>,
    observer: Arc<dyn Observer>,
}

#[derive(Default)]
struct Watches {
    all: Vec<Watch>,
    last_id: u64,
}

/// All observers of the databases.
#[derive(Default)]
pub struct Observers(RwLock<Watches>);

impl Observers {
    /// Adds an observer of these slots, in all databases.
    pub fn add(&self, slots: Range<u16>, observer: Arc<dyn Observer>) -> WatchId {
        let mut watches = self.0.write();
        watches.last_id += 1;
        let id = watches.last_id;
        watches.all.push(Watch { id, slots, observer });
        WatchId(id)
    }

    /// Takes an observer away, and returns the slots that it watched.
    pub fn remove(&self, id: WatchId) -> Range<u16> {
        let mut watches = self.0.write();
        let index = watches.all.iter().position(|watch| watch.id == id.0);
        index.map_or(0..0, |index| watches.all.swap_remove(index).slots)
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.0.read().all.is_empty()
    }

    /// Whether anybody watches the slot.
    pub fn watch(&self, slot: u16) -> bool {
        self.0.read().all.iter().any(|watch| watch.slots.contains(&slot))
    }

    /// Tells those who watch its slot of a change.
    pub fn key_changed(&self, change: &KeyChange<'_>) {
        let watches = self.0.read();
        let concerned = watches.all.iter().filter(|watch| watch.slots.contains(&change.id.slot));
        concerned.for_each(|watch| watch.observer.key_changed(change));
    }

    /// Tells all of a change of whole databases.
    pub fn databases_changed(&self, change: DatabaseChange) {
        self.0.read().all.iter().for_each(|watch| watch.observer.databases_changed(change));
    }
}
