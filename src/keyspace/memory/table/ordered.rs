//! A table's entries in the order of their tokens, for SCAN.

use std::collections::btree_set;
use std::iter::Peekable;

use smallvec::SmallVec;

use super::cell::{ADDRESS_BITS, Cell, Ref};
use super::cells::{BLOCK, Index, Table};

impl Table {
    /// The entries in the order of their tokens, from `first_token` on.
    ///
    /// Whoever goes on with the token behind the last one, or with the first he has not taken, meets an entry that stays
    /// exactly once over such a series, whatever else comes or goes.
    pub fn ordered(&self, first_token: u32) -> Ordered<'_> {
        Ordered::new(self, first_token)
    }
}

/// Entries in the order of their tokens, each with its token.
pub struct Ordered<'t> {
    table: &'t Table,
    first_token: u32,
    /// The first cell of the block to come.
    next_block: usize,
    /// Places and indexes of what is left of the block before that, the next one last.
    block: SmallVec<[(u32, usize); BLOCK]>,
    overflow: Option<Peekable<btree_set::Range<'t, (u64, usize)>>>,
}

impl<'t> Ordered<'t> {
    pub(super) fn new(table: &'t Table, first_token: u32) -> Self {
        let overflow = table.overflow.as_ref().map(|overflow| overflow.range_from(first_token).peekable());
        let next_block = if table.capacity == 0 { 0 } else { table.block(table.home(first_token)).start };
        Ordered { table, first_token, next_block, block: SmallVec::new(), overflow }
    }

    fn next_overflowing(&mut self) -> Option<(u32, usize)> {
        let (order, number) = self.overflow.as_mut()?.peek()?;
        Some(((order >> ADDRESS_BITS) as u32, self.table.capacity as usize + *number))
    }

    fn open_block(&mut self) {
        let range = self.table.block(self.next_block);
        self.next_block = range.end;
        let cells = range.map(|index| (self.table.cells()[index], index)).filter(|(cell, _)| *cell != Cell::EMPTY);
        let tokens = cells.map(|(cell, index)| (cell.token(), index)).filter(|(token, _)| *token >= self.first_token);
        self.block.extend(tokens);
        self.block.sort_unstable_by(|one, other| other.cmp(one));
    }
}

impl<'t> Iterator for Ordered<'t> {
    type Item = (u32, Ref<'t>);

    fn next(&mut self) -> Option<(u32, Ref<'t>)> {
        let overflowing = self.next_overflowing();
        while self.block.is_empty()
            && self.next_block < self.table.capacity as usize
            // Else it is of the block that was opened last, or of one before.
            && overflowing.is_none_or(|(token, _)| self.table.home(token) >= self.next_block)
        {
            self.open_block();
        }
        let (token, index) = match (self.block.last().copied(), overflowing) {
            (Some(first), Some(other)) if other < first => other,
            (Some(first), _) => first,
            (None, Some(other)) => other,
            (None, None) => return None,
        };
        if index < self.table.capacity as usize {
            self.block.pop();
        } else {
            self.overflow.as_mut()?.next();
        }
        Some((token, self.table.get(Index(index))))
    }
}
