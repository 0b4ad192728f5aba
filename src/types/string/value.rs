//! A string that does not lie inside its entry, and what changes one in place.

use super::{RAW, set_range};
use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};
use crate::base::gather::Gather;
use crate::types::data_type::{DataChange, DataType};

const APPEND: u8 = 1;
const SET_RANGE: u8 = 2;

/// A string that APPEND, SETRANGE and the like have touched, or a large one, however it came.
#[derive(Clone, Debug, PartialEq)]
pub enum StringValue {
    /// A short one, in one piece.
    Row(Vec<u8>),
    /// Of [`LARGE_BYTES`] or more.
    Large(Chunks),
}

impl StringValue {
    /// The bytes, whatever they lie in.
    pub fn bytes(&self) -> BytesRef<'_> {
        match self {
            StringValue::Row(bytes) => BytesRef::Slice(bytes),
            StringValue::Large(chunks) => BytesRef::Chunks(chunks),
        }
    }
}

impl From<Vec<u8>> for StringValue {
    /// Of a short string.
    fn from(bytes: Vec<u8>) -> StringValue {
        StringValue::Row(bytes)
    }
}

impl DataType for StringValue {
    const RECORD_KIND: u8 = 0;
    const NAME: &'static str = "string";
    const IS_WHOLE_IN_RECORD: bool = true;
    type Change<'c> = StringChange<'c>;

    fn empty() -> StringValue {
        Vec::new().into()
    }

    fn encoding(&self) -> &'static str {
        RAW
    }

    fn data_bytes(&self) -> usize {
        self.bytes().len()
    }

    fn allocated_bytes(&self) -> usize {
        match self {
            StringValue::Row(bytes) => bytes.capacity(),
            StringValue::Large(chunks) => chunks.memory_bytes(),
        }
    }

    fn encoded_bytes(&self) -> usize {
        self.data_bytes()
    }

    fn encode(&self, into: &mut Gather) {
        into.put(self.bytes());
    }

    fn decode(payload: BytesRef<'_>) -> Option<StringValue> {
        Some(match payload.len() {
            ..LARGE_BYTES => StringValue::Row(payload.to_vec()),
            _ => StringValue::Large(payload.to_chunks()),
        })
    }

    fn apply(&mut self, change: StringChange<'_>) {
        let grown_bytes = match change {
            StringChange::Append(added) => self.data_bytes() + added.len(),
            StringChange::SetRange(offset, patch) => offset as usize + patch.len(),
        };
        if let StringValue::Row(bytes) = self
            && grown_bytes >= LARGE_BYTES
        {
            *self = StringValue::Large(Chunks::from(&bytes[..]));
        }
        match (change, self) {
            (StringChange::Append(added), StringValue::Row(bytes)) => {
                added.parts().for_each(|part| bytes.extend_from_slice(part))
            }
            (StringChange::SetRange(offset, patch), StringValue::Row(bytes)) => {
                set_range(bytes, offset as usize, patch.beginning());
            }
            (StringChange::Append(added), StringValue::Large(chunks)) => chunks.append(added),
            (StringChange::SetRange(offset, patch), StringValue::Large(chunks)) => {
                chunks.write_at(offset as usize, patch)
            }
        }
    }
}

/// A change of a string in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringChange<'a> {
    /// APPEND.
    Append(BytesRef<'a>),
    /// SETRANGE, from an offset on.
    SetRange(u32, BytesRef<'a>),
}

impl<'a> DataChange<'a> for StringChange<'a> {
    /// A byte for what it is, its numbers, little-endian, and its bytes.
    fn encode(self, into: &mut Gather) {
        match self {
            StringChange::Append(added) => {
                into.bytes().push(APPEND);
                into.put(added);
            }
            StringChange::SetRange(offset, patch) => {
                into.bytes().push(SET_RANGE);
                into.bytes().extend_from_slice(&offset.to_le_bytes());
                into.put(patch);
            }
        }
    }

    fn decode(bytes: &'a [u8]) -> Option<StringChange<'a>> {
        match bytes.split_first()? {
            (&APPEND, added) => Some(StringChange::Append(BytesRef::Slice(added))),
            (&SET_RANGE, rest) => {
                let (offset, patch) = rest.split_first_chunk()?;
                Some(StringChange::SetRange(u32::from_le_bytes(*offset), BytesRef::Slice(patch)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        let large = Chunks::from(&[b'l'; LARGE_BYTES][..]);
        let short = [&b""[..], b"abc"].map(BytesRef::Slice);
        for bytes in short.into_iter().chain([BytesRef::Chunks(&large)]) {
            for change in [StringChange::Append(bytes), StringChange::SetRange(7, bytes)] {
                let mut encoded = Gather::default();
                change.encode(&mut encoded);
                assert_eq!(StringChange::decode(&encoded.to_vec()), Some(change));
            }
        }
        for wrong in [&b""[..], b"\0", b"\xff", &[SET_RANGE, 1, 2, 3]] {
            assert_eq!(StringChange::decode(wrong), None);
        }
    }

    #[test]
    fn strings_grow_and_are_patched() {
        let mut value = StringValue::from(b"ab".to_vec());
        value.apply(StringChange::Append(BytesRef::Slice(b"cd")));
        value.apply(StringChange::SetRange(1, BytesRef::Slice(b"XY")));
        assert_eq!(value, StringValue::Row(b"aXYd".to_vec()));
        value.apply(StringChange::SetRange(LARGE_BYTES as u32 - 1, BytesRef::Slice(b"x")));
        let mut expected = b"aXYd".to_vec();
        expected.resize(LARGE_BYTES - 1, 0);
        expected.push(b'x');
        assert_eq!(value, StringValue::Large(Chunks::from(&expected[..])));
    }

    /// Large ones by reference: what is encoded has nothing of its own then.
    #[test]
    fn values_are_read_as_they_were_written() {
        for length in [0, 1, 4096, LARGE_BYTES - 1, LARGE_BYTES, 3 * LARGE_BYTES + 1] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let value = StringValue::decode(BytesRef::Slice(&bytes)).expect("a string");
            let mut encoded = Gather::default();
            value.encode(&mut encoded);
            assert_eq!((encoded.len(), value.data_bytes()), (value.encoded_bytes(), length));
            assert_eq!(encoded.own().len(), if length < LARGE_BYTES { length } else { 0 });
            assert!(encoded.to_vec() == bytes);
            assert_eq!(StringValue::decode(value.bytes()), Some(value.clone()));
            assert_eq!(matches!(value, StringValue::Large(_)), length >= LARGE_BYTES);
        }
    }
}
