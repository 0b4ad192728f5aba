//! Where entries are that found no cell.

use std::collections::{BTreeSet, btree_set};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::super::entry::Entry;
use super::cell::{ADDRESS_BITS, Cell, TOKEN_BITS};

/// The most cells that an insertion has looked at since the start, in any table.
static LONGEST_PROBE: AtomicUsize = AtomicUsize::new(0);
/// Entries of all tables that are in their overflow.
static OVERFLOWING: AtomicU64 = AtomicU64::new(0);

/// How far the tables of this process are from what a table should be: the most cells that an insertion has looked at since
/// the start, and the number of entries that found no cell.
pub fn strain() -> (usize, u64) {
    (LONGEST_PROBE.load(Ordering::Relaxed), OVERFLOWING.load(Ordering::Relaxed))
}

/// Entries that found the cells of their block taken.
///
/// They are in the order of token and a second hash of the key, of which nobody learns anything: so an entry is found in
/// logarithmic time even where all tokens are the same, and SCAN meets entries in the order of their tokens.
#[derive(Default)]
pub(super) struct Overflow {
    /// In no order and without gaps.
    pub cells: Vec<Cell>,
    /// Of each of them the order and the index in `cells`.
    pub order: BTreeSet<(u64, usize)>,
}

/// The token, then the upper bits of the second hash.
pub(super) fn overflow_order(token: u32, key: &[u8]) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    first_order(token) | HASHER.hash_one(key) >> TOKEN_BITS
}

/// The smallest of a token.
fn first_order(token: u32) -> u64 {
    u64::from(token) << ADDRESS_BITS
}

impl Overflow {
    /// Of tokens from `first` up to, but not including, `end`.
    pub fn range(&self, first: u32, end: u32) -> btree_set::Range<'_, (u64, usize)> {
        match end >> TOKEN_BITS {
            0 => self.order.range((first_order(first), 0)..(first_order(end), 0)),
            _ => self.range_from(first),
        }
    }

    pub fn range_from(&self, first: u32) -> btree_set::Range<'_, (u64, usize)> {
        self.order.range((first_order(first), 0)..)
    }

    pub fn find_key(&self, token: u32, key: &[u8]) -> Option<usize> {
        let order = overflow_order(token, key);
        let mut same = self.order.range((order, 0)..=(order, usize::MAX)).map(|(_, number)| *number);
        same.find(|number| self.cells[*number].entry().key() == key)
    }

    pub fn find(&self, token: u32, mut wanted: impl FnMut(&Entry) -> bool) -> Option<usize> {
        let mut same = self.range(token, token + 1).map(|(_, number)| *number);
        same.find(|number| wanted(&self.cells[*number].entry()))
    }

    pub fn add(&mut self, order: u64, cell: Cell) -> usize {
        let number = self.cells.len();
        self.cells.push(cell);
        self.order.insert((order, number));
        OVERFLOWING.fetch_add(1, Ordering::Relaxed);
        number
    }

    pub fn remove(&mut self, number: usize) -> Cell {
        let order = |cell: &Cell| overflow_order(cell.token(), cell.entry().key());
        let removed = self.cells.swap_remove(number);
        self.order.remove(&(order(&removed), number));
        // The last one has its number now.
        if let Some(moved) = self.cells.get(number) {
            let order = order(moved);
            self.order.remove(&(order, self.cells.len()));
            self.order.insert((order, number));
        }
        if self.cells.len() < self.cells.capacity() / 4 {
            self.cells.shrink_to(self.cells.len() * 2);
        }
        OVERFLOWING.fetch_sub(1, Ordering::Relaxed);
        removed
    }

    /// Bytes of it, what the tree's nodes keep free apart.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Overflow>() + self.cells.capacity() * size_of::<Cell>() + self.order.len() * size_of::<(u64, usize)>()
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        OVERFLOWING.fetch_sub(self.cells.len() as u64, Ordering::Relaxed);
    }
}

/// Notes how many cells an insertion has looked at.
#[inline]
pub(super) fn note_probe(looked_at: usize) {
    if looked_at > LONGEST_PROBE.load(Ordering::Relaxed) {
        LONGEST_PROBE.fetch_max(looked_at, Ordering::Relaxed);
    }
}
