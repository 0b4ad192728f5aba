//! What a command answers.
//!
//! Handlers describe their answer to a [`Sink`], whose vocabulary is RESP3's (the superset); each protocol
//! brings its own sink, so a handler never knows who asked.

mod error;
mod tree;

pub use error::Error;
pub use tree::Tree;

/// Receives one reply, element by element: an aggregate announces its length, its elements follow.
pub trait Sink {
    /// A short status such as `OK`.
    fn simple(&mut self, text: &str);
    /// A byte string of any length.
    fn bulk(&mut self, bytes: &[u8]);
    /// The absent value (RESP2: `$-1`).
    fn null(&mut self);
    /// The absent value where an array was due (RESP2: `*-1`).
    fn null_array(&mut self);
    fn integer(&mut self, value: i64);
    /// RESP2 sends it as a bulk string.
    fn double(&mut self, value: f64);
    /// An integer of any size; a protocol without them sends its digits as a byte string.
    fn big_number(&mut self, digits: &str) {
        self.bulk(digits.as_bytes());
    }
    /// RESP2 sends it as 1 or 0.
    fn boolean(&mut self, value: bool);
    /// Text with a three-letter format (`txt`, `mkd`); RESP2 sends a bulk string.
    fn verbatim(&mut self, format: &str, text: &[u8]);
    fn array(&mut self, len: usize);
    /// `len` pairs: twice as many elements follow; RESP2 sends a flat array.
    fn map(&mut self, len: usize);
    /// `len` pairs that tell something about the reply that follows them. Only for clients that speak RESP3.
    fn attribute(&mut self, len: usize) {
        self.map(len);
    }
    /// RESP2 sends an array.
    fn set(&mut self, len: usize);
    /// Out-of-band data; RESP2 sends an array.
    fn push(&mut self, len: usize);
    fn error(&mut self, error: &Error);

    fn ok(&mut self) {
        self.simple("OK");
    }
}

/// Swallows a reply (`CLIENT REPLY OFF`).
pub struct Discard;

impl Sink for Discard {
    fn simple(&mut self, _: &str) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn integer(&mut self, _: i64) {}
    fn double(&mut self, _: f64) {}
    fn boolean(&mut self, _: bool) {}
    fn verbatim(&mut self, _: &str, _: &[u8]) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn error(&mut self, _: &Error) {}
}
