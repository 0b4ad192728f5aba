//! What commands hold of the keyspace while they run: the access set, from which handlers borrow the slots of their keys.
//!
//! It takes the locks, in the one order that excludes deadlock, notes what has to be loaded, holds back rounds of the merger
//! where several slots are changed, and has what was changed in them journaled as one record when it lets them go.

use smallvec::SmallVec;

use super::disk::gate::Shared;
use super::memory::changes::Changes;
use super::memory::guard::SlotGuard;
use super::memory::key::{Caller, Key};
use super::residency::loader::{Cold, Loader};
use super::residency::resident::Residence;
use super::whole::Keyspace;

/// Why a command cannot have the slot of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The key has to be loaded first: the set has noted it.
    Cold,
    /// The key's record cannot be read from the disk, for this reason.
    Unreadable(String),
    /// The set was opened for several commands, and this slot was not named: to lock it now could be a deadlock.
    NotNamed,
}

/// What a command holds, or several that are executed as one: the locks of its slots, what is staged for the journal, what it
/// wants loaded, and the gate that keeps rounds of the merger from beginning meanwhile.
///
/// The set of one command is empty at first, and takes the slots that its handler asks for; it never holds those of two
/// askings. The set of several commands is opened over the keys of all of them, and holds them to the end.
pub struct AccessSet<'k> {
    keyspace: &'k Keyspace,
    changes: &'k Changes,
    caller: Caller,
    database: usize,
    cold: &'k mut Option<Box<Cold>>,
    spans_commands: bool,
    is_prefetched: bool,
    /// The slot of a command with one key. It is apart from the others, so that GET and SET have nothing to do with those; and
    /// it goes before another is locked.
    one: Option<SlotGuard<'k>>,
    several: Option<Box<SlotGuards<'k>>>,
}

