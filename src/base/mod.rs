//! What everything else stands on: the clock, the system, slots, patterns, numbers and words as Redis reads and prints them,
//! byte strings that are shared.

#![deny(missing_docs)]

pub mod checksum;
pub mod chunks;
pub mod clock;
pub mod file;
mod float_text;
pub mod gather;
pub mod glob;
pub mod key_hash;
pub mod long_double;
pub mod memory;
pub mod number;
pub mod prefetch;
pub mod progress;
mod reclaim;
pub mod slot;
pub mod system;
pub mod thread;
pub mod ticks;
pub mod words;
