//! What a client asks, and what comes back, whatever the protocol.

/// What is asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its value.
    Get,
    /// Its value is set.
    Set,
    /// It is deleted.
    Delete,
    /// The values of it and of others (MGET).
    GetMany,
    /// Values are set of it and of others (MSET).
    SetMany,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A set or a delete was carried out.
    Done,
    /// The value of the key.
    Value(&'a [u8]),
    /// The values of several keys: how many there were, their bytes together, and how many keys there were not.
    Values { found: u64, bytes: u64, missing: u64 },
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
    pub fn at(bytes: &[u8]) -> Malformed {
        Malformed(format!("\"{}\"", bytes[..bytes.len().min(40)].escape_ascii()))
    }
}
