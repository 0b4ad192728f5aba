//! Several slots, locked together: what is changed in them is one change.

use smallvec::SmallVec;

use super::disk::gate::Shared;
use super::memory::changes::Changes;
use super::memory::guard::SlotGuard;
use super::memory::key::{Caller, Key};
use super::whole::Keyspace;
use crate::base::gather::Gather;

/// Several slots, locked together. What is changed in them gets into the journal whole, when they are let go.
pub struct SlotGuards<'k> {
    guards: SmallVec<[SlotGuard<'k>; 4]>,
    changes: Option<&'k Changes>,
    /// From before it was looked at whether a round is open until the changes are made.
    #[allow(dead_code, reason = "it is held, not read")]
    holding_rounds_back: Option<Shared<'k>>,
}

impl Drop for SlotGuards<'_> {
    fn drop(&mut self) {
        let Some(tier) = self.guards.first().and_then(|first| first.databases.tier()) else { return };
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
    /// Panics for another key: a handler's mistake, not reachable by a client's choice of arguments.
    pub fn of(&mut self, database: usize, key: &Key) -> &mut SlotGuard<'k> {
        let Some(first) = self.guards.first() else { unreachable!("no slot is locked") };
        let wanted = (first.databases.physical(database), key.slot);
        match self.guards.binary_search_by_key(&wanted, |guard| guard.position()) {
            Ok(index) => &mut self.guards[index],
            Err(_) => unreachable!("the slot was not locked"),
        }
    }
}

impl Keyspace {
    /// Locks the slots of several keys, each slot once, in the one order that excludes deadlock.
    pub fn lock_all<'a>(&self, caller: Caller, keys: impl Iterator<Item = (usize, Key<'a>)>) -> SlotGuards<'_> {
        let mut positions: SmallVec<[(u8, u16); 16]> =
            keys.map(|(database, key)| (self.physical(database), key.slot)).collect();
        positions.sort_unstable();
        positions.dedup();
        let lock = |(physical, slot)| {
            let mut guard = SlotGuard::from(self.lock_slot(caller, physical, slot));
            guard.staged = self.tier().is_some().then(Gather::default);
            guard
        };
        let mut guards: SmallVec<_> = positions.into_iter().map(lock).collect();
        let holding_rounds_back = self.tier().map(|tier| self.merger.collect_first(tier, &mut guards));
        SlotGuards { guards, changes: None, holding_rounds_back }
    }
}
