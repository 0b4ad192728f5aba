//! The plain TCP cache protocol: length-prefixed set, get and delete (Hu Shijie, *Distributed Cache*, chapter 2).
//!
//! ```text
//! command  = "S" key-length SP value-length SP key value
//!          | "G" key-length SP key
//!          | "D" key-length SP key
//! response = length SP content          success; a miss, a set and a delete answer "0 "
//!          | "-" length SP message      error
//! ```
//! Lengths are decimal, without sign, blank or leading zero; keys and values are any bytes.

mod parser;
mod writer;

pub use parser::{Operation, ProtocolError, RequestParser};
pub use writer::ReplyWriter;
