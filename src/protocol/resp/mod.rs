//! RESP2 and RESP3 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>): requests in, replies out.

mod inline;
mod parser;
mod writer;

pub use parser::{Limits, ProtocolError, RequestParser, refusal_of_unauthenticated};
pub use writer::{ReplyWriter, Version};
