//! Sockets: listeners, worker threads, connections.

#![deny(missing_docs)]

mod balance;
mod buffers;
mod connection;
mod conversation;
mod listener;
mod outgoing;
mod sockets;
mod stream;
mod sweep;
mod transport;
mod uncommitted;
mod worker;
mod workers;

pub use conversation::{Conversation, Next, Progress, Protocol};
pub use listener::{BoundListener, bind_hosts};
pub use workers::Workers;
