//! The bytes of keys and values in RocksDB. `docs/records.md` describes them for whoever reads them without this code.
//!
//! All encoders append to a buffer that the caller reuses; all decoders borrow, and answer any bytes without a panic.

use crate::base::slot::SLOTS;

/// The version this code writes, and the only one it reads.
const VERSION: u8 = 1;
const KEY_HEADER_BYTES: usize = 7;
const VALUE_HEADER_BYTES: usize = 3;
const HAS_EXPIRY: u8 = 1;
const HAS_WRITTEN: u8 = 2;
const MILLISECONDS_BYTES: usize = 8;
const WRITTEN_BYTES: usize = 6;
/// What a record has besides its payload, at most.
pub const RECORD_HEADER_BYTES_MAX: usize = VALUE_HEADER_BYTES + WRITTEN_BYTES + MILLISECONDS_BYTES;
/// The last moment that 48 bits of milliseconds hold: the year 10889.
pub const WRITTEN_MS_MAX: u64 = (1 << (8 * WRITTEN_BYTES)) - 1;

/// The type of a string's record. The keyspace gives out the numbers above it.
pub const STRING: u8 = 0;
/// Set in the type of a record whose elements lie in records of their own.
pub const HEADER: u8 = 0x80;

/// Where the order of the databases is kept.
pub const ORDER_KEY: &[u8] = b"order";
/// The databases' order: which number each of them is stored under.
pub type Order = [u8; 16];

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early, or hold what no encoder writes.
    #[error("a record is damaged")]
    Damaged,
    /// A later program wrote them.
    #[error("a record has format {0}, this program reads format {VERSION}")]
    NewerFormat(u8),
}

/// Where a record lies. The derived order is the order of the encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKey<'a> {
    pub database: u8,
    pub slot: u16,
    /// The top 32 bits of the key's hash. Their top 20 are the order of SCAN within the slot.
    pub hash: u32,
    pub key: &'a [u8],
}

impl<'a> RecordKey<'a> {
    /// `hash` is the whole 64-bit hash that places the key.
    #[inline]
    pub fn new(database: u8, slot: u16, hash: u64, key: &'a [u8]) -> RecordKey<'a> {
        RecordKey { database, slot, hash: (hash >> 32) as u32, key }
    }

    /// Appends the key's bytes to `into`.
    #[inline]
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.reserve(KEY_HEADER_BYTES + self.key.len());
        into.push(self.database);
        into.extend(self.slot.to_be_bytes());
        into.extend(self.hash.to_be_bytes());
        into.extend(self.key);
    }

    /// Reads what [`RecordKey::encode`] wrote.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<RecordKey<'a>> {
        let (&[database, s0, s1, h0, h1, h2, h3], key) = bytes.split_first_chunk::<KEY_HEADER_BYTES>()?;
        let slot = u16::from_be_bytes([s0, s1]);
        (slot < SLOTS).then_some(RecordKey { database, slot, hash: u32::from_be_bytes([h0, h1, h2, h3]), key })
    }
}

/// The bounds of what `database` holds, the second not within: no slot begins with the byte 0xff.
pub fn database_bounds(database: u8) -> ([u8; 1], [u8; 2]) {
    ([database], [database, 0xff])
}

/// The bounds of what `slot` holds from the hash `from_hash` on; the second is not within.
pub fn slot_bounds(database: u8, slot: u16, from_hash: u32) -> ([u8; KEY_HEADER_BYTES], [u8; 3]) {
    let ([s0, s1], [h0, h1, h2, h3]) = (slot.to_be_bytes(), from_hash.to_be_bytes());
    let [e0, e1] = slot.saturating_add(1).to_be_bytes();
    ([database, s0, s1, h0, h1, h2, h3], [database, e0, e1])
}

