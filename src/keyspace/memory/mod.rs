//! Keys in memory: entries, the slots' tables, what is counted of them, their expiry and their eviction. What a slot's entries
//! have to do with the disk is here as far as it is noted in memory (`states`); reading it is the business of `residency`, writing it
//! of `merge`.
//!
//! From the bottom up:
//! - `recency`, `entry`, `table`, `expiry`, `counts`, `spread`: what a slot and a database are made of
//! - `slot`, `slots`, `key`, `databases`: a slot, a database's slots, and all databases
//! - `locked`: a locked slot, and the one place where a key changes; `states`: how its entries stand to the disk
//! - `guard`: what commands do with a key; `prefetch`, `estimates`, `watching`
//! - `ghosts`, `lirs`, `eviction`, `expiry_cycle`: which keys go, and when

pub mod changes;
pub mod counts;
pub mod databases;
pub mod entry;
pub mod estimates;
pub mod eviction;
mod expiry;
pub mod expiry_cycle;
mod ghosts;
pub mod guard;
pub mod key;
mod lirs;
pub mod locked;
mod prefetch;
pub mod recency;
pub mod slot;
pub mod slots;
mod spread;
mod states;
pub mod table;
mod watching;
