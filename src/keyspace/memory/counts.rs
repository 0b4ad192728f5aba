//! What databases and slots hold: keys and bytes, counted as they change.

use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_utils::CachePadded;

const PARTS: usize = 16;

/// What a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys, those included whose expiry has passed and that nobody has noticed.
    pub keys: u64,
    /// Keys that have an expiry.
    pub expiring: u64,
    /// The lengths of all keys together.
    pub key_bytes: u64,
    /// What all values hold together: for a string, its length.
    pub value_bytes: u64,
}

/// The same of a slot, of which there are many: in fewer bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSize {
    keys: u32,
    expiring: u32,
    key_bytes: u64,
    value_bytes: u64,
}

/// A change of a [`Size`].
#[derive(Clone, Copy, Debug, Default)]
pub struct SizeChange {
    pub keys: i64,
    pub expiring: i64,
    pub key_bytes: i64,
    pub value_bytes: i64,
}

impl SlotSize {
    pub fn keys(self) -> u64 {
        u64::from(self.keys)
    }

    /// Applies a change.
    #[inline]
    pub fn add(&mut self, change: SizeChange) {
        let mut size = Size::from(*self);
        size.add(change);
        *self = size.into();
    }
}

/// A slot's index has 32 bits for as many keys.
impl From<Size> for SlotSize {
    fn from(size: Size) -> SlotSize {
        let Size { keys, expiring, key_bytes, value_bytes } = size;
        SlotSize { keys: keys as u32, expiring: expiring as u32, key_bytes, value_bytes }
    }
}

impl From<SlotSize> for Size {
    fn from(size: SlotSize) -> Size {
        let SlotSize { keys, expiring, key_bytes, value_bytes } = size;
        Size { keys: u64::from(keys), expiring: u64::from(expiring), key_bytes, value_bytes }
    }
}

impl Size {
    /// Takes a change over.
    #[inline]
    pub fn add(&mut self, change: SizeChange) {
        self.keys = self.keys.wrapping_add_signed(change.keys);
        self.expiring = self.expiring.wrapping_add_signed(change.expiring);
        self.key_bytes = self.key_bytes.wrapping_add_signed(change.key_bytes);
        self.value_bytes = self.value_bytes.wrapping_add_signed(change.value_bytes);
    }

    /// The change from nothing to this.
    pub fn as_change(self) -> SizeChange {
        SizeChange {
            keys: self.keys as i64,
            expiring: self.expiring as i64,
            key_bytes: self.key_bytes as i64,
            value_bytes: self.value_bytes as i64,
        }
    }
}

#[derive(Default)]
struct Part {
    keys: AtomicI64,
    expiring: AtomicI64,
    key_bytes: AtomicI64,
    value_bytes: AtomicI64,
    dirty_keys: AtomicI64,
    dirty_bytes: AtomicI64,
    cold_keys: AtomicI64,
}

/// The size of a database, which many threads change, spread by slot: what one change touches lies in one cache line.
#[derive(Default)]
pub struct Counts([CachePadded<Part>; PARTS]);

impl Counts {
    fn part(&self, slot: u16) -> &Part {
        &self.0[usize::from(slot) % PARTS]
    }

    #[inline]
    pub fn add(&self, slot: u16, change: SizeChange) {
        let part = self.part(slot);
        if change.keys != 0 {
            part.keys.fetch_add(change.keys, Ordering::Relaxed);
            part.key_bytes.fetch_add(change.key_bytes, Ordering::Relaxed);
        }
        if change.value_bytes != 0 {
            part.value_bytes.fetch_add(change.value_bytes, Ordering::Relaxed);
        }
        if change.expiring != 0 {
            part.expiring.fetch_add(change.expiring, Ordering::Relaxed);
        }
    }

    /// Counts entries that began, or ceased, to differ from the disk.
    #[inline]
    pub fn add_dirty(&self, slot: u16, keys: i64, bytes: i64) {
        let part = self.part(slot);
        part.dirty_keys.fetch_add(keys, Ordering::Relaxed);
        part.dirty_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts keys that left memory, or came back to it.
    #[inline]
    pub fn add_cold(&self, slot: u16, keys: i64) {
        self.part(slot).cold_keys.fetch_add(keys, Ordering::Relaxed);
    }

    /// Keys that are on disk alone.
    pub fn cold_keys(&self) -> u64 {
        self.sum(|part| &part.cold_keys)
    }

    /// Entries that differ from the disk, and about how many bytes they take.
    pub fn dirty(&self) -> (u64, u64) {
        (self.sum(|part| &part.dirty_keys), self.dirty_bytes())
    }

    #[inline]
    pub fn dirty_bytes(&self) -> u64 {
        self.sum(|part| &part.dirty_bytes)
    }

    #[inline]
    fn sum(&self, counter: impl Fn(&Part) -> &AtomicI64) -> u64 {
        self.0.iter().map(|part| counter(part).load(Ordering::Relaxed)).sum::<i64>().max(0) as u64
    }

    pub fn size(&self) -> Size {
        Size {
            keys: self.sum(|part| &part.keys),
            expiring: self.sum(|part| &part.expiring),
            key_bytes: self.sum(|part| &part.key_bytes),
            value_bytes: self.sum(|part| &part.value_bytes),
        }
    }

    /// The keys of each part: part `n` counts the slots whose number is `n` modulo the number of parts.
    pub fn keys_by_part(&self) -> [usize; PARTS] {
        std::array::from_fn(|part| self.0[part].keys.load(Ordering::Relaxed).max(0) as usize)
    }

    /// Sets all counts to 0, for a database that is empty and stays so during the call.
    pub fn clear(&self) {
        for part in &self.0 {
            for counter in [&part.keys, &part.expiring, &part.key_bytes, &part.value_bytes, &part.cold_keys] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }
}
