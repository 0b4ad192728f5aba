//! What changes: effects, as the journal keeps them.

pub mod effect;
