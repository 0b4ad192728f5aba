//! Keys that are on disk alone: reading them into memory, and walking over them together with those that are there.
//!
//! From the bottom up:
//! - `stored`: the keys of a slot that are on disk, as a walk meets them
//! - `scan`, `draw`: walks over all keys, and drawing one
//! - `loader`: the threads that read cold keys, and take the steps of walks
//! - `resident`: making sure that whatever there is of a key is in memory

pub mod draw;
pub mod loader;
pub mod resident;
pub mod scan;
mod stored;
