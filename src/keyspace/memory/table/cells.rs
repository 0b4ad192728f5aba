//! A slot's hash table: open addressing over 8-byte cells, each the address of an [`Entry`] and 20 bits of its key's
//! hash.
//!
//! The 20 bits, the *token*, say where an entry belongs: cell `token · capacity / 2²⁰`, so that the order of the cells
//! is the order of the tokens whatever the capacity. That gives SCAN a cursor that survives growth and restarts, lets
//! any capacity do (growth by a fifth, not by doubling, saves memory), and lets cells be moved without a look at the
//! entry.
//!
//! SCAN's cursor tells a client the tokens of keys, so it can pick keys whose tokens lie together, whatever the hash. What
//! they cost is therefore bounded by structure. Cells form blocks. A collision goes to the next free cell of the block,
//! from its end on to its begin; a removal shifts back what follows, so there are no tombstones. What finds its block full
//! goes to the table's [`Overflow`], and there is an entry in it only while its block is full. Hence no operation looks at
//! more cells than a block has, and a resize takes time by the cells alone. With keys that nobody picked, less than one in 300
//! is in the overflow.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use smallvec::SmallVec;

use super::super::entry::Entry;
use super::cell::{Cell, Ref, RefMut, TOKEN_BITS};
use super::overflow::{Overflow, note_probe, overflow_order};
use crate::base::prefetch::prefetch;

const MIN_CAPACITY: usize = 4;
/// Cells of a block. A table with less than [`BLOCKS_FROM`] cells is one block, since some of its blocks would be too small
/// to even out how many entries belong to each.
pub(super) const BLOCK: usize = 64;
const BLOCKS_FROM: usize = 4 * BLOCK;
/// Of the cells that are looked at for a sample, so many for each entry that is wanted; a quarter of them is used, unless
/// keys were picked.
const SAMPLE_CELLS: usize = 16;
/// How often a draw tries again when it has come upon an empty cell.
const DRAW_TRIES: usize = 64;

/// The next larger capacity. They go by the sizes that jemalloc has, four from each power of two to the next, so that no
/// byte of an allocation is wasted and few are kept for keys to come; from [`BLOCKS_FROM`] on that is whole blocks.
fn capacity_after(capacity: usize) -> usize {
    let power = capacity.checked_ilog2().map_or(0, |exponent| 1 << exponent);
    capacity + (power / 4).max(MIN_CAPACITY)
}

/// As small as that, since there are 16,384 in a database: a slice that owns its cells would have a length of 8 bytes.
pub struct Table {
    cells: NonNull<Cell>,
    pub(super) capacity: u32,
    /// Cells that are not empty.
    filled: u32,
    /// Never there without an entry.
    pub(super) overflow: Option<Box<Overflow>>,
}

// SAFETY: a table owns its cells, and these own their entries, which may move between threads.
unsafe impl Send for Table {}

impl Default for Table {
    fn default() -> Table {
        Table { cells: NonNull::dangling(), capacity: 0, filled: 0, overflow: None }
    }
}

/// Where an entry lies until the table changes: the index of its cell, or behind all cells that in the overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index(pub(super) usize);

/// How a search among the cells has ended.
enum Probe {
    Found(usize),
    Absent,
    /// The whole block is full of others: it may be in the overflow.
    Full,
}

impl Table {
    #[inline]
    pub(super) fn cells(&self) -> &[Cell] {
        // SAFETY: `replace_cells` has made `cells` and `capacity` of one boxed slice, which nobody else has.
        unsafe { std::slice::from_raw_parts(self.cells.as_ptr(), self.capacity as usize) }
    }

    #[inline]
    fn cells_mut(&mut self) -> &mut [Cell] {
        // SAFETY: as in `cells`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.cells.as_ptr(), self.capacity as usize) }
    }

    /// Gives the table so many empty cells, and returns those it had.
    fn replace_cells(&mut self, capacity: usize) -> Box<[Cell]> {
        debug_assert!(capacity < BLOCKS_FROM || capacity.is_multiple_of(BLOCK));
        assert!(capacity <= u32::MAX as usize, "a table of more than four billion cells");
        let old = NonNull::slice_from_raw_parts(self.cells, self.capacity as usize);
        let new = Box::leak(vec![Cell::EMPTY; capacity].into_boxed_slice());
        self.cells = NonNull::from(new).cast();
        self.capacity = capacity as u32;
        self.filled = 0;
        // SAFETY: it was a boxed slice of that length, or is an empty one, and has just been given up.
        unsafe { Box::from_raw(old.as_ptr()) }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.filled as usize + self.overflowing()
    }

