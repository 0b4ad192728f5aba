//! What everything else stands on: the clock, slots, numbers as Redis reads and prints them.
