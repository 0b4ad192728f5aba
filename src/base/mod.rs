//! What everything else stands on: the clock, the system, slots, patterns, numbers and words as Redis reads and prints them.

pub mod clock;
mod float_text;
pub mod glob;
pub mod key_hash;
pub mod long_double;
pub mod memory;
pub mod number;
pub mod prefetch;
pub mod slot;
pub mod system;
pub mod thread;
pub mod ticks;
pub mod words;
