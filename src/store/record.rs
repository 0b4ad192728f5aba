//! What lies in RocksDB, byte by byte; `docs/records.md` is the same for people.
//!
//! Numbers in keys are big-endian, so that they sort; numbers in values are little-endian.

use smallvec::SmallVec;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};

/// The version byte of records and of slots' counts.
const VERSION: u8 = 1;
const HAS_EXPIRY: u8 = 1;
const HAS_KEY: u8 = 2;

/// Longer keys are *long*: their records' keys have a beginning and a digest of them, and the records the whole. RocksDB keeps
/// the keys at the ends of its files in the manifest, in indexes and in memory, and writes them anew with each of these.
const LONG_KEY_BYTES: usize = 4096;
const DIGEST_BYTES: usize = 16;
/// Of a long key in a record's key: one byte longer than any other, so that each is told by its length.
const LONG_FORM_BYTES: usize = LONG_KEY_BYTES + 1;
const BEGINNING_BYTES: usize = LONG_FORM_BYTES - DIGEST_BYTES;

/// How long keys are in the records of a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongKeys {
    /// By a digest.
    #[default]
    Digest,
    /// Like all others: directories of earlier versions.
    Whole,
}

impl LongKeys {
    /// Whether a key, or what a record's key has of it, is more than the record's key holds.
    #[inline]
    pub fn is_long(self, key: &[u8]) -> bool {
        key.len() > LONG_KEY_BYTES && self == LongKeys::Digest
    }
}

/// Why bytes are not read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// There are too few of them.
    #[error("a record is cut off")]
    Short,
    /// No encoder of ours wrote them.
    #[error("a record is damaged")]
    Damaged,
    /// A later program wrote them, in this format.
    #[error("a record has format {0}, which is newer than this program")]
    Newer(u8),
}

/// `database u8 | slot u16 | hash u32 | key`: the hash is the upper half of the key's, so records of a slot lie in the
/// order in which SCAN walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordKey<'a> {
    /// The database as it lies on disk.
    pub database: u8,
    /// The key's slot.
    pub slot: u16,
    /// The upper half of the key's hash.
    pub hash: u32,
    /// The key, or what stands for a long one.
    pub key: &'a [u8],
}

impl<'a> RecordKey<'a> {
    /// The length of what is in front of the key.
    pub const PREFIX_BYTES: usize = 7;

    /// Replaces what is in `into`. `hash` is the whole hash of the key.
    #[inline]
    pub fn encode(into: &mut Vec<u8>, form: LongKeys, database: u8, slot: u16, hash: u64, key: &[u8]) {
        into.clear();
        into.extend_from_slice(&prefix(database, slot, (hash >> 32) as u32));
        if form.is_long(key) {
            into.extend_from_slice(&key[..BEGINNING_BYTES]);
            // The hash is a secret of the data directory, so nobody can make two keys that agree.
            into.extend_from_slice(&xxh3_128_with_seed(key, hash).to_be_bytes());
        } else {
            into.extend_from_slice(key);
        }
    }

    /// The bytes for a key; `hash` is the whole hash of the key.
    pub fn encoded(form: LongKeys, database: u8, slot: u16, hash: u64, key: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::PREFIX_BYTES + key.len().min(LONG_FORM_BYTES));
        Self::encode(&mut bytes, form, database, slot, hash, key);
        bytes
    }

    /// Whether these are the bytes of a record's key of `key`, as far as they can be told from others of the same hash.
    pub fn is_of(bytes: &[u8], key: &[u8]) -> bool {
        let form = bytes.get(Self::PREFIX_BYTES..).unwrap_or_default();
        let is_long_form = form.len() == LONG_FORM_BYTES && key.len() > LONG_KEY_BYTES;
        form == key || is_long_form && form[..BEGINNING_BYTES] == key[..BEGINNING_BYTES]
    }

    /// `None`: too short to be one.
    pub fn decode(bytes: &'a [u8]) -> Option<RecordKey<'a>> {
        let (&[database, slot_high, slot_low, hash @ ..], key) = bytes.split_first_chunk::<7>()?;
        let slot = u16::from_be_bytes([slot_high, slot_low]);
        Some(RecordKey { database, slot, hash: u32::from_be_bytes(hash), key })
    }
}

/// The beginning of the record key of a hash.
pub fn prefix(database: u8, slot: u16, hash: u32) -> [u8; RecordKey::PREFIX_BYTES] {
    let (slot, hash) = (slot.to_be_bytes(), hash.to_be_bytes());
    [database, slot[0], slot[1], hash[0], hash[1], hash[2], hash[3]]
}

/// What the records' keys of a slot begin with, and its leaves'.
pub fn slot_prefix(database: u8, slot: u16) -> [u8; 3] {
    let slot = slot.to_be_bytes();
    [database, slot[0], slot[1]]
}

