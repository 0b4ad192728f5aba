//! Sockets: listeners, worker threads, connections.

#![deny(missing_docs)]

mod balance;
mod buffers;
mod connection;
mod conversation;
mod cycle;
mod listener;
mod outgoing;
mod sockets;
mod stream;
mod sweep;
mod uncommitted;
mod workers;

pub use conversation::{Conversation, Next, Progress, Protocol};
pub use listener::{BoundListener, bind_hosts};
pub use workers::Workers;
