//! Beginning and ceasing to watch slots.

use std::ops::Range;
use std::sync::Arc;

use super::super::watch::observer::{Observer, WatchId};
use super::databases::Databases;

impl Databases {
    /// Tells `observer` of every change in these slots, in all databases, from now on.
    pub fn watch(&self, slots: Range<u16>, observer: Arc<dyn Observer>) -> WatchId {
        let id = self.observers.add(slots.clone(), observer);
        self.update_watched(slots);
        id
    }

    /// Tells an observer no more. A change that is being made meanwhile may still reach it.
    pub fn unwatch(&self, id: WatchId) {
        let slots = self.observers.remove(id);
        self.update_watched(slots);
    }

    fn update_watched(&self, numbers: Range<u16>) {
        for database in &self.all {
            if let Some(slots) = database.slots.get() {
                slots.update_watched(numbers.clone(), &self.observers);
            }
        }
    }
}
