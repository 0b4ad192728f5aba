use super::{Value, string};

const APPEND: u8 = 1;
const SET_RANGE: u8 = 2;

/// A change of a value in place: commands make it, and the journal keeps it instead of the whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// APPEND to a string.
    Append(&'a [u8]),
    /// SETRANGE of a string, from an offset on.
    SetRange(u32, &'a [u8]),
}

impl<'a> Change<'a> {
    /// Does it, where `value` is of the type that it is for.
    pub fn apply(self, value: &mut Value) {
        match (self, value) {
            (Change::Append(added), Value::String(bytes)) => bytes.extend_from_slice(added),
            (Change::SetRange(offset, patch), Value::String(bytes)) => {
                string::set_range(bytes, offset as usize, patch);
            }
        }
    }

    /// A byte for what it is, its numbers, little-endian, and its bytes.
    pub fn encode(self, into: &mut Vec<u8>) {
        match self {
            Change::Append(added) => {
                into.push(APPEND);
                into.extend_from_slice(added);
            }
            Change::SetRange(offset, patch) => {
                into.push(SET_RANGE);
                into.extend_from_slice(&offset.to_le_bytes());
                into.extend_from_slice(patch);
            }
        }
    }

    /// `None`: the bytes are no change.
    pub fn decode(bytes: &'a [u8]) -> Option<Change<'a>> {
        match bytes.split_first()? {
            (&APPEND, added) => Some(Change::Append(added)),
            (&SET_RANGE, rest) => {
                let (offset, patch) = rest.split_first_chunk()?;
                Some(Change::SetRange(u32::from_le_bytes(*offset), patch))
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
        for change in [Change::Append(b""), Change::Append(b"abc"), Change::SetRange(7, b"x"), Change::SetRange(0, b"")]
        {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            assert_eq!(Change::decode(&bytes), Some(change));
        }
        for wrong in [&b""[..], b"\0", b"\xff", &[SET_RANGE, 1, 2, 3]] {
            assert_eq!(Change::decode(wrong), None);
        }
    }

    #[test]
    fn strings_grow_and_are_patched() {
        let mut value = Value::String(b"ab".to_vec());
        Change::Append(b"cd").apply(&mut value);
        Change::SetRange(1, b"XY").apply(&mut value);
        assert_eq!(value, Value::String(b"aXYd".to_vec()));
    }
}
