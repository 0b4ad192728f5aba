//! Bytes to arguments and replies to bytes. Nothing here knows a command.

#![deny(missing_docs)]

pub mod book;
pub mod resp;

mod args;
mod large;
pub use args::{Args, Range, until_nul};
pub use large::{Announced, Incoming};
