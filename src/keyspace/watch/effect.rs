//! What the journal keeps of a change: its effect, so that a replay needs neither the time nor the command.
//!
//! ```text
//! length u32 of what follows | operation u8 | database u8 | slot u16 | sequence u64 | key length u32 | key | the rest
//! ```
//! All numbers are little-endian. The rest is, by operation: 1 (put) type u8, has expiry u8, expiry u64, value; 2 (delete)
//! nothing; 3 (expire) has expiry u8, expiry u64; 4 (modify) the change as its type writes it.

use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;
use crate::types::{Change, Encoded};

const PUT: u8 = 1;
const DELETE: u8 = 2;
const EXPIRE: u8 = 3;
const MODIFY: u8 = 4;

/// The number of a change, and where it belongs: databases are counted as they lie on disk, whatever SWAPDB calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId {
    /// The database as it lies on disk.
    pub database: u8,
    /// The slot of the key.
    pub slot: u16,
    /// Of the slot's changes; no two that anybody was told of have the same, whatever the process ended by.
    pub sequence: u64,
}

/// What a change does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key is this now.
    Put {
        /// As a record keeps it.
        value: Encoded<'a>,
        /// When the key ceases to exist, in Unix milliseconds; `None`: never.
        expiry_ms: Option<u64>,
    },
    /// A client has deleted it.
    Delete,
    /// It has this expiry now, or none.
    Expire(Option<u64>),
    /// Its value has changed in place.
    Modify(Change<'a>),
    /// Its expiry has passed, and somebody has noticed. The journal does not keep that: a replay comes to the same by itself.
    Expired,
    /// It had to make room, in memory or on disk. To the journal that is a delete.
    Evicted,
}

impl<'a> Effect<'a> {
    /// The effect of a short string that was set, with an expiry in Unix milliseconds or none.
    #[inline]
    pub fn set_string(bytes: &'a [u8], expiry_ms: Option<u64>) -> Effect<'a> {
        Effect::Put { value: Encoded::inline(bytes), expiry_ms }
    }

    /// Appends the effect on `key` to `into`.
    #[inline]
    pub fn encode(self, id: ChangeId, key: &[u8], into: &mut Gather) {
        let (start, bytes_before) = (into.own().len(), into.len());
        let operation = match self {
            Effect::Put { .. } => PUT,
            Effect::Delete | Effect::Expired | Effect::Evicted => DELETE,
            Effect::Expire(_) => EXPIRE,
            Effect::Modify(_) => MODIFY,
        };
        let mut head = [0; 20];
        head[4] = operation;
        head[5] = id.database;
        head[6..8].copy_from_slice(&id.slot.to_le_bytes());
        head[8..16].copy_from_slice(&id.sequence.to_le_bytes());
        head[16..].copy_from_slice(&(key.len() as u32).to_le_bytes());
        into.bytes().extend_from_slice(&head);
        into.bytes().extend_from_slice(key);
        match self {
            Effect::Put { value, expiry_ms } => {
                into.bytes().push(value.kind());
                encode_expiry(expiry_ms, into.bytes());
                value.write(into);
            }
            Effect::Delete | Effect::Expired | Effect::Evicted => {}
            Effect::Expire(expiry_ms) => encode_expiry(expiry_ms, into.bytes()),
            Effect::Modify(change) => change.encode(into),
        }
        let length = (into.len() - bytes_before - 4) as u32;
        into.bytes()[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads the next effect, its id and its key, and moves `bytes` behind it. `None`: what is there is none.
    pub fn decode(bytes: &mut &'a [u8]) -> Option<(ChangeId, &'a [u8], Effect<'a>)> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (effect, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *bytes = rest;
        let (&[operation, database], effect) = effect.split_first_chunk()?;
        let (slot, effect) = effect.split_first_chunk()?;
        let (sequence, effect) = effect.split_first_chunk()?;
        let (key_bytes, effect) = effect.split_first_chunk()?;
        let (key, rest) = effect.split_at_checked(u32::from_le_bytes(*key_bytes) as usize)?;
        let id = ChangeId { database, slot: u16::from_le_bytes(*slot), sequence: u64::from_le_bytes(*sequence) };
        let effect = match operation {
            PUT => {
                let (&kind, rest) = rest.split_first()?;
                let (expiry_ms, payload) = decode_expiry(rest)?;
                Effect::Put { value: Encoded::read(kind, BytesRef::Slice(payload)), expiry_ms }
            }
            DELETE => Effect::Delete,
            EXPIRE => Effect::Expire(decode_expiry(rest)?.0),
            MODIFY => Effect::Modify(Change::decode(rest)?),
            _ => return None,
        };
        Some((id, key, effect))
    }
}

#[inline]
fn encode_expiry(expiry_ms: Option<u64>, into: &mut Vec<u8>) {
    let mut bytes = [0; 9];
    bytes[0] = u8::from(expiry_ms.is_some());
    bytes[1..].copy_from_slice(&expiry_ms.unwrap_or(0).to_le_bytes());
    into.extend_from_slice(&bytes);
}

fn decode_expiry(bytes: &[u8]) -> Option<(Option<u64>, &[u8])> {
    let (&flag, rest) = bytes.split_first()?;
    let (expiry_ms, rest) = rest.split_first_chunk()?;
    Some(((flag != 0).then_some(u64::from_le_bytes(*expiry_ms)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chunks::{Chunks, LARGE_BYTES};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn effects_are_read_as_they_were_written(
            database in 0u8..16, slot in 0u16..16384, sequence: u64, key: Vec<u8>, payload: Vec<u8>, expiry_ms: Option<u64>,
        ) {
            let large = Chunks::from(&[7; LARGE_BYTES + 9][..]);
            let effects = [
                Effect::Put { value: Encoded::read(7, BytesRef::Slice(&payload)), expiry_ms },
                Effect::Delete,
                Effect::Expire(expiry_ms),
                Effect::Modify(Change::append(BytesRef::Slice(&payload))),
                Effect::Modify(Change::set_range(9, BytesRef::Slice(&payload))),
                Effect::Modify(Change::append(BytesRef::Chunks(&large))),
                Effect::Put { value: Encoded::read(7, BytesRef::Chunks(&large)), expiry_ms },
            ];
            let id = ChangeId { database, slot, sequence };
            let mut bytes = Gather::default();
            for effect in effects {
                effect.encode(id, &key, &mut bytes);
            }
            let bytes = bytes.to_vec();
            let mut rest = &bytes[..];
            for effect in effects {
                prop_assert_eq!(Effect::decode(&mut rest), Some((id, &key[..], effect)));
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn garbage_is_no_effect_and_no_panic(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while Effect::decode(&mut rest).is_some() {}
        }
    }
}
