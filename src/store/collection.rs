//! Large collections: a record is the head, and the leaves, which hold the elements, lie in a column family of their own.
//!
//! The head tells the collection's id, which is the number of the slot's change that made it: no other collection of the slot
//! has it, or ever had it. So to delete a collection is to delete its head and one range, whatever comes under the same key
//! afterwards.

use super::record::{Record, RecordError, ValueSummary};

/// In a record's type: it is the head of a large collection.
pub const HEAD: u8 = 0x80;

const LEAF_PREFIX_BYTES: usize = 11;

/// `database u8 | slot u16 | collection u64 | leaf`: what a slot has is one range, what a collection has is one within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafKey<'a> {
    /// The database as it lies on disk.
    pub database: u8,
    /// The slot of the collection's key.
    pub slot: u16,
    /// The collection's id.
    pub collection: u64,
    /// Where the leaf is among those of its collection, as the type tells them apart: in the order of these bytes.
    pub leaf: &'a [u8],
}

impl<'a> LeafKey<'a> {
    /// What all leaves of the collection begin with.
    pub fn prefix(database: u8, slot: u16, collection: u64) -> [u8; LEAF_PREFIX_BYTES] {
        let mut prefix = [database; LEAF_PREFIX_BYTES];
        prefix[1..3].copy_from_slice(&slot.to_be_bytes());
        prefix[3..].copy_from_slice(&collection.to_be_bytes());
        prefix
    }

    /// The bytes of the key.
    pub fn encoded(&self) -> Vec<u8> {
        [&Self::prefix(self.database, self.slot, self.collection), self.leaf].concat()
    }

    /// `None`: too short to be one.
    pub fn decode(bytes: &'a [u8]) -> Option<LeafKey<'a>> {
        let (&[database, slot_high, slot_low, collection @ ..], leaf) =
            bytes.split_first_chunk::<LEAF_PREFIX_BYTES>()?;
        let slot = u16::from_be_bytes([slot_high, slot_low]);
        Some(LeafKey { database, slot, collection: u64::from_be_bytes(collection), leaf })
    }
}

/// What the record of a large collection keeps: `collection u64 | elements u64 | leaf bytes u64 | metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The collection's id, by which its leaves are found.
    pub collection: u64,
    /// How many elements there are.
    pub elements: u64,
    /// The bytes of data in all leaves.
    pub leaf_bytes: u64,
    /// What the type needs besides before it has a leaf.
    pub metadata: &'a [u8],
}

impl<'a> Head<'a> {
    /// What a record keeps as a head; `None`: it is none, its value is whole in it.
    ///
    /// # Errors
    /// For bytes that are too few.
    pub fn of(record: &Record<'a>) -> Result<Option<Head<'a>>, RecordError> {
        if record.kind & HEAD == 0 { Ok(None) } else { Head::decode(record.payload).map(Some) }
    }

    /// Appends to `into`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        for number in [self.collection, self.elements, self.leaf_bytes] {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(self.metadata);
    }

    /// # Errors
    /// For bytes that are too few.
    pub fn decode(payload: &'a [u8]) -> Result<Head<'a>, RecordError> {
        let (collection, rest) = number(payload)?;
        let (elements, rest) = number(rest)?;
        let (leaf_bytes, metadata) = number(rest)?;
        Ok(Head { collection, elements, leaf_bytes, metadata })
    }
}

/// What the indexes, and the counts of a slot, tell of a record's value.
///
/// # Errors
/// For a head that is none.
pub fn summary(record: &Record<'_>) -> Result<ValueSummary, RecordError> {
    let whole = ValueSummary::from(record.payload.len());
    Ok(match Head::of(record)? {
        None => whole,
        Some(head) => {
            ValueSummary { bytes: whole.bytes.saturating_add(head.leaf_bytes), collection: Some(head.collection) }
        }
    })
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), RecordError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(RecordError::Short)?;
    Ok((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn heads_and_keys_of_leaves_are_read_as_they_were_written(
            database: u8, slot: u16, numbers: [u64; 3], bytes: Vec<u8>,
        ) {
            let [collection, elements, leaf_bytes] = numbers;
            let key = LeafKey { database, slot, collection, leaf: &bytes };
            let encoded = key.encoded();
            prop_assert_eq!(LeafKey::decode(&encoded), Some(key));
            let head = Head { collection, elements, leaf_bytes, metadata: &bytes };
            let mut payload = Vec::new();
            head.encode(&mut payload);
            prop_assert_eq!(Head::decode(&payload), Ok(head));
            let record = Record { kind: 7 | HEAD, expiry_ms: None, written_ms: 1, long_key: None, payload: &payload };
            prop_assert_eq!(Head::of(&record), Ok(Some(head)));
            let bytes = leaf_bytes.saturating_add(payload.len() as u64);
            prop_assert_eq!(summary(&record), Ok(ValueSummary { bytes, collection: Some(collection) }));
            let whole = Record { kind: 7, ..record };
            prop_assert_eq!(Head::of(&whole), Ok(None));
            prop_assert_eq!(summary(&whole), Ok(payload.len().into()));
            for length in 0..24 {
                prop_assert_eq!(Head::decode(&payload[..length]), Err(RecordError::Short));
            }
            for length in 0..LEAF_PREFIX_BYTES {
                prop_assert_eq!(LeafKey::decode(&encoded[..length]), None);
            }
        }

        #[test]
        fn leaves_sort_by_database_slot_collection_and_place(mut keys: Vec<(u8, u16, u64, Vec<u8>)>) {
            let encode = |(database, slot, collection, leaf): &(u8, u16, u64, Vec<u8>)| {
                LeafKey { database: *database, slot: *slot, collection: *collection, leaf }.encoded()
            };
            let mut encoded: Vec<_> = keys.iter().map(encode).collect();
            encoded.sort();
            keys.sort();
            prop_assert_eq!(encoded, keys.iter().map(encode).collect::<Vec<_>>());
        }
    }
}
