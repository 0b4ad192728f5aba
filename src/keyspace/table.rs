//! A slot's hash table: open addressing over 8-byte cells, each the address of an [`Entry`] and 20 bits of its key's
//! hash.
//!
//! The 20 bits, the *place*, say where an entry belongs: cell `place · capacity / 2²⁰`, so that the order of the cells
//! is the order of the places whatever the capacity. That gives SCAN a cursor that survives growth and restarts, lets
//! any capacity do (growth by a fifth, not by doubling, saves memory), and lets cells be moved without a look at the
//! entry. Collisions go to the next free cell; a removal shifts back what follows, so there are no tombstones.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use smallvec::SmallVec;

use super::entry::Entry;
use crate::base::prefetch::prefetch;

/// Bits of the hash that a cell keeps; also SCAN's resolution within a slot.
pub const PLACE_BITS: u32 = 20;
const ADDRESS_BITS: u32 = 64 - PLACE_BITS;
const MIN_CAPACITY: usize = 4;

/// The place of a key with this hash: its top bits.
#[inline]
pub fn place(hash: u64) -> u32 {
    (hash >> ADDRESS_BITS) as u32
}

/// 0 is an empty cell; otherwise the place, then the address without its 4 low zero bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Cell(u64);

impl Cell {
    const EMPTY: Cell = Cell(0);

    fn new(place: u32, entry: Entry) -> Cell {
        let address = entry.into_address() as u64 >> 4;
        // User space ends at 2^47 on x86-64 and 2^48 on AArch64 unless a program asks for more.
        assert!(address < 1 << ADDRESS_BITS, "an address of more than 48 bits");
        Cell(u64::from(place) << ADDRESS_BITS | address)
    }

    #[inline]
    fn place(self) -> u32 {
        (self.0 >> ADDRESS_BITS) as u32
    }

    #[inline]
    fn address(self) -> usize {
        (self.0 << PLACE_BITS >> PLACE_BITS << 4) as usize
    }

    /// A second handle on the entry, which must not be dropped, or must replace the cell's.
    #[inline]
    fn entry(self) -> ManuallyDrop<Entry> {
        debug_assert!(self != Cell::EMPTY);
        let address = self.address();
        // SAFETY: cells other than EMPTY are made by `new` alone, from an address that was given up there; the table
        // hands out one handle at a time, by its borrow rules (`Ref`, `RefMut`) or by emptying the cell.
        ManuallyDrop::new(unsafe { Entry::from_address(address) })
    }
}

/// An entry that stays where it is.
pub struct Ref<'a> {
    entry: ManuallyDrop<Entry>,
    _table: std::marker::PhantomData<&'a Table>,
}

impl Deref for Ref<'_> {
    type Target = Entry;
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// An entry that may change, and move with it: the cell follows when this is dropped.
pub struct RefMut<'a> {
    entry: ManuallyDrop<Entry>,
    cell: &'a mut Cell,
}

impl Deref for RefMut<'_> {
    type Target = Entry;
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl DerefMut for RefMut<'_> {
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Drop for RefMut<'_> {
    fn drop(&mut self) {
        // SAFETY: `entry` is not used after this; the cell takes it over.
        *self.cell = Cell::new(self.cell.place(), unsafe { ManuallyDrop::take(&mut self.entry) });
    }
}

/// The next larger capacity. They go by the sizes that jemalloc has, four from each power of two to the next, so that no
/// byte of an allocation is wasted and few are kept for keys to come.
fn capacity_after(capacity: usize) -> usize {
    let power = capacity.checked_ilog2().map_or(0, |exponent| 1 << exponent);
    capacity + (power / 4).max(MIN_CAPACITY)
}

#[derive(Default)]
pub struct Table {
    cells: Box<[Cell]>,
    len: usize,
}

/// Where an entry lies until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index(usize);

