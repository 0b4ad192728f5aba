//! What a slot is made of: its table, and what is known of it besides.

use thin_vec::ThinVec;

use super::counts::SlotSize;
use super::expiry::ExpiryQueue;
use super::table::Table;
use crate::base::prefetch::prefetch;

/// In this order, so that the lock, the table, whether there is anything cold, which every command asks for, and what every change
/// needs lie on one line of the cache, and what a write to disk needs besides on the next: with a million keys each line is a
/// miss.
#[derive(Default)]
#[repr(C)]
pub struct Slot {
    pub table: Table,
    /// Counts the changes to the slot's keys. It is on disk beside them, so that a change is replayed exactly once.
    pub sequence: u64,
    /// Records on disk of keys that have no entry, and of those that were set without a look.
    pub cold: u32,
    /// Whether anybody is to be told of changes.
    pub is_watched: bool,
    /// How memory and disk differ; unused without a disk.
    pub differences: Differences,
    /// Live keys, in memory or only on disk, and what they hold.
    pub size: SlotSize,
    pub expiries: ExpiryQueue,
}

/// The lock is a byte, in front of the slot.
const _: () = assert!(
    size_of::<u64>() + std::mem::offset_of!(Slot, differences) + std::mem::offset_of!(Differences, deleted) + 4 <= 64
);

impl Slot {
    /// Bytes of the table's cells, and of the deadlines.
    pub fn overhead_bytes(&self) -> (usize, usize) {
        (self.table.memory_bytes(), self.expiries.memory_bytes())
    }
}

/// How a slot's entries in memory differ from its records on disk. In this order: see [`Slot`].
#[derive(Default)]
#[repr(C)]
pub struct Differences {
    /// Entries that stand for deleted keys.
    pub deleted: u32,
    /// The last round that took what differed here.
    pub round: u32,
    /// The tokens of dirty entries, each once.
    pub dirty: ThinVec<u32>,
    /// About what the dirty entries take, in bytes.
    pub dirty_bytes: usize,
    /// How many entries have left memory while there may have been a record.
    pub departures: u32,
    /// Walks that read the slot's records at the moment: no entry leaves memory meanwhile.
    pub pins: u16,
    /// There may be records of the slot on disk: since the last flush a round has taken it, or it had some at the start.
    pub may_be_stored: bool,
    /// Entries of a round that has been written should have left meanwhile.
    pub commit_waits: bool,
    /// The slot's sequence number when it was flushed last: the disk knows it.
    pub flushed_at: u64,
    /// Expiries that dirty entries have on disk, by the hash of the key: the index of expiries must lose them.
    pub stored_expiries: ThinVec<(u64, u64)>,
}

impl Differences {
    /// Prefetches where the next dirty entry is noted.
    #[inline]
    pub fn prefetch(&self) {
        // Its length and capacity are in front of it, in 16 bytes.
        prefetch(self.dirty.as_ptr().wrapping_sub(4));
    }
}
