//! Sockets: listeners, worker threads, connections.

mod connection;
mod conversation;
mod listener;
mod sweep;
mod workers;

pub use listener::{BoundListener, Kind};
pub use workers::Workers;
