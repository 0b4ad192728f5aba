//! Sockets: listeners, worker threads, connections.

mod balance;
mod connection;
mod conversation;
mod cycle;
mod listener;
mod sockets;
mod stream;
mod sweep;
mod wait;
mod workers;

pub use conversation::{Conversation, Next, Progress};
pub use listener::{BoundListener, Kind, bind_hosts};
pub use workers::Workers;
