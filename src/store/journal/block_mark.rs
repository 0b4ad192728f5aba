//! The journal's mark: which of its blocks a start must find.
//!
//! Without it, a journal whose newest blocks were taken away or damaged looks like one that a crash tore off there, and one
//! whose oldest segments are gone looks like one that has released them.

use std::io;
use std::path::Path;

use crate::store::mark::{self, Mark};

/// The newest block that was written, the newest that was synced, and the newest that is not needed any more.
const WRITTEN: usize = 0;
const SYNCED: usize = 1;
const RELEASED: usize = 2;

pub struct BlockMark(Mark);

/// Blocks that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The first that may be needed; earlier ones may be gone.
    pub first: u64,
    /// Before the first: none is.
    pub last: u64,
}

impl Needed {
    pub const NOTHING: Needed = Needed { first: 1, last: 0 };

    /// What the mark in the journal's directory tells of.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn find(directory: &Path) -> io::Result<Needed> {
        let Some(mark) = mark::find(directory)? else { return Ok(Needed::NOTHING) };
        let value = |index: usize| mark.values.get(index).copied().unwrap_or(0);
        // Nothing that was written is lost while the machine runs; after that, only what was synced is sure to be there.
        let last = if mark.is_of_this_boot { value(WRITTEN) } else { value(SYNCED) };
        Ok(Needed { first: value(RELEASED) + 1, last })
    }

    /// Whether some are missing where the blocks that are there end before this one.
    pub fn are_missing_from(&self, block: u64) -> bool {
        self.first <= self.last && block <= self.last
    }
}

impl BlockMark {
    /// Begins the mark anew: all blocks up to `synced` are on disk, and those up to `released` not needed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(directory: &Path, synced: u64, released: u64) -> io::Result<BlockMark> {
        Ok(BlockMark(Mark::begin(directory, vec![synced, synced, released])?))
    }

    /// All blocks up to this one are in the file.
    pub fn written(&self, block: u64) {
        self.0.set(|values| raise(&mut values[WRITTEN], block));
    }

    /// All blocks up to this one are on disk.
    pub fn synced(&self, block: u64) {
        self.0.set(|values| raise(&mut values[WRITTEN], block) | raise(&mut values[SYNCED], block));
    }

    /// The blocks up to this one are not needed any more.
    pub fn released(&self, block: u64) {
        self.0.set(|values| raise(&mut values[RELEASED], block));
    }

    /// Has on disk what was told, before a segment is given up: an older mark would ask for its blocks.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

/// Whether the value was lower, which it is not any more.
fn raise(value: &mut u64, block: u64) -> bool {
    let before = std::mem::replace(value, block.max(*value));
    before < block
}
