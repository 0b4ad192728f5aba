//! A key as lookups take it, and who asks.

/// A key with what its lookup needs, computed once.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub(in crate::keyspace) bytes: &'a [u8],
    pub(in crate::keyspace) hash: u64,
    pub(in crate::keyspace) slot: u16,
}

/// Where a key belongs: what there is to compute of it before its lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    pub(in crate::keyspace) hash: u64,
    pub(in crate::keyspace) slot: u16,
}

impl<'a> Key<'a> {
    /// `key_hash` must be the one that [`Databases::key_hash`](super::databases::Databases::key_hash) gave for the same bytes.
    #[inline]
    pub fn at(bytes: &'a [u8], key_hash: KeyHash) -> Key<'a> {
        Key { bytes, hash: key_hash.hash, slot: key_hash.slot }
    }

    /// The name of the key.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The slot that the key belongs to.
    pub fn slot(&self) -> u16 {
        self.slot
    }
}

/// What the caller's lookups go by.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: u64,
    /// Whether looking at a key counts as a use of it (CLIENT NO-TOUCH turns it off).
    pub touches: bool,
}