    fn overflowing(&self) -> usize {
        self.overflow.as_ref().map_or(0, |overflow| overflow.cells.len())
    }

    /// Bytes of the cells, and of the overflow.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.cells()) + self.overflow.as_ref().map_or(0, |overflow| overflow.memory_bytes())
    }

    /// The cell where an entry of this token is looked for first. `capacity` is not 0.
    #[inline]
    pub(super) fn home(&self, token: u32) -> usize {
        ((u64::from(token) * u64::from(self.capacity)) >> TOKEN_BITS) as usize
    }

    /// The smallest token whose home is `index` or behind it.
    fn first_token(&self, index: usize) -> u32 {
        ((index as u64) << TOKEN_BITS).div_ceil(u64::from(self.capacity)) as u32
    }

    #[inline]
    pub(super) fn block(&self, index: usize) -> Range<usize> {
        let capacity = self.capacity as usize;
        if capacity < BLOCKS_FROM {
            return 0..capacity;
        }
        let start = index / BLOCK * BLOCK;
        start..start + BLOCK
    }

    /// The next cell of the same block.
    #[inline]
    fn after(&self, index: usize) -> usize {
        let block = self.block(index);
        if index + 1 == block.end { block.start } else { index + 1 }
    }

    #[inline]
    fn probe(&self, token: u32, mut wanted: impl FnMut(&Entry) -> bool) -> Probe {
        if self.filled == 0 {
            return Probe::Absent;
        }
        let home = self.home(token);
        let mut index = home;
        loop {
            let cell = self.cells()[index];
            if cell == Cell::EMPTY {
                return Probe::Absent;
            }
            if cell.token() == token && wanted(&cell.entry()) {
                return Probe::Found(index);
            }
            index = self.after(index);
            if index == home {
                return Probe::Full;
            }
        }
    }

    /// The key's entry.
    #[inline]
    pub fn find_key(&self, token: u32, key: &[u8]) -> Option<Index> {
        match self.probe(token, |entry| entry.key() == key) {
            Probe::Found(index) => Some(Index(index)),
            Probe::Absent => None,
            Probe::Full => self.in_overflow(|overflow| overflow.find_key(token, key)),
        }
    }

    /// An entry of `token` for which `wanted` holds. It looks at all entries of this token, if need be.
    pub fn find(&self, token: u32, mut wanted: impl FnMut(&Entry) -> bool) -> Option<Index> {
        match self.probe(token, &mut wanted) {
            Probe::Found(index) => Some(Index(index)),
            Probe::Absent => None,
            Probe::Full => self.in_overflow(|overflow| overflow.find(token, wanted)),
        }
    }

    #[cold]
    fn in_overflow(&self, find: impl FnOnce(&Overflow) -> Option<usize>) -> Option<Index> {
        let number = find(self.overflow.as_ref()?)?;
        Some(Index(self.capacity as usize + number))
    }

    /// Hints that a lookup of this token is near.
    #[inline]
    pub fn prefetch_cells(&self, token: u32) {
        if self.filled > 0 {
            prefetch(&self.cells()[self.home(token)]);
        }
    }

    /// Hints that the entry of this token is going to be used; its cells should be in the cache already.
    #[inline]
    pub fn prefetch_entry(&self, token: u32) {
        // That it is of the same key need not be sure, and looking would cost what this is to save.
        if let Probe::Found(index) = self.probe(token, |_| true) {
            let address = self.cells()[index].address() as *const u8;
            // A small entry begins on one line and ends on the next.
            prefetch(address);
            prefetch(address.wrapping_add(64));
        }
    }

    #[inline]
    pub(super) fn cell(&self, index: Index) -> Cell {
        match self.cells().get(index.0) {
            Some(cell) => *cell,
            None => self.overflow_cell(index),
        }
    }

    #[cold]
    fn overflow_cell(&self, index: Index) -> Cell {
        self.overflow.as_ref().map_or(Cell::EMPTY, |overflow| overflow.cells[index.0 - self.capacity as usize])
    }

    #[inline]
    pub fn get(&self, index: Index) -> Ref<'_> {
        Ref::new(self.cell(index))
    }

    #[inline]
    fn cell_mut(&mut self, index: Index) -> &mut Cell {
        let capacity = self.capacity as usize;
        if index.0 < capacity {
            return &mut self.cells_mut()[index.0];
        }
        match &mut self.overflow {
            Some(overflow) => &mut overflow.cells[index.0 - capacity],
            None => unreachable!("an index of another table"),
        }
    }

    #[inline]
    pub fn get_mut(&mut self, index: Index) -> RefMut<'_> {
        RefMut::new(self.cell_mut(index))
    }

    /// Adds an entry whose key is not in the table.
    pub fn insert(&mut self, token: u32, entry: Entry) -> Index {
        // Probing stays short up to a load of 13/16. What found no cell does not count: keys that lie together would not
        // find one in a larger table either.
        if (self.filled as usize + 1) * 16 > self.capacity as usize * 13 {
            self.resize(capacity_after(self.capacity as usize));
        }
        self.add(Cell::new(token, entry))
    }

    /// Puts an entry of the same key in the place of another.
    pub fn replace(&mut self, index: Index, entry: Entry) -> Entry {
        let cell = self.cell_mut(index);
        let old = std::mem::replace(cell, Cell::new(cell.token(), entry));
        ManuallyDrop::into_inner(old.entry())
    }

    pub fn remove(&mut self, index: Index) -> Entry {
        let removed = self.remove_cell(index);
        self.shrink();
        ManuallyDrop::into_inner(removed.entry())
    }

    /// Removes all entries for which `wanted` holds, and returns how many they were.
    pub fn remove_where(&mut self, wanted: impl Fn(&Entry) -> bool) -> usize {
        let before = self.len();
        let capacity = self.capacity as usize;
        // From behind, since the last one takes the number of the one that goes.
        for number in (0..self.overflowing()).rev() {
            if wanted(&self.get(Index(capacity + number))) {
                drop(ManuallyDrop::into_inner(self.remove_cell(Index(capacity + number)).entry()));
            }
        }
        let mut start = 0;
        while start < capacity {
            let block = self.block(start);
            let found = |table: &Table| {
                let is_wanted =
                    |index: &usize| table.cells()[*index] != Cell::EMPTY && wanted(&table.get(Index(*index)));
                block.clone().find(is_wanted)
            };
            while let Some(index) = found(self) {
                drop(ManuallyDrop::into_inner(self.remove_cell(Index(index)).entry()));
            }
            start = block.end;
        }
        self.shrink();
        before - self.len()
    }

    fn remove_cell(&mut self, index: Index) -> Cell {
        if let Some(number) = index.0.checked_sub(self.capacity as usize) {
            return self.remove_overflowing(number);
        }
        let removed = std::mem::replace(&mut self.cells_mut()[index.0], Cell::EMPTY);
        self.filled -= 1;
        self.close_gap(index.0);
        if self.overflow.is_some() {
            self.fill_gap(index.0);
        }
        removed
    }

    /// Moves entries to an empty cell that belong before or to it, and then to the one that this has emptied.
    fn close_gap(&mut self, gap: usize) {
        let (mut gap, mut next) = (gap, self.after(gap));
        while self.cells()[next] != Cell::EMPTY {
            let home = self.home(self.cells()[next].token());
            let belongs_behind_gap = if gap < next { gap < home && home <= next } else { gap < home || home <= next };
            if !belongs_behind_gap {
                let cells = self.cells_mut();
                cells[gap] = std::mem::replace(&mut cells[next], Cell::EMPTY);
                gap = next;
            }
            next = self.after(next);
        }
    }

    /// Gives a free cell of the block of `index` to an entry of the overflow that belongs to that block. Returns whether there
    /// was one.
    #[cold]
    fn fill_gap(&mut self, index: usize) -> bool {
        let block = self.block(index);
        let (first, end) = (self.first_token(block.start), self.first_token(block.end));
        let waiting = self.overflow.as_ref().and_then(|overflow| overflow.range(first, end).next());
        let Some(&(_, number)) = waiting else { return false };
        let cell = self.remove_overflowing(number);
        self.add(cell);
        true
    }

    fn remove_overflowing(&mut self, number: usize) -> Cell {
        let Some(overflow) = &mut self.overflow else { unreachable!("an index of another table") };
        let removed = overflow.remove(number);
        if overflow.cells.is_empty() {
            self.overflow = None;
        }
        removed
    }

    fn shrink(&mut self) {
        let mut capacity = self.capacity as usize;
        while capacity > MIN_CAPACITY && (self.filled as usize) * 4 < capacity {
            capacity = (capacity / 2).next_multiple_of(4).max(MIN_CAPACITY);
        }
        if capacity < self.capacity as usize {
            self.resize(capacity);
        }
    }

    /// Takes a cell in, where its token has it.
    fn add(&mut self, cell: Cell) -> Index {
        let home = self.home(cell.token());
        let (mut index, mut looked_at) = (home, 1);
        while self.cells()[index] != Cell::EMPTY {
            index = self.after(index);
            if index == home {
                return self.add_overflowing(cell);
            }
            looked_at += 1;
        }
        note_probe(looked_at);
        self.cells_mut()[index] = cell;
        self.filled += 1;
        Index(index)
    }

    #[cold]
    fn add_overflowing(&mut self, cell: Cell) -> Index {
        note_probe(self.block(self.home(cell.token())).len());
        let order = overflow_order(cell.token(), cell.entry().key());
        let number = self.overflow.get_or_insert_default().add(order, cell);
        Index(self.capacity as usize + number)
    }

    /// It looks at each cell, but at no more of the overflow than what moves to one: else few keys that come and go again
    /// would cost as much as all that lie there.
    fn resize(&mut self, capacity: usize) {
        for cell in self.replace_cells(capacity).iter().filter(|cell| **cell != Cell::EMPTY) {
            self.add(*cell);
        }
        let mut start = 0;
        while self.overflow.is_some() && start < capacity {
            let block = self.block(start);
            let free = self.cells()[block.clone()].iter().filter(|cell| **cell == Cell::EMPTY).count();
            // One after the other, until no more of them belongs there.
            let _ = (0..free).all(|_| self.fill_gap(start));
            start = block.end;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Ref<'_>> {
        self.indexes().map(|index| self.get(index))
    }

    /// Every entry's index.
    pub fn indexes(&self) -> impl Iterator<Item = Index> + '_ {
        (0..self.capacity as usize + self.overflowing()).map(Index).filter(|index| self.cell(*index) != Cell::EMPTY)
    }

    /// The indexes of all entries of one token.
    pub fn indexes_of(&self, token: u32) -> SmallVec<[Index; 2]> {
        let mut indexes = SmallVec::new();
        if self.filled == 0 {
            return indexes;
        }
        let home = self.home(token);
        let mut index = home;
        while self.cells()[index] != Cell::EMPTY {
            if self.cells()[index].token() == token {
                indexes.push(Index(index));
            }
            index = self.after(index);
            if index == home {
                let overflow = self.overflow.iter().flat_map(|overflow| overflow.range(token, token + 1));
                indexes.extend(overflow.map(|(_, number)| Index(self.capacity as usize + *number)));
                break;
            }
        }
        indexes
    }

    /// Every entry with its token.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, Ref<'_>)> {
        self.indexes().map(|index| (self.token_of(index), self.get(index)))
    }

    /// The token of the entry at `index`.
    pub fn token_of(&self, index: Index) -> u32 {
        self.cell(index).token()
    }

    /// Up to `count` entries side by side, with their tokens, from a cell drawn by chance on. There may be fewer where most
    /// cells are empty.
    pub fn sample(&self, random: u64, count: usize) -> impl Iterator<Item = (u32, Ref<'_>)> {
        let indexes = self.capacity as usize + self.overflowing();
        let first = random.checked_rem(indexes as u64).unwrap_or(0) as usize;
        let looked_at = (first..indexes).chain(0..first).take(SAMPLE_CELLS * count);
        let cells = looked_at.map(|index| self.cell(Index(index))).filter(|cell| *cell != Cell::EMPTY).take(count);
        // All are fetched before the first is looked at: they lie anywhere in memory.
        let cells: SmallVec<[Cell; 16]> = cells.inspect(|cell| prefetch(cell.address() as *const u8)).collect();
        cells.into_iter().map(|cell| (cell.token(), Ref::new(cell)))
    }

    /// An entry drawn by chance, each with the same; seldom `None` although there are some.
    pub fn draw(&self, random: impl Fn() -> u64) -> Option<Index> {
        let indexes = self.capacity as u64 + self.overflowing() as u64;
        let draw = || Some(Index(random().checked_rem(indexes)? as usize));
        (0..DRAW_TRIES).find_map(|_| draw().filter(|index| self.cell(*index) != Cell::EMPTY))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let overflow = self.overflow.take();
        let cells = self.replace_cells(0);
        let overflowing = overflow.iter().flat_map(|overflow| &overflow.cells);
        for cell in cells.iter().chain(overflowing).filter(|cell| **cell != Cell::EMPTY) {
            drop(ManuallyDrop::into_inner(cell.entry()));
        }
    }
}

#[cfg(test)]
mod tests;
