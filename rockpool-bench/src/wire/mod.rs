//! The three protocols, as a client speaks them: a request into a buffer, and replies out of one.
//!
//! RESP's replies are recognised here and not by the `redis-protocol` crate, whose 124 to 335 ns a reply are more than
//! all else that this client does for a pipelined request; that crate reads the reply of CLUSTER SLOTS.

mod book;
mod codec;
mod connect;
mod http;
mod number;
mod protocol;
mod reply;
mod resp;

pub use codec::Codec;
pub use connect::{Dialer, exchange, resolve};
pub use protocol::Protocol;
pub use reply::{Kind, Reply};
pub use resp::{ASKING, CLUSTER_SLOTS, MANY_KEYS, cluster_slots, mget, mset};
