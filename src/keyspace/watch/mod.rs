//! What changes, and who is told: effects, as the journal keeps them; events, as clients know them; observers.

pub mod effect;
pub mod event;
pub mod observer;
