//! Bringing what has changed to disk, and keeping the disk within its bounds.
//!
//! From the bottom up:
//! - `round`, `collect`: a round in the making, and what it takes of a slot
//! - `disk_throttle`, `space`: what is known of the data directory's size
//! - `merger`: what is owned from round to round
//! - `usage`, `garbage`, `pressure`: what follows from sizes; `sweep`, `ages`: what a round deletes of its own accord
//! - `rounds`: a round from its begin to its end
//! - `recovery`: what a start takes over and replays

mod ages;
mod collect;
mod disk_throttle;
pub mod garbage;
pub mod merger;
mod pressure;
pub mod recovery;
pub mod round;
pub mod rounds;
pub mod space;
mod sweep;
mod usage;
