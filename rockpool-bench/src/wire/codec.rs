//! One protocol out of the three, chosen at run time.

use super::protocol::Protocol;
use super::reply::{Kind, Malformed, Reply};
use super::{book, http, resp};

/// Writes requests and reads replies of one protocol.
#[derive(Clone, Debug)]
pub enum Codec {
    /// RESP2.
    Resp,
    /// The book's TCP protocol.
    Book,
    /// HTTP/1.1, with the header fields of every request.
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

    /// Appends a request for the value of `key`.
    pub fn get(&self, output: &mut Vec<u8>, key: &[u8]) {
        match self {
            Codec::Resp => resp::get(output, key),
            Codec::Book => book::get(output, key),
            Codec::Http(fields) => http::get(output, fields, key),
        }
    }

    /// Appends a request to delete `key`.
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
            Codec::Resp if kind == Kind::GetMany => resp::mget_reply(input),
            Codec::Resp => resp::reply(input),
            Codec::Book => book::reply(kind, input),
            Codec::Http(_) => http::reply(kind, input),
        }
    }
}
