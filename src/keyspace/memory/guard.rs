//! The one door to a key: what commands do with a locked slot, and all that happens on the way through it.

use std::ops::{Deref, DerefMut};

use super::super::watch::effect::Effect;
use super::super::watch::event::Event;
use super::counts::SizeChange;
use super::entry::{Content, Owned};
use super::key::Key;
use super::locked::LockedSlot;
use super::table::token;
use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::types::{Change, Encoded};

/// A key's cell in its slot's table, and its record among the slot's deadlines.
const CELL_BYTES: usize = 8;
const DEADLINE_BYTES: usize = 8;

/// What becomes of a key's expiry when its value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExpiry {
    /// It goes (or becomes `default-ttl`, if that is set).
    Clear,
    /// It stays as it is (KEEPTTL); a key that did not exist is treated as by `Clear`.
    Keep,
    /// Unix milliseconds.
    At(u64),
    /// It goes, whatever `default-ttl` says.
    Never,
}

/// A slot as commands see it.
pub struct SlotGuard<'k>(LockedSlot<'k>);

impl<'k> Deref for SlotGuard<'k> {
    type Target = LockedSlot<'k>;
    #[inline]
    fn deref(&self) -> &LockedSlot<'k> {
        &self.0
    }
}

impl<'k> DerefMut for SlotGuard<'k> {
    #[inline]
    fn deref_mut(&mut self) -> &mut LockedSlot<'k> {
        &mut self.0
    }
}

impl<'k> From<LockedSlot<'k>> for SlotGuard<'k> {
    #[inline]
    fn from(slot: LockedSlot<'k>) -> Self {
        SlotGuard(slot)
    }
}