/// A key's state, its value as the types encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// [`STRING`], the number of another type, or one of them with [`HEADER`].
    pub kind: u8,
    pub expiry_ms: Option<u64>,
    /// When the merge round began that wrote it, 0 if nobody knows; no later than [`WRITTEN_MS_MAX`].
    pub written_ms: u64,
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Appends the record's bytes to `into`.
    #[inline]
    pub fn encode(&self, into: &mut Vec<u8>) {
        let written_ms = self.written_ms.min(WRITTEN_MS_MAX);
        let has_expiry = if self.expiry_ms.is_some() { HAS_EXPIRY } else { 0 };
        let has_written = if written_ms != 0 { HAS_WRITTEN } else { 0 };
        into.reserve(RECORD_HEADER_BYTES_MAX + self.payload.len());
        into.extend([VERSION, self.kind, has_expiry | has_written]);
        if written_ms != 0 {
            into.extend(&written_ms.to_le_bytes()[..WRITTEN_BYTES]);
        }
        if let Some(expiry_ms) = self.expiry_ms {
            into.extend(expiry_ms.to_le_bytes());
        }
        into.extend(self.payload);
    }

    /// Reads what [`Record::encode`] wrote. The payload is borrowed, so this is also how statistics read a record.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (&version, rest) = bytes.split_first().ok_or(RecordError::Damaged)?;
        check_version(version)?;
        let (&[kind, flags], mut rest) = rest.split_first_chunk().ok_or(RecordError::Damaged)?;
        if flags & !(HAS_EXPIRY | HAS_WRITTEN) != 0 {
            return Err(RecordError::Damaged);
        }
        let mut written_ms = 0;
        if flags & HAS_WRITTEN != 0 {
            let (&[b0, b1, b2, b3, b4, b5], after) = rest.split_first_chunk().ok_or(RecordError::Damaged)?;
            written_ms = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0]);
            rest = after;
        }
        let mut expiry_ms = None;
        if flags & HAS_EXPIRY != 0 {
            let (bytes, after) = rest.split_first_chunk().ok_or(RecordError::Damaged)?;
            expiry_ms = Some(u64::from_le_bytes(*bytes));
            rest = after;
        }
        Ok(Record { kind, expiry_ms, written_ms, payload: rest })
    }
}

/// What is known of a slot without reading its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotMeta {
    /// The journal's number of the last change that the records hold.
    pub sequence: u64,
    pub keys: u64,
    /// How many of the keys have an expiry.
    pub expiring: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
}

impl SlotMeta {
    const BYTES: usize = 1 + 5 * 8;

