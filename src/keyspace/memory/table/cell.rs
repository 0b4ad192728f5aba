//! A cell: an entry's address and token in eight bytes.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use super::super::entry::Entry;

/// Bits of the hash that a cell keeps; also SCAN's resolution within a slot.
pub const TOKEN_BITS: u32 = 20;
pub(super) const ADDRESS_BITS: u32 = 64 - TOKEN_BITS;

/// The token of a key with this hash: its top bits.
#[inline]
pub fn token(hash: u64) -> u32 {
    (hash >> ADDRESS_BITS) as u32
}

/// 0 is an empty cell; otherwise the token, then the address without its 4 low zero bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell(u64);

impl Cell {
    pub const EMPTY: Cell = Cell(0);

    pub fn new(token: u32, entry: Entry) -> Cell {
        let address = entry.into_address() as u64 >> 4;
        // User space ends at 2^47 on x86-64 and 2^48 on AArch64 unless a program asks for more.
        assert!(address < 1 << ADDRESS_BITS, "an address of more than 48 bits");
        Cell(u64::from(token) << ADDRESS_BITS | address)
    }

    #[inline]
    pub fn token(self) -> u32 {
        (self.0 >> ADDRESS_BITS) as u32
    }

    #[inline]
    pub fn address(self) -> usize {
        (self.0 << TOKEN_BITS >> TOKEN_BITS << 4) as usize
    }

    /// A second handle on the entry, which must not be dropped, or must replace the cell's.
    #[inline]
    pub fn entry(self) -> ManuallyDrop<Entry> {
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
    _table: PhantomData<&'a Cell>,
}

impl Ref<'_> {
    /// The entry of a cell of a table that is borrowed meanwhile.
    #[inline]
    pub(super) fn new(cell: Cell) -> Self {
        Ref { entry: cell.entry(), _table: PhantomData }
    }
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

impl<'a> RefMut<'a> {
    #[inline]
    pub(super) fn new(cell: &'a mut Cell) -> Self {
        RefMut { entry: cell.entry(), cell }
    }
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
        *self.cell = Cell::new(self.cell.token(), unsafe { ManuallyDrop::take(&mut self.entry) });
    }
}