impl SlotGuard<'_> {
    /// Makes the key the string `value`, of any length, whatever it was.
    #[inline]
    pub fn set(&mut self, key: &Key, value: BytesRef<'_>, expiry: NewExpiry) {
        self.set_as(key, value, expiry, Event::Set);
    }

    /// The same by a command whose event has another name than `set`.
    #[inline]
    pub fn set_as(&mut self, key: &Key, value: BytesRef<'_>, expiry: NewExpiry, event: Event) {
        match value {
            BytesRef::Slice(bytes) if bytes.len() < LARGE_BYTES => self.set_string_as(key, bytes, expiry, event),
            value => self.put(key, Owned::string(value), expiry, event),
        }
    }

    /// Makes the key the string `bytes`, which is not large, whatever it was.
    #[inline]
    pub fn set_string(&mut self, key: &Key, bytes: &[u8], expiry: NewExpiry) {
        self.set_string_as(key, bytes, expiry, Event::Set);
    }

    /// The same by a command whose event has another name than `set`.
    #[inline]
    pub fn set_string_as(&mut self, key: &Key, bytes: &[u8], expiry: NewExpiry, event: Event) {
        let expiry_ms = match self.find(key) {
            Some(index) => {
                self.mark_dirty(index, key.hash);
                let old_ms = self.slot.table.get(index).expiry_ms();
                let new_ms = self.resolve(expiry, Some(old_ms));
                let mut entry = self.slot.table.get_mut(index);
                let old_bytes = entry.data_bytes();
                entry.set_inline(bytes, new_ms);
                drop(entry);
                self.resized(old_bytes, bytes.len());
                self.touch(index);
                self.expiry_changed(token(key.hash), old_ms, new_ms);
                new_ms
            }
            None => {
                let new_ms = self.resolve(expiry, None);
                self.insert(key, Content::Inline(bytes), new_ms);
                new_ms
            }
        };
        self.changed(key.bytes, Effect::set_string(bytes, expiry_ms), event);
    }

    /// Makes the key hold `value`, whatever it was; `event` tells what that is called.
    pub fn put(&mut self, key: &Key, value: Owned, expiry: NewExpiry, event: Event) {
        let value = match value {
            Owned::Inline(bytes) => return self.set_string_as(key, &bytes, expiry, event),
            Owned::Boxed(value) => value,
        };
        let old = self.find(key).map(|index| self.delete(index, key.hash).expiry_ms());
        let new_ms = self.resolve(expiry, old);
        // Written down before it is given away.
        self.changed(key.bytes, Effect::Put { value: Encoded::from(&*value), expiry_ms: new_ms }, event);
        self.insert(key, Content::Boxed(value), new_ms);
    }

    /// Changes the value of an existing key in place; `event` tells what that is called. Returns whether the key exists.
    pub fn modify(&mut self, key: &Key, change: Change<'_>, event: Event) -> bool {
        let Some(index) = self.find(key) else { return false };
        self.mark_dirty(index, key.hash);
        self.touch(index);
        let mut entry = self.slot.table.get_mut(index);
        let old_bytes = entry.data_bytes();
        change.apply(entry.make_boxed());
        let new_bytes = entry.data_bytes();
        drop(entry);
        self.resized(old_bytes, new_bytes);
        self.changed(key.bytes, Effect::Modify(change), event);
        true
    }

    /// Gives an existing key another expiry, or none. Returns whether the key exists.
    pub fn set_expiry(&mut self, key: &Key, expiry_ms: Option<u64>) -> bool {
        let Some(index) = self.find(key) else { return false };
        self.mark_dirty(index, key.hash);
        let old_ms = self.slot.table.get(index).expiry_ms();
        self.slot.table.get_mut(index).set_expiry(expiry_ms);
        self.expiry_changed(token(key.hash), old_ms, expiry_ms);
        let event = if expiry_ms.is_some() { Event::Expire } else { Event::Persist };
        self.changed(key.bytes, Effect::Expire(expiry_ms), event);
        true
    }

    /// Deletes a key. Returns whether it existed.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(index) = self.find(key) else { return false };
        drop(self.delete(index, key.hash));
        self.changed(key.bytes, Effect::Delete, Event::Del);
        true
    }

    /// Deletes a key, for the reason that `event` tells, and returns its value and expiry.
    pub fn take(&mut self, key: &Key, event: Event) -> Option<(Owned, Option<u64>)> {
        let index = self.find(key)?;
        let mut entry = self.delete(index, key.hash);
        self.changed(key.bytes, Effect::Delete, event);
        Some((entry.take_content(), entry.expiry_ms()))
    }

    /// The expiry that a key gets; `old` is the one it has, if the key exists.
    fn resolve(&self, expiry: NewExpiry, old: Option<Option<u64>>) -> Option<u64> {
        match (expiry, old) {
            (NewExpiry::At(expiry_ms), _) => Some(expiry_ms),
            (NewExpiry::Never, _) => None,
            (NewExpiry::Keep, Some(old_ms)) => old_ms,
            (NewExpiry::Clear, _) | (NewExpiry::Keep, None) => {
                let default_ttl_s = self.databases.settings.default_ttl.get();
                (default_ttl_s > 0).then(|| self.caller.now_ms.saturating_add(default_ttl_s as u64 * 1000))
            }
        }
    }

    /// Adds a key that does not exist.
    fn insert(&mut self, key: &Key, content: Content<'_>, expiry_ms: Option<u64>) {
        let mut entry = self.fresh(key, content, expiry_ms);
        self.count(&entry, 1);
        if self.databases.tier().is_some() {
            self.insert_new(key, &mut entry);
        }
        // The entry of a deleted key gives way to the new one.
        let deleted = if self.slot.differences.deleted > 0 { self.entry(key) } else { None };
        match deleted {
            Some(index) => {
                self.slot.differences.deleted -= 1;
                drop(self.slot.table.replace(index, entry));
            }
            None => self.add_entry(token(key.hash), entry),
        }
        self.expiry_changed(token(key.hash), None, expiry_ms);
    }

    /// Counts that a value's data changed its size.
    #[inline]
    fn resized(&mut self, old_bytes: usize, new_bytes: usize) {
        if old_bytes != new_bytes {
            self.add(SizeChange { value_bytes: new_bytes as i64 - old_bytes as i64, ..SizeChange::default() });
            self.grew(old_bytes, new_bytes);
        }
    }

    /// Bytes that a key takes: its entry with all the value holds, its cell, its deadline. `None`: there is no such
    /// key. It does not count as a use of it.
    pub fn memory_bytes(&mut self, key: &Key) -> Option<usize> {
        self.peek(key).map(|entry| {
            entry.memory_bytes() + CELL_BYTES + if entry.expiry_ms().is_some() { DEADLINE_BYTES } else { 0 }
        })
    }
}