/// `version u8 | type u8 | flags u8 | written u64 | expiry u64, if flagged | length u32 and key, if flagged | payload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The type's number. With the bit [`HEAD`](super::collection::HEAD) the value is in leaves besides.
    pub kind: u8,
    /// When the key ceases to exist, in Unix milliseconds.
    pub expiry_ms: Option<u64>,
    /// When it was written here, in Unix milliseconds.
    pub written_ms: u64,
    /// The key, if it is a long one.
    pub long_key: Option<&'a [u8]>,
    /// The value as its type encoded it, or a [`Head`](super::collection::Head).
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends to `into`.
    #[inline]
    pub fn encode(&self, into: &mut Vec<u8>) {
        let expiry = if self.expiry_ms.is_some() { HAS_EXPIRY } else { 0 };
        let flags = expiry | if self.long_key.is_some() { HAS_KEY } else { 0 };
        into.extend_from_slice(&[VERSION, self.kind, flags]);
        into.extend_from_slice(&self.written_ms.to_le_bytes());
        if let Some(expiry_ms) = self.expiry_ms {
            into.extend_from_slice(&expiry_ms.to_le_bytes());
        }
        if let Some(key) = self.long_key {
            into.extend_from_slice(&(key.len() as u32).to_le_bytes());
            into.extend_from_slice(key);
        }
        into.extend_from_slice(self.payload);
    }

    /// # Errors
    /// For bytes that this program cannot have written.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        check_version(bytes)?;
        let (&[_, kind, flags], rest) = bytes.split_first_chunk().ok_or(RecordError::Short)?;
        // What a flag stands for has its place before the payload: an unknown one makes the rest unreadable.
        if flags & !(HAS_EXPIRY | HAS_KEY) != 0 {
            return Err(RecordError::Damaged);
        }
        let (written, rest) = rest.split_first_chunk().ok_or(RecordError::Short)?;
        let (expiry_ms, rest) = if flags & HAS_EXPIRY != 0 {
            let (expiry, rest) = rest.split_first_chunk().ok_or(RecordError::Short)?;
            (Some(u64::from_le_bytes(*expiry)), rest)
        } else {
            (None, rest)
        };
        let (long_key, payload) = if flags & HAS_KEY != 0 {
            let (length, rest) = rest.split_first_chunk().ok_or(RecordError::Short)?;
            let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
            let (key, payload) = split.ok_or(RecordError::Short)?;
            (Some(key), payload)
        } else {
            (None, rest)
        };
        Ok(Record { kind, expiry_ms, written_ms: u64::from_le_bytes(*written), long_key, payload })
    }
}

/// A record as it was read, for who takes it over later: a large payload is in chunks by then.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// All of it, or what is in front of the payload.
    row: Vec<u8>,
    payload: Option<Chunks>,
}

impl StoredRecord {
    /// Copies a record, which may turn out to be none when it is decoded.
    pub fn new(bytes: &[u8]) -> StoredRecord {
        let large =
            Record::decode(bytes).ok().map(|record| record.payload).filter(|payload| payload.len() >= LARGE_BYTES);
        match large {
            Some(payload) => {
                let head = &bytes[..bytes.len() - payload.len()];
                StoredRecord { row: head.to_vec(), payload: Some(Chunks::from(payload)) }
            }
            None => StoredRecord { row: bytes.to_vec(), payload: None },
        }
    }

    /// The record, and its payload, which only it knows if it is large.
    ///
    /// # Errors
    /// For bytes that this program cannot have written.
    pub fn decode(&self) -> Result<(Record<'_>, BytesRef<'_>), RecordError> {
        let record = Record::decode(&self.row)?;
        let payload = self.payload.as_ref().map_or(BytesRef::Slice(record.payload), BytesRef::Chunks);
        Ok((record, payload))
    }
}

fn check_version(bytes: &[u8]) -> Result<(), RecordError> {
    match bytes.first() {
        None => Err(RecordError::Short),
        Some(&VERSION) => Ok(()),
        Some(0) => Err(RecordError::Damaged),
        Some(&version) => Err(RecordError::Newer(version)),
    }
}

/// What is known of a slot's records: the number of the last change that is in them, and their counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotMeta {
    /// The number of the last change that is in the records.
    pub sequence: u64,
    /// Keys.
    pub keys: u64,
    /// Keys that have an expiry.
    pub expiring: u64,
    /// The lengths of all keys together.
    pub key_bytes: u64,
    /// What all values hold together, by [`ValueSummary::bytes`].
    pub value_bytes: u64,
}

const META_BYTES: usize = 1 + 5 * 8;

