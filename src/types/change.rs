use super::{Value, string};
use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};
use crate::base::gather::Gather;

const APPEND: u8 = 1;
const SET_RANGE: u8 = 2;

/// A change of a value in place: commands make it, and the journal keeps it instead of the whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// APPEND to a string.
    Append(BytesRef<'a>),
    /// SETRANGE of a string, from an offset on.
    SetRange(u32, BytesRef<'a>),
}

impl<'a> Change<'a> {
    /// Does it, where `value` is of the type that it is for.
    pub fn apply(self, value: &mut Value) {
        let grown_bytes = match self {
            Change::Append(added) => value.data_bytes() + added.len(),
            Change::SetRange(offset, patch) => offset as usize + patch.len(),
        };
        if let Value::String(bytes) = value
            && grown_bytes >= LARGE_BYTES
        {
            *value = Value::Large(Chunks::from(&bytes[..]));
        }
        match (self, value) {
            (Change::Append(added), Value::String(bytes)) => {
                added.parts().for_each(|part| bytes.extend_from_slice(part))
            }
            (Change::SetRange(offset, patch), Value::String(bytes)) => {
                string::set_range(bytes, offset as usize, patch.beginning());
            }
            (Change::Append(added), Value::Large(chunks)) => chunks.append(added),
            (Change::SetRange(offset, patch), Value::Large(chunks)) => chunks.write_at(offset as usize, patch),
        }
    }

    /// A byte for what it is, its numbers, little-endian, and its bytes.
    pub fn encode(self, into: &mut Gather) {
        match self {
            Change::Append(added) => {
                into.bytes().push(APPEND);
                into.put(added);
            }
            Change::SetRange(offset, patch) => {
                into.bytes().push(SET_RANGE);
                into.bytes().extend_from_slice(&offset.to_le_bytes());
                into.put(patch);
            }
        }
    }

    /// `None`: the bytes are no change.
    pub fn decode(bytes: &'a [u8]) -> Option<Change<'a>> {
        match bytes.split_first()? {
            (&APPEND, added) => Some(Change::Append(BytesRef::Slice(added))),
            (&SET_RANGE, rest) => {
                let (offset, patch) = rest.split_first_chunk()?;
                Some(Change::SetRange(u32::from_le_bytes(*offset), BytesRef::Slice(patch)))
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
            for change in [Change::Append(bytes), Change::SetRange(7, bytes)] {
                let mut encoded = Gather::default();
                change.encode(&mut encoded);
                assert_eq!(Change::decode(&encoded.to_vec()), Some(change));
            }
        }
        for wrong in [&b""[..], b"\0", b"\xff", &[SET_RANGE, 1, 2, 3]] {
            assert_eq!(Change::decode(wrong), None);
        }
    }

    #[test]
    fn strings_grow_and_are_patched() {
        let mut value = Value::String(b"ab".to_vec());
        Change::Append(BytesRef::Slice(b"cd")).apply(&mut value);
        Change::SetRange(1, BytesRef::Slice(b"XY")).apply(&mut value);
        assert_eq!(value, Value::String(b"aXYd".to_vec()));
        Change::SetRange(LARGE_BYTES as u32 - 1, BytesRef::Slice(b"x")).apply(&mut value);
        let mut expected = b"aXYd".to_vec();
        expected.resize(LARGE_BYTES - 1, 0);
        expected.push(b'x');
        assert_eq!(value, Value::Large(Chunks::from(&expected[..])));
    }
}
