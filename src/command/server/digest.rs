//! DEBUG DIGEST: fingerprints of values and databases that do not depend on the order of keys. Servers with the same
//! content give the same, Redis included.

use sha1_smol::{DIGEST_LENGTH, Sha1};

use crate::base::chunks::BytesRef;
use crate::keyspace::entry::Entry;
use crate::types::Value;

/// A fingerprint under construction.
#[derive(Clone, Copy, Default)]
pub struct Digest([u8; DIGEST_LENGTH]);

impl Digest {
    /// Adds a part whose place among the others does not matter.
    fn add(&mut self, part: &[u8]) {
        self.combine(&Digest(Sha1::from(part).digest().bytes()));
    }

    /// Adds a part that comes after those before it.
    fn chain(&mut self, part: &[u8]) {
        self.chain_parts(std::iter::once(part));
    }

    /// The same, where the part is itself in parts.
    fn chain_parts<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) {
        let mut hash = Sha1::new();
        parts.for_each(|part| hash.update(part));
        self.combine(&Digest(hash.digest().bytes()));
        self.0 = Sha1::from(self.0).digest().bytes();
    }

    pub fn combine(&mut self, other: &Digest) {
        for (byte, other) in self.0.iter_mut().zip(other.0) {
            *byte ^= other;
        }
    }

    /// Begins a database that has keys.
    pub fn chain_database(&mut self, number: usize) {
        self.chain(&(number as u32).to_be_bytes());
    }

    /// Adds a key with its value.
    pub fn add_entry(&mut self, entry: &Entry) {
        let mut digest = Digest::default();
        digest.chain(entry.key());
        digest.chain_value(entry);
        self.add(&digest.0);
    }

    /// The fingerprint of a value, and of whether it expires.
    pub fn of_value(entry: &Entry) -> Digest {
        let mut digest = Digest::default();
        digest.chain_value(entry);
        digest
    }

    fn chain_value(&mut self, entry: &Entry) {
        const STRING: u32 = 0;
        match entry.boxed() {
            None | Some(Value::String(_)) => {
                self.chain(&STRING.to_be_bytes());
                let parts = entry.string().into_iter().flat_map(BytesRef::parts);
                self.chain_parts(parts);
            }
        }
        if entry.expiry_ms().is_some() {
            self.add(b"!!expire!!");
        }
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}
