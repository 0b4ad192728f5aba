//! What a command answers.
//!
//! Handlers describe their answer to a [`Sink`], whose vocabulary is RESP3's (the superset); each protocol
//! brings its own sink, so a handler never knows who asked.

#![deny(missing_docs)]

mod error;
mod tree;

use crate::base::chunks::Chunks;

pub use error::Error;
pub use tree::Tree;

/// Receives one reply, element by element: an aggregate announces its length, its elements follow.
pub trait Sink {
    /// A short status such as `OK`.
    fn simple(&mut self, text: &str);
    /// A byte string of any length.
    fn bulk(&mut self, bytes: &[u8]);
    /// A byte string that is referred to until it is sent.
    fn chunks(&mut self, chunks: Chunks);
    /// The absent value (RESP2: `$-1`).
    fn null(&mut self);
    /// The absent value where an array was due (RESP2: `*-1`).
    fn null_array(&mut self);
    /// A signed 64-bit integer.
    fn integer(&mut self, value: i64);
    /// RESP2 sends it as a bulk string.
    fn double(&mut self, value: f64);
    /// RESP2 sends it as 1 or 0.
    fn boolean(&mut self, value: bool);
    /// Text with a three-letter format (`txt`, `mkd`); RESP2 sends a bulk string.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    /// `len` elements follow.
    fn array(&mut self, len: usize);
    /// `len` pairs: twice as many elements follow; RESP2 sends a flat array.
    fn map(&mut self, len: usize);
    /// RESP2 sends an array.
    fn set(&mut self, len: usize);
    /// Out-of-band data; RESP2 sends an array.
    fn push(&mut self, len: usize);
    /// An error, in place of any other element.
    fn error(&mut self, error: &Error);

    /// An integer of any size; a protocol without them sends its digits as a byte string.
    fn big_number(&mut self, digits: &str) {
        self.bulk(digits.as_bytes());
    }

    /// `len` pairs that tell something about the reply that follows them. Only for clients that speak RESP3.
    fn attribute(&mut self, len: usize) {
        self.map(len);
    }

    /// Whether what follows is in RESP3, for protocols that leave it to the client (HELLO).
    fn set_resp3(&mut self, _resp3: bool) {}

    /// Begins one more reply to the same command, behind a complete one.
    fn next_reply(&mut self) {}

    /// `OK`, as a status.
    fn ok(&mut self) {
        self.simple("OK");
    }
}
