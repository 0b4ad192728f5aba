//! What everything else stands on: the clock, the system, slots, patterns, numbers and words as Redis reads and prints them.

pub mod clock;
pub mod file;
mod float_text;
pub mod glob;
pub mod long_double;
pub mod memory;
pub mod number;
pub mod prefetch;
pub mod progress;
pub mod slot;
pub mod system;
pub mod thread;
pub mod ticks;
pub mod words;