impl Table {
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the cells.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.cells)
    }

    /// The cell where an entry of this place is looked for first. `capacity` is not 0.
    #[inline]
    fn home(&self, place: u32) -> usize {
        ((u64::from(place) * self.cells.len() as u64) >> PLACE_BITS) as usize
    }

    #[inline]
    fn after(&self, index: usize) -> usize {
        if index + 1 == self.cells.len() { 0 } else { index + 1 }
    }

    /// The first entry of `place` for which `wanted` holds.
    #[inline]
    pub fn find(&self, place: u32, mut wanted: impl FnMut(&Entry) -> bool) -> Option<Index> {
        if self.len == 0 {
            return None;
        }
        let mut index = self.home(place);
        loop {
            let cell = self.cells[index];
            if cell == Cell::EMPTY {
                return None;
            }
            if cell.place() == place && wanted(&cell.entry()) {
                return Some(Index(index));
            }
            index = self.after(index);
        }
    }

    /// Hints that a lookup of this place is near.
    #[inline]
    pub fn prefetch_cells(&self, place: u32) {
        if self.len > 0 {
            prefetch(&self.cells[self.home(place)]);
        }
    }

    /// Hints that the entry of this place is going to be used; its cells should be in the cache already.
    #[inline]
    pub fn prefetch_entry(&self, place: u32) {
        if self.len == 0 {
            return;
        }
        let mut index = self.home(place);
        while self.cells[index] != Cell::EMPTY {
            if self.cells[index].place() == place {
                let address = self.cells[index].address() as *const u8;
                // A small entry begins on one line and ends on the next.
                prefetch(address);
                prefetch(address.wrapping_add(64));
                return;
            }
            index = self.after(index);
        }
    }

    #[inline]
    pub fn get(&self, index: Index) -> Ref<'_> {
        Ref { entry: self.cells[index.0].entry(), _table: std::marker::PhantomData }
    }

    #[inline]
    pub fn get_mut(&mut self, index: Index) -> RefMut<'_> {
        let cell = &mut self.cells[index.0];
        RefMut { entry: cell.entry(), cell }
    }

    /// Adds an entry whose key is not in the table.
    pub fn insert(&mut self, place: u32, entry: Entry) -> Index {
        // Linear probing stays short up to a load of 13/16.
        if (self.len + 1) * 16 > self.cells.len() * 13 {
            self.resize(capacity_after(self.cells.len()));
        }
        self.len += 1;
        self.place_cell(Cell::new(place, entry))
    }

    /// Puts an entry of the same key in the place of another.
    pub fn replace(&mut self, index: Index, entry: Entry) -> Entry {
        let cell = &mut self.cells[index.0];
        let old = std::mem::replace(cell, Cell::new(cell.place(), entry));
        ManuallyDrop::into_inner(old.entry())
    }

    pub fn remove(&mut self, index: Index) -> Entry {
        let removed = std::mem::replace(&mut self.cells[index.0], Cell::EMPTY);
        self.len -= 1;
        // Close the gap: an entry may move back to it unless it belongs behind it.
        let (mut gap, mut next) = (index.0, self.after(index.0));
        while self.cells[next] != Cell::EMPTY {
            let home = self.home(self.cells[next].place());
            let belongs_behind_gap = if gap < next { gap < home && home <= next } else { gap < home || home <= next };
            if !belongs_behind_gap {
                self.cells[gap] = std::mem::replace(&mut self.cells[next], Cell::EMPTY);
                gap = next;
            }
            next = self.after(next);
        }
        if self.cells.len() > MIN_CAPACITY && self.len * 4 < self.cells.len() {
            self.resize((self.cells.len() / 2).next_multiple_of(4).max(MIN_CAPACITY));
        }
        ManuallyDrop::into_inner(removed.entry())
    }

    fn place_cell(&mut self, cell: Cell) -> Index {
        let mut index = self.home(cell.place());
        while self.cells[index] != Cell::EMPTY {
            index = self.after(index);
        }
        self.cells[index] = cell;
        Index(index)
    }

    fn resize(&mut self, capacity: usize) {
        let old = std::mem::replace(&mut self.cells, vec![Cell::EMPTY; capacity].into_boxed_slice());
        for cell in old.iter().filter(|cell| **cell != Cell::EMPTY) {
            self.place_cell(*cell);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Ref<'_>> {
        self.indexes().map(|index| self.get(index))
    }

    /// Every entry's index, in the order of the cells.
    pub fn indexes(&self) -> impl Iterator<Item = Index> + '_ {
        (0..self.cells.len()).filter(|index| self.cells[*index] != Cell::EMPTY).map(Index)
    }

    /// The place of the entry at `index`.
    pub fn place_of(&self, index: Index) -> u32 {
        self.cells[index.0].place()
    }

    /// Visits entries in the order of their places, from `first_place` on, until at least `count` were visited.
    /// Returns the place to go on with, or `None` when the table is through.
    ///
    /// An entry that stays is visited exactly once over such a series of calls, whatever else comes or goes.
    pub fn scan(&self, first_place: u32, count: usize, mut visit: impl FnMut(&Entry)) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let mut visited = 0;
        for index in self.home(first_place)..self.cells.len() {
            let cell = self.cells[index];
            if cell == Cell::EMPTY {
                if visited >= count {
                    // Nothing that belongs here or before lies behind an empty cell.
                    return self.first_place_behind(index);
                }
            } else if cell.place() >= first_place && self.home(cell.place()) <= index {
                visit(&cell.entry());
                visited += 1;
            }
        }
        // What belongs to the last cells but found them full lies at the front.
        for (index, cell) in self.cells.iter().enumerate().take_while(|(_, cell)| **cell != Cell::EMPTY) {
            if cell.place() >= first_place && self.home(cell.place()) > index {
                visit(&cell.entry());
            }
        }
        None
    }

    /// The smallest place whose home is behind `index`, if there is one.
    fn first_place_behind(&self, index: usize) -> Option<u32> {
        let place = ((index as u64 + 1) << PLACE_BITS).div_ceil(self.cells.len() as u64);
        (place < 1 << PLACE_BITS).then_some(place as u32)
    }

    /// Up to `count` entries side by side, with their places, from a cell drawn by chance on.
    pub fn sample(&self, random: u64, count: usize) -> impl Iterator<Item = (u32, Ref<'_>)> {
        let capacity = self.cells.len();
        let first = random.checked_rem(capacity as u64).unwrap_or(0) as usize;
        let indexes = (first..capacity).chain(0..first).filter(|index| self.cells[*index] != Cell::EMPTY).take(count);
        // All are fetched before the first is looked at: they lie anywhere in memory.
        let indexes: SmallVec<[usize; 16]> =
            indexes.inspect(|index| prefetch(self.cells[*index].address() as *const u8)).collect();
        indexes.into_iter().map(|index| (self.cells[index].place(), self.get(Index(index))))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for cell in self.cells.iter().filter(|cell| **cell != Cell::EMPTY) {
            drop(ManuallyDrop::into_inner(cell.entry()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::entry::Content;
    use crate::keyspace::recency::Recency;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn entry(key: &[u8], value: u32) -> Entry {
        Entry::new(key, Content::Inline(&value.to_le_bytes()), None, Recency::from_bits(0))
    }

    fn find(table: &Table, place: u32, key: &[u8]) -> Option<Index> {
        table.find(place, |entry| entry.key() == key)
    }

    proptest! {
        /// Few distinct places, so that clusters form, wrap around and close again.
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec((0u32..40, any::<bool>(), any::<u32>()), 0..400), seed in any::<u32>()) {
            let place = |key: u32| (key % 13).wrapping_mul(seed | 1) % (1 << PLACE_BITS);
            let (mut table, mut model) = (Table::default(), BTreeMap::new());
            for (key, insert, value) in steps {
                let name = key.to_string().into_bytes();
                match (find(&table, place(key), &name), insert) {
                    (Some(index), true) => table.get_mut(index).set_inline(&value.to_le_bytes(), None),
                    (Some(index), false) => drop(table.remove(index)),
                    (None, true) => drop(table.insert(place(key), entry(&name, value))),
                    (None, false) => {}
                }
                if insert { model.insert(name, value); } else { model.remove(&name); }
                prop_assert_eq!(table.len(), model.len());
            }
            let content: BTreeMap<Vec<u8>, u32> = table.iter()
                .map(|entry| (entry.key().to_vec(), u32::from_le_bytes(entry.inline().try_into().unwrap())))
                .collect();
            prop_assert_eq!(&content, &model);
            for key in 0..40u32 {
                let name = key.to_string().into_bytes();
                prop_assert_eq!(find(&table, place(key), &name).is_some(), model.contains_key(&name));
            }
        }

        /// What is there throughout a scan is seen exactly once, while other keys come and go between its calls.
        #[test]
        fn scan_sees_what_stays_once(stay in prop::collection::btree_set(any::<u32>(), 0..200),
                                     churn in prop::collection::vec((any::<u32>(), any::<bool>()), 0..600),
                                     count in 1usize..20) {
            let place = |key: u32| key.wrapping_mul(0x9E37_79B1) >> 12;
            let mut table = Table::default();
            for key in &stay { table.insert(place(*key), entry(&key.to_le_bytes(), 0)); }
            let (mut seen, mut cursor, mut churn) = (Vec::new(), Some(0), churn.into_iter());
            while let Some(first) = cursor {
                cursor = table.scan(first, count, |entry| seen.push(u32::from_le_bytes(entry.key().try_into().unwrap())));
                for (key, insert) in churn.by_ref().take(30).filter(|(key, _)| !stay.contains(key)) {
                    match find(&table, place(key), &key.to_le_bytes()) {
                        Some(index) if !insert => drop(table.remove(index)),
                        None if insert => drop(table.insert(place(key), entry(&key.to_le_bytes(), 0))),
                        _ => {}
                    }
                }
            }
            let stayed: Vec<u32> = seen.iter().copied().filter(|key| stay.contains(key)).collect();
            prop_assert_eq!(stayed.len(), stay.len());
            prop_assert_eq!(stayed.into_iter().collect::<BTreeSet<_>>(), stay);
        }
    }

    #[test]
    fn memory_follows_the_number_of_entries() {
        let mut table = Table::default();
        for key in 0..1000u32 {
            table.insert(key * 1048, entry(&key.to_le_bytes(), 0));
        }
        assert!(table.memory_bytes() <= 1000 * 8 * 2, "{}", table.memory_bytes());
        for key in 0..1000u32 {
            let index = find(&table, key * 1048, &key.to_le_bytes()).unwrap();
            table.remove(index);
        }
        assert!(table.memory_bytes() <= MIN_CAPACITY * 8 * 2);
    }
}