impl<'k> AccessSet<'k> {
    /// Makes the set of one command in this database. `changes` is told of what is changed by it, `cold` is what was loaded
    /// for the command when it was tried before.
    #[inline]
    pub fn new(
        keyspace: &'k Keyspace,
        changes: &'k Changes,
        caller: Caller,
        database: usize,
        cold: &'k mut Option<Box<Cold>>,
    ) -> AccessSet<'k> {
        AccessSet {
            keyspace,
            changes,
            caller,
            database,
            cold,
            spans_commands: false,
            is_prefetched: false,
            one: None,
            several: None,
        }
    }

    /// Opens the set of several commands over their keys, each with the number of its database.
    pub fn of_several<'a>(
        keyspace: &'k Keyspace,
        changes: &'k Changes,
        caller: Caller,
        cold: &'k mut Option<Box<Cold>>,
        keys: impl Iterator<Item = (usize, Key<'a>)>,
    ) -> AccessSet<'k> {
        let mut set = AccessSet::new(keyspace, changes, caller, 0, cold);
        set.several = Some(Box::new(keyspace.lock_all(caller, keys).report_to(changes)));
        set.spans_commands = true;
        set
    }

    /// Begins the next of several commands, for this caller and in this database.
    pub fn begin_command(&mut self, caller: Caller, database: usize) {
        (self.caller, self.database) = (caller, database);
        self.changes.begin();
    }

    /// What the command's lookups go by.
    #[inline]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Whether several commands run over this set, so that it holds slots which the present one has not asked for: then
    /// nobody may lock any other way, as walks do.
    #[inline]
    pub fn spans_commands(&self) -> bool {
        self.spans_commands
    }

    /// Has the command's looks at keys count as uses of them, whatever CLIENT NO-TOUCH says.
    pub fn count_uses(&mut self) {
        self.caller.touches = true;
    }

    /// Notes that the command's keys are in the processor's cache, being looked ahead at.
    pub fn skip_prefetch(&mut self) {
        self.is_prefetched = true;
    }

    /// Notes that the command may be repeated from here on, whatever it has changed.
    pub fn may_begin_again(&self) {
        self.changes.begin();
    }

    /// The keys that are to be loaded, or were loaded, for the command.
    #[inline]
    pub fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// Gives the slot of a key in the command's database, with all there is of the key in memory.
    ///
    /// # Errors
    /// When it is not, or the slot is none of the set. A handler asks before it has changed anything, and passes the error on.
    #[inline(always)]
    pub fn slot(&mut self, key: &Key) -> Result<&mut SlotGuard<'k>, Unavailable> {
        if self.spans_commands {
            return self.slot_of_several(key);
        }
        let (slot, cold) = self.lock_one(key);
        if !slot.is_resident(key) {
            make_resident(slot, key, cold)?;
        }
        Ok(slot)
    }

    /// Gives the slot of a key that is going to be overwritten, whatever it is.
    ///
    /// # Errors
    /// When the slot is none of the set.
    #[inline(always)]
    pub fn slot_to_overwrite(&mut self, key: &Key) -> Result<&mut SlotGuard<'k>, Unavailable> {
        if self.spans_commands {
            return self.slot_of_several_to_overwrite(key);
        }
        Ok(self.lock_one(key).0)
    }

    /// Locks the slot of the one key of a command, in place of the slot that it had. Returns with it what the command wants loaded.
    #[inline(always)]
    fn lock_one(&mut self, key: &Key) -> (&mut SlotGuard<'k>, &mut Option<Box<Cold>>) {
        // Before the other is locked; and asked first, so that a command with one key calls nothing for that.
        if self.one.is_some() {
            self.one = None;
        }
        let physical = self.keyspace.physical(self.database);
        let lock = || self.keyspace.lock_slot(self.caller, physical, key.slot).into();
        let slot = self.one.get_or_insert_with(lock);
        slot.changes = Some(self.changes);
        (slot, self.cold)
    }

    #[cold]
    fn slot_of_several(&mut self, key: &Key) -> Result<&mut SlotGuard<'k>, Unavailable> {
        let database = self.database;
        Ok(self.slots([(database, *key)].into_iter())?.of(database, key))
    }

    #[cold]
    fn slot_of_several_to_overwrite(&mut self, key: &Key) -> Result<&mut SlotGuard<'k>, Unavailable> {
        let database = self.database;
        Ok(self.slots_to_overwrite([*key].into_iter())?.of(database, key))
    }

    /// Gives the slots of several keys, each with the number of its database, as [`slot`](Self::slot) does. All keys are
    /// brought into the processor's cache together first.
    ///
    /// # Errors
    /// Like [`slot`](Self::slot).
    pub fn slots<'a>(
        &mut self,
        keys: impl Iterator<Item = (usize, Key<'a>)> + Clone,
    ) -> Result<&mut SlotGuards<'k>, Unavailable> {
        self.hold(keys.clone())?;
        let AccessSet { keyspace, cold, several, spans_commands, .. } = self;
        let slots = several.as_mut().ok_or(Unavailable::NotNamed)?;
        match slots.make_resident(keys.clone(), cold) {
            // What was changed before, by another command, cannot be done again: the thread reads for itself.
            Err(Unavailable::Cold) if *spans_commands => {
                let tier = keyspace.tier().ok_or(Unavailable::NotNamed)?;
                Loader::load_here(&tier.store, cold.get_or_insert_default());
                slots.make_resident(keys, cold)?;
            }
            result => result?,
        }
        Ok(slots)
    }

    /// Gives the slots of several keys of the command's database that are going to be overwritten, whatever they are.
    ///
    /// # Errors
    /// When one of the slots is none of the set.
    pub fn slots_to_overwrite<'a>(
        &mut self,
        keys: impl Iterator<Item = Key<'a>> + Clone,
    ) -> Result<&mut SlotGuards<'k>, Unavailable> {
        let database = self.database;
        self.hold(keys.map(|key| (database, key)))?;
        self.several.as_deref_mut().ok_or(Unavailable::NotNamed)
    }

    /// Sees to it that these keys of the set of several commands are in memory, before the first of them runs.
    ///
    /// # Errors
    /// When some have to be loaded. What cannot be read is left for the commands to come upon.
    pub fn require<'a>(&mut self, keys: impl Iterator<Item = (usize, Key<'a>)>) -> Result<(), Unavailable> {
        let slots = self.several.as_deref_mut().ok_or(Unavailable::NotNamed)?;
        match slots.make_resident(keys, self.cold) {
            Err(Unavailable::Cold) => Err(Unavailable::Cold),
            _ => Ok(()),
        }
    }

    /// Lets go of what one command holds, so that others can go on while it is at work with what it has found. What several
    /// commands hold stays.
    pub fn release(&mut self) {
        if !self.spans_commands {
            (self.one, self.several) = (None, None);
        }
    }

    /// Holds the slots of these keys, or finds them among those of several commands.
    fn hold<'a>(&mut self, keys: impl Iterator<Item = (usize, Key<'a>)> + Clone) -> Result<(), Unavailable> {
        let AccessSet { keyspace, changes, caller, database, .. } = *self;
        if let Some(slots) = self.several.as_mut().filter(|_| self.spans_commands) {
            return slots.hand_on(caller, keys);
        }
        self.release();
        if !self.is_prefetched {
            let of_client = keys.clone().filter(|(number, _)| *number == database).map(|(_, key)| key);
            keyspace.prefetch_keys(database, of_client);
        }
        self.several = Some(Box::new(keyspace.lock_all(caller, keys).report_to(changes)));
        Ok(())
    }
}

/// Sees to it that whatever there is of a key is in memory, which may be on disk alone.
fn make_resident(slot: &mut SlotGuard<'_>, key: &Key, cold: &mut Option<Box<Cold>>) -> Result<(), Unavailable> {
    match slot.make_resident(key, cold.get_or_insert_default()) {
        Residence::Here => Ok(()),
        Residence::Cold => Err(Unavailable::Cold),
        Residence::Failed(reason) => Err(Unavailable::Unreadable(reason)),
    }
}

