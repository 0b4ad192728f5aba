//! The three protocols, as a client speaks them: a request into a buffer, and replies out of one.
//!
//! RESP's replies are recognised here and not by the `redis-protocol` crate, whose 124 to 335 ns a reply are more than
//! all else that this client does for a pipelined request; that crate reads the reply of CLUSTER SLOTS.

mod book;
mod connect;
mod http;
mod protocol;
mod resp;

pub use connect::{Dialer, exchange, resolve};
pub use protocol::Protocol;
pub use resp::{ASKING, CLUSTER_SLOTS, cluster_slots};

/// What is asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Get,
    Set,
    Delete,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A set or a delete was carried out.
    Done,
    Value(&'a [u8]),
    /// No such key.
    Missing,
    /// The server's own words.
    Failed(&'a [u8]),
}

/// A reply that breaks the protocol, after which nothing can be known of the bytes that follow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no reply of the protocol: {0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// Shows how the bytes begin.
    fn at(bytes: &[u8]) -> Malformed {
        Malformed(format!("\"{}\"", bytes[..bytes.len().min(40)].escape_ascii()))
    }
}

/// Writes requests and reads replies of one protocol.
#[derive(Clone, Debug)]
pub enum Codec {
    Resp,
    Book,
    Http(http::Fields),
}

impl Codec {
    /// `host` and `password` go into each request of HTTP; the other protocols do not have them there.
    pub fn new(protocol: Protocol, host: &str, password: Option<&str>) -> Codec {
        match protocol {
            Protocol::Resp => Codec::Resp,
            Protocol::Book => Codec::Book,
            Protocol::Http => Codec::Http(http::Fields::new(host, password)),
        }
    }

    pub fn get(&self, output: &mut Vec<u8>, key: &[u8]) {
        match self {
            Codec::Resp => resp::get(output, key),
            Codec::Book => book::get(output, key),
            Codec::Http(fields) => http::get(output, fields, key),
        }
    }

    pub fn delete(&self, output: &mut Vec<u8>, key: &[u8]) {
        match self {
            Codec::Resp => resp::delete(output, key),
            Codec::Book => book::delete(output, key),
            Codec::Http(fields) => http::delete(output, fields, key),
        }
    }

    /// `append` appends the value, which has `bytes` bytes. The book's protocol has no lifetimes.
    pub fn set(
        &self,
        output: &mut Vec<u8>,
        key: &[u8],
        bytes: usize,
        ttl_ms: Option<u64>,
        append: impl FnOnce(&mut Vec<u8>),
    ) {
        match self {
            Codec::Resp => resp::set(output, key, bytes, ttl_ms, append),
            Codec::Book => book::set(output, key, bytes, append),
            Codec::Http(fields) => http::set(output, fields, key, bytes, ttl_ms, append),
        }
    }

    /// The reply that `input` begins with, and its length on the wire; none while it is incomplete.
    ///
    /// # Errors
    /// [`Malformed`]; the connection is of no use afterwards.
    #[inline]
    pub fn reply<'a>(&self, kind: Kind, input: &'a [u8]) -> Result<Option<(Reply<'a>, usize)>, Malformed> {
        match self {
            Codec::Resp => resp::reply(input),
            Codec::Book => book::reply(kind, input),
            Codec::Http(_) => http::reply(kind, input),
        }
    }
}

fn append_decimal(output: &mut Vec<u8>, number: impl itoa::Integer) {
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A decimal number without sign or leading zero, at most `max`.
fn length(digits: &[u8], max: usize) -> Option<usize> {
    let is_canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
    if !is_canonical || digits.len() > 18 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + usize::from(digit - b'0');
    }
    (number <= max).then_some(number)
}
