//! What everything else stands on: the clock, slots, numbers as Redis reads and prints them.

mod float_text;
pub mod glob;
pub mod number;