/// Several slots, locked together. What is changed in them gets into the journal whole, when they are let go.
pub struct SlotGuards<'k> {
    /// In the order of their positions.
    guards: Vec<SlotGuard<'k>>,
    changes: Option<&'k Changes>,
    /// From before it was looked at whether a round is open until the changes are made.
    #[allow(dead_code, reason = "it is held, not read")]
    holding_rounds_back: Option<Shared<'k>>,
}

impl Drop for SlotGuards<'_> {
    fn drop(&mut self) {
        let Some(tier) = self.guards.first().and_then(|first| first.databases.tier()) else { return };
        fail::fail_point!("access_set::before_journal");
        // Before the locks go, so that nobody's later change of these slots can come before this in the journal.
        let staged = || self.guards.iter().filter_map(|guard| guard.staged.as_ref());
        if staged().any(|bytes| !bytes.is_empty()) {
            let ticket = tier.journal(|journal| staged().for_each(|bytes| journal.extend(bytes)));
            self.changes.iter().for_each(|changes| changes.note_journaled(ticket));
        }
        fail::fail_point!("access_set::after_journal");
    }
}

impl<'k> SlotGuards<'k> {
    /// Has what is changed by them reported to `changes`.
    fn report_to(mut self, changes: &'k Changes) -> Self {
        self.guards.iter_mut().for_each(|guard| guard.changes = Some(changes));
        self.changes = Some(changes);
        self
    }

    /// The guard of a key that was named when the slots were locked.
    ///
    /// # Panics
    /// Panics for another key: a handler's mistake, not reachable by a client's choice of arguments.
    #[inline]
    pub fn of(&mut self, database: usize, key: &Key) -> &mut SlotGuard<'k> {
        self.find(database, key).unwrap_or_else(|| unreachable!("the slot was not locked"))
    }

    fn find(&mut self, database: usize, key: &Key) -> Option<&mut SlotGuard<'k>> {
        let wanted = (self.guards.first()?.databases.physical(database), key.slot);
        let index = self.guards.binary_search_by_key(&wanted, |guard| guard.position()).ok()?;
        self.guards.get_mut(index)
    }

    /// Hands the slots of these keys on to the next command's caller.
    fn hand_on<'a>(
        &mut self,
        caller: Caller,
        mut keys: impl Iterator<Item = (usize, Key<'a>)>,
    ) -> Result<(), Unavailable> {
        keys.try_for_each(|(database, key)| {
            self.find(database, &key).ok_or(Unavailable::NotNamed)?.caller = caller;
            Ok(())
        })
    }

    /// Sees to it that whatever there is of these keys is in memory. What is not is noted all together, before anybody is
    /// told of what cannot be read.
    fn make_resident<'a>(
        &mut self,
        keys: impl Iterator<Item = (usize, Key<'a>)>,
        cold: &mut Option<Box<Cold>>,
    ) -> Result<(), Unavailable> {
        let mut missing = Ok(());
        for (database, key) in keys {
            let slot = self.of(database, &key);
            if slot.is_resident(&key) {
                continue;
            }
            match make_resident(slot, &key, cold) {
                Ok(()) => {}
                Err(Unavailable::Unreadable(_)) if missing == Err(Unavailable::Cold) => {}
                unavailable => missing = unavailable,
            }
        }
        missing
    }
}

impl Keyspace {
    /// Locks the slots of several keys, each slot once, in the one order that excludes deadlock.
    pub(super) fn lock_all<'a>(&self, caller: Caller, keys: impl Iterator<Item = (usize, Key<'a>)>) -> SlotGuards<'_> {
        let mut positions: SmallVec<[(u8, u16); 16]> =
            keys.map(|(database, key)| (self.physical(database), key.slot)).collect();
        positions.sort_unstable();
        positions.dedup();
        let lock = |(physical, slot)| {
            let mut guard = SlotGuard::from(self.lock_slot(caller, physical, slot));
            guard.staged = self.tier().is_some().then(Box::default);
            guard
        };
        let mut guards: Vec<_> = positions.into_iter().map(lock).collect();
        let holding_rounds_back = self.tier().map(|tier| self.merger.collect_first(tier, &mut guards));
        SlotGuards { guards, changes: None, holding_rounds_back }
    }

    /// Notes a key among those to load, if it may be on disk alone.
    pub fn request(&self, caller: Caller, database: usize, key: &Key, cold: &mut Cold) {
        SlotGuard::from(self.lock_slot(caller, self.physical(database), key.slot)).request(key, cold);
    }

    /// How much data a key in memory holds, looked at without a trace.
    pub fn present_bytes(&self, caller: Caller, database: usize, key: &Key) -> usize {
        self.lock_slot(caller, self.physical(database), key.slot).present_bytes(key)
    }
}

#[cfg(test)]
impl Keyspace {
    /// Locks the slot of a key for a test, which looks into it without a command.
    pub(super) fn lock(&self, caller: Caller, database: usize, key: &Key) -> SlotGuard<'_> {
        self.lock_slot(caller, self.physical(database), key.slot).into()
    }
}
