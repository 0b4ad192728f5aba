//! A slot's hash table.
//!
//! - `cell`: an entry's address and its token; `overflow`: entries that found no cell
//! - `cells`: the table; `ordered`: a walk over it

mod cell;
mod cells;
mod ordered;
mod overflow;

pub use cell::{Ref, TOKEN_BITS, token};
pub use cells::{Index, Table};
pub use overflow::strain;