impl SlotMeta {
    /// `version u8 | sequence | keys | expiring | key bytes | value bytes`, each a u64.
    pub fn encode(&self) -> [u8; META_BYTES] {
        let mut bytes = [VERSION; META_BYTES];
        let numbers = [self.sequence, self.keys, self.expiring, self.key_bytes, self.value_bytes];
        for (part, number) in bytes[1..].chunks_exact_mut(8).zip(numbers) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// # Errors
    /// For bytes that this program cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<SlotMeta, RecordError> {
        check_version(bytes)?;
        let (numbers, rest) = bytes[1..].as_chunks::<8>();
        let ([sequence, keys, expiring, key_bytes, value_bytes], []) = (numbers, rest) else {
            return Err(if numbers.len() < 5 { RecordError::Short } else { RecordError::Damaged });
        };
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        Ok(SlotMeta {
            sequence: number(sequence),
            keys: number(keys),
            expiring: number(expiring),
            key_bytes: number(key_bytes),
            value_bytes: number(value_bytes),
        })
    }
}

/// How the index of ages stands, while there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AgeIndex {
    /// Every record is in it. If not, it is being made, and a start makes it anew.
    pub is_complete: bool,
    /// How many bytes of files a byte of keys and values took when everything was compacted last; 0: not known.
    pub disk_bytes_a_byte: f64,
}

impl AgeIndex {
    const BYTES: usize = 1 + 8;

    /// `is complete u8 | disk bytes a byte f64`.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [u8::from(self.is_complete); Self::BYTES];
        bytes[1..].copy_from_slice(&self.disk_bytes_a_byte.to_le_bytes());
        bytes
    }

    /// # Errors
    /// For bytes that this program cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<AgeIndex, RecordError> {
        let (&[flag], rest) = bytes.split_first_chunk().ok_or(RecordError::Short)?;
        let ratio = f64::from_le_bytes(rest.try_into().map_err(|_| RecordError::Short)?);
        if flag > 1 || !ratio.is_finite() || ratio < 0.0 {
            return Err(RecordError::Damaged);
        }
        Ok(AgeIndex { is_complete: flag == 1, disk_bytes_a_byte: ratio })
    }
}

/// What is known of a record's value without reading it: what its slot's counts have of it, and what is to be deleted with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueSummary {
    /// Of data, wherever it lies.
    pub bytes: u64,
    /// The id of a large collection, whose leaves go with the record.
    pub collection: Option<u64>,
}

impl From<usize> for ValueSummary {
    /// Of a value that is whole in its record, of so many bytes.
    fn from(bytes: usize) -> ValueSummary {
        ValueSummary { bytes: bytes as u64, collection: None }
    }
}

/// What an index has under a key: [`index_key`] tells the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexValue {
    /// What the index tells of the record's value.
    pub value: ValueSummary,
    /// In the index of expiries, when the record was written (`None`: by a version that did not note it); in that of
    /// ages, when it expires, if it does.
    pub other_ms: Option<u64>,
}