    /// The value's bytes.
    pub fn encode(&self) -> [u8; SlotMeta::BYTES] {
        let mut bytes = [VERSION; SlotMeta::BYTES];
        let fields = [self.sequence, self.keys, self.expiring, self.key_bytes, self.value_bytes];
        for (field, place) in fields.iter().zip(bytes[1..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`SlotMeta::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<SlotMeta, RecordError> {
        let (&version, rest) = bytes.split_first().ok_or(RecordError::Damaged)?;
        check_version(version)?;
        let fields: &[u8; SlotMeta::BYTES - 1] = rest.try_into().map_err(|_| RecordError::Damaged)?;
        let field = |index: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&fields[index * 8..][..8]);
            u64::from_le_bytes(bytes)
        };
        Ok(SlotMeta {
            sequence: field(0),
            keys: field(1),
            expiring: field(2),
            key_bytes: field(3),
            value_bytes: field(4),
        })
    }

    /// Where the meta of a slot is kept.
    pub fn key(database: u8, slot: u16) -> [u8; 4] {
        let [s0, s1] = slot.to_be_bytes();
        [b's', database, s0, s1]
    }

    /// The database and the slot of a key that [`SlotMeta::key`] made.
    pub fn decode_key(bytes: &[u8]) -> Option<(u8, u16)> {
        let &[b's', database, s0, s1] = bytes else { return None };
        let slot = u16::from_be_bytes([s0, s1]);
        (slot < SLOTS).then_some((database, slot))
    }
}

/// A key of the expiry index (when the record expires) or of the age index (when it was written): time order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedKey<'a> {
    pub at_ms: u64,
    pub record: RecordKey<'a>,
}

impl<'a> TimedKey<'a> {
    /// Appends the key's bytes to `into`.
    #[inline]
    pub fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.at_ms.to_be_bytes());
        self.record.encode(into);
    }

    /// Reads what [`TimedKey::encode`] wrote.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Option<TimedKey<'a>> {
        let (at_ms, record) = bytes.split_first_chunk()?;
        Some(TimedKey { at_ms: u64::from_be_bytes(*at_ms), record: RecordKey::decode(record)? })
    }
}

/// The value of an entry of the expiry index: the length of the record's payload.
pub fn decode_length(bytes: &[u8]) -> Result<u32, RecordError> {
    bytes.try_into().map(u32::from_le_bytes).map_err(|_| RecordError::Damaged)
}

/// Reads the order of the databases: each of 0 to 15, once.
pub fn decode_order(bytes: &[u8]) -> Result<Order, RecordError> {
    let order: Order = bytes.try_into().map_err(|_| RecordError::Damaged)?;
    let seen = order.iter().fold(0_u32, |seen, &database| seen | 1_u32.checked_shl(database.into()).unwrap_or(0));
    if seen == 0xffff { Ok(order) } else { Err(RecordError::Damaged) }
}

fn check_version(version: u8) -> Result<(), RecordError> {
    match version {
        VERSION => Ok(()),
        0 => Err(RecordError::Damaged),
        newer => Err(RecordError::NewerFormat(newer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(key: &RecordKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.encode(&mut bytes);
        bytes
    }

    /// Few different values of each part, so that equal ones meet.
    fn parts() -> impl Strategy<Value = (u8, u16, u32, Vec<u8>)> {
        let hash = prop_oneof![0..3_u32, any::<u32>()];
        let key = prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..20);
        (0..3_u8, prop_oneof![0..3_u16, 0..SLOTS], hash, key)
    }

    #[test]
    fn the_bytes_are_those_of_the_documentation() {
        let key = RecordKey::new(3, 0x1234, 0x8765_4321_0000_0001, b"key");
        assert_eq!(encoded(&key), b"\x03\x12\x34\x87\x65\x43\x21key");
        let mut bytes = Vec::new();
        TimedKey { at_ms: 0x0102, record: key }.encode(&mut bytes);
        assert_eq!(bytes, b"\0\0\0\0\0\0\x01\x02\x03\x12\x34\x87\x65\x43\x21key");
        bytes.clear();
        Record { kind: STRING, expiry_ms: None, written_ms: 0, payload: b"v" }.encode(&mut bytes);
        assert_eq!(bytes, b"\x01\0\0v");
        bytes.clear();
        Record { kind: 5, expiry_ms: Some(0x0102), written_ms: 0x0304, payload: b"v" }.encode(&mut bytes);
        assert_eq!(bytes, b"\x01\x05\x03\x04\x03\0\0\0\0\x02\x01\0\0\0\0\0\0v");
        assert_eq!(SlotMeta::key(2, 0x0102), *b"s\x02\x01\x02");
        let meta = SlotMeta { sequence: 1, keys: 2, expiring: 3, key_bytes: 4, value_bytes: 5 };
        let mut expected = vec![1];
        for field in 1..=5_u8 {
            expected.extend([field, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(meta.encode()[..], expected);
    }

    #[test]
    fn versions_and_damage_are_told_apart() {
        assert_eq!(Record::decode(b""), Err(RecordError::Damaged));
        assert_eq!(Record::decode(b"\x01\0"), Err(RecordError::Damaged));
        assert_eq!(Record::decode(b"\0\0\0"), Err(RecordError::Damaged));
        assert_eq!(Record::decode(b"\x01\0\x04"), Err(RecordError::Damaged));
        assert_eq!(Record::decode(b"\x01\0\x01\0\0\0\0\0\0\0"), Err(RecordError::Damaged));
        assert_eq!(Record::decode(b"\x02"), Err(RecordError::NewerFormat(2)));
        assert_eq!(SlotMeta::decode(&[2]), Err(RecordError::NewerFormat(2)));
        assert_eq!(SlotMeta::decode(&[1; 40]), Err(RecordError::Damaged));
        assert_eq!(decode_length(&[1, 2, 3]), Err(RecordError::Damaged));
        assert_eq!(RecordError::NewerFormat(2).to_string(), "a record has format 2, this program reads format 1");
    }

    #[test]
    fn an_order_is_a_permutation() {
        let order: Order = std::array::from_fn(|index| 15 - index as u8);
        assert_eq!(decode_order(&order), Ok(order));
        let (mut twice, mut beyond) = (order, order);
        twice[0] = twice[1];
        beyond[0] = 16;
        for wrong in [&twice[..], &beyond, &order[1..], &[]] {
            assert_eq!(decode_order(wrong), Err(RecordError::Damaged), "{wrong:?}");
        }
    }

    #[test]
    fn no_slot_is_outside_of_its_database() {
        for database in [0, 15, 255] {
            let (from, to) = database_bounds(database);
            for slot in [0, SLOTS - 1] {
                let key = encoded(&RecordKey { database, slot, hash: u32::MAX, key: &[0xff; 9] });
                assert!(from[..] < key[..] && key[..] < to[..], "{key:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn keys_come_back((database, slot, hash, key) in parts(), at_ms in any::<u64>()) {
            let key = RecordKey { database, slot, hash, key: &key };
            let mut bytes = encoded(&key);
            prop_assert_eq!(RecordKey::decode(&bytes), Some(key));
            bytes.clear();
            TimedKey { at_ms, record: key }.encode(&mut bytes);
            prop_assert_eq!(TimedKey::decode(&bytes), Some(TimedKey { at_ms, record: key }));
            let meta = SlotMeta::key(database, slot);
            prop_assert_eq!(SlotMeta::decode_key(&meta), Some((database, slot)));
        }

        #[test]
        fn bytes_are_ordered_as_keys_are(one in parts(), other in parts(), times in (0..3_u64, 0..3_u64)) {
            let one = RecordKey { database: one.0, slot: one.1, hash: one.2, key: &one.3 };
            let other = RecordKey { database: other.0, slot: other.1, hash: other.2, key: &other.3 };
            prop_assert_eq!(encoded(&one).cmp(&encoded(&other)), one.cmp(&other));
            let timed = [TimedKey { at_ms: times.0, record: one }, TimedKey { at_ms: times.1, record: other }];
            let bytes = timed.map(|key| {
                let mut bytes = Vec::new();
                key.encode(&mut bytes);
                bytes
            });
            prop_assert_eq!(bytes[0].cmp(&bytes[1]), timed[0].cmp(&timed[1]));
        }

        #[test]
        fn bounds_hold_exactly_a_slot(parts in parts(), database in 0..3_u8, slot in 0..3_u16, hash in 0..3_u32) {
            let key = RecordKey { database: parts.0, slot: parts.1, hash: parts.2, key: &parts.3 };
            let bytes = encoded(&key);
            let (from, to) = slot_bounds(database, slot, hash);
            let within = key.database == database && key.slot == slot && key.hash >= hash;
            prop_assert_eq!(from[..] <= bytes[..] && bytes[..] < to[..], within);
        }

        #[test]
        fn records_come_back(
            kind in any::<u8>(),
            expiry_ms in any::<Option<u64>>(),
            written_ms in 0..=WRITTEN_MS_MAX,
            payload in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let record = Record { kind, expiry_ms, written_ms, payload: &payload };
            let mut bytes = vec![];
            record.encode(&mut bytes);
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn metas_come_back(fields in any::<[u64; 5]>()) {
            let [sequence, keys, expiring, key_bytes, value_bytes] = fields;
            let meta = SlotMeta { sequence, keys, expiring, key_bytes, value_bytes };
            prop_assert_eq!(SlotMeta::decode(&meta.encode()), Ok(meta));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..60)) {
            if let Ok(record) = Record::decode(&bytes) {
                let mut again = Vec::new();
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&again), Ok(record));
            }
            if let Some(key) = TimedKey::decode(&bytes) {
                let mut again = Vec::new();
                key.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