impl IndexValue {
    /// `value bytes u32 | the other time u64, if there is one`; of a large collection
    /// `0 u32 | the other time u64, or 0 | collection u64 | value bytes u64`.
    pub fn encode(&self) -> SmallVec<[u8; 28]> {
        let mut bytes = SmallVec::new();
        match self.value.collection {
            None => {
                bytes.extend(u32::try_from(self.value.bytes).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend(self.other_ms.into_iter().flat_map(u64::to_le_bytes));
            }
            Some(collection) => {
                bytes.extend([0; 4]);
                let numbers = [self.other_ms.unwrap_or(0), collection, self.value.bytes];
                bytes.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
            }
        }
        bytes
    }

    /// `None`: no encoder of ours wrote it.
    pub fn decode(bytes: &[u8]) -> Option<IndexValue> {
        let (value_bytes, rest) = bytes.split_first_chunk()?;
        let (numbers, rest) = rest.as_chunks::<8>();
        let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let whole = ValueSummary::from(u32::from_le_bytes(*value_bytes) as usize);
        match (numbers, rest) {
            ([], []) => Some(IndexValue { value: whole, other_ms: None }),
            ([other], []) => Some(IndexValue { value: whole, other_ms: Some(number(other)) }),
            ([other, collection, bytes], []) => Some(IndexValue {
                value: ValueSummary { bytes: number(bytes), collection: Some(number(collection)) },
                other_ms: Some(number(other)).filter(|other_ms| *other_ms != 0),
            }),
            _ => None,
        }
    }
}

/// The key of a slot's counts: `'s' | database u8 | slot u16`.
pub fn slot_key(database: u8, slot: u16) -> [u8; 4] {
    let slot = slot.to_be_bytes();
    [b's', database, slot[0], slot[1]]
}

/// The slot that a key of counts is of.
pub fn slot_of_key(bytes: &[u8]) -> Option<(u8, u16)> {
    match *bytes {
        [b's', database, high, low] => Some((database, u16::from_be_bytes([high, low]))),
        _ => None,
    }
}

/// A key of the indexes of expiries and of ages: `database u8 | time u64 | the rest of the record's key`.
pub fn index_key(time_ms: u64, record_key: &[u8]) -> Vec<u8> {
    let (database, rest) = record_key.split_at(record_key.len().min(1));
    [database, &time_ms.to_be_bytes(), rest].concat()
}

/// The time and the record's key in a key of an index.
pub fn index_parts(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (&database, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*time), [&[database], rest].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            kind: u8, expiry_ms: Option<u64>, written_ms: u64, payload: Vec<u8>, numbers: [u64; 5], key: Vec<u8>,
            database: u8, slot: u16, hash: u64,
        ) {
            let long_key = key.len().is_multiple_of(2).then_some(&key[..]);
            let record = Record { kind, expiry_ms, written_ms, long_key, payload: &payload };
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
            let stored = StoredRecord::new(&bytes);
            prop_assert_eq!(stored.decode(), Ok((record, BytesRef::Slice(&payload))));
            bytes.resize(bytes.len() + LARGE_BYTES, 7);
            let large = [&payload[..], &[7; LARGE_BYTES]].concat();
            let stored = StoredRecord::new(&bytes);
            let (head, body) = stored.decode().unwrap();
            prop_assert_eq!(head, Record { payload: &[], ..record });
            prop_assert_eq!(body, BytesRef::Slice(&large));
            prop_assert!(body.slice().is_none());
            let [sequence, keys, expiring, key_bytes, value_bytes] = numbers;
            let meta = SlotMeta { sequence, keys, expiring, key_bytes, value_bytes };
            prop_assert_eq!(SlotMeta::decode(&meta.encode()), Ok(meta));
            let record_key = RecordKey::encoded(LongKeys::Digest, database, slot, hash, &key);
            let expected = RecordKey { database, slot, hash: (hash >> 32) as u32, key: &key };
            prop_assert_eq!(RecordKey::decode(&record_key), Some(expected));
            let index = AgeIndex { is_complete: kind > 7, disk_bytes_a_byte: f64::from(slot) / 7.0 };
            prop_assert_eq!(AgeIndex::decode(&index.encode()), Ok(index));
            for other_ms in [None, Some(written_ms.max(1))] {
                for value in [ValueSummary::from(payload.len()), ValueSummary { bytes: hash, collection: expiry_ms }] {
                    let bytes = if value.collection.is_some() { value.bytes } else { value.bytes.min(u32::MAX.into()) };
                    let index = IndexValue { value, other_ms };
                    let expected = IndexValue { value: ValueSummary { bytes, ..value }, other_ms };
                    prop_assert_eq!(IndexValue::decode(&index.encode()), Some(expected));
                }
            }
            prop_assert_eq!(slot_of_key(&slot_key(database, slot)), Some((database, slot)));
            prop_assert_eq!(index_parts(&index_key(written_ms, &record_key)), Some((written_ms, record_key)));
        }

        #[test]
        fn keys_sort_by_database_slot_hash_and_name(mut keys: Vec<(u8, u16, u32, Vec<u8>)>) {
            let encode = |(database, slot, hash, key): &(u8, u16, u32, Vec<u8>)| {
                RecordKey::encoded(LongKeys::Digest, *database, *slot, u64::from(*hash) << 32, key)
            };
            let mut encoded: Vec<_> = keys.iter().map(encode).collect();
            encoded.sort();
            keys.sort();
            prop_assert_eq!(encoded, keys.iter().map(encode).collect::<Vec<_>>());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = (Record::decode(&bytes), SlotMeta::decode(&bytes));
            let _ = (RecordKey::decode(&bytes), slot_of_key(&bytes), index_parts(&bytes));
            let _ = (AgeIndex::decode(&bytes), IndexValue::decode(&bytes));
        }
    }

    #[test]
    fn what_is_newer_is_told_from_what_is_damaged() {
        assert_eq!(Record::decode(&[]), Err(RecordError::Short));
        assert_eq!(Record::decode(&[0; 11]), Err(RecordError::Damaged));
        assert_eq!(Record::decode(&[1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]), Err(RecordError::Damaged));
        assert_eq!(Record::decode(&[1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), Err(RecordError::Short));
        assert_eq!(Record::decode(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(RecordError::Newer(2)));
        assert_eq!(Record::decode(&[1, 0]), Err(RecordError::Short));
        assert_eq!(Record::decode(&[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9]), Err(RecordError::Short));
        assert_eq!(SlotMeta::decode(&[3]), Err(RecordError::Newer(3)));
        assert_eq!(SlotMeta::decode(&[1; META_BYTES - 1]), Err(RecordError::Short));
        assert_eq!(SlotMeta::decode(&[1; META_BYTES + 1]), Err(RecordError::Damaged));
    }
}
