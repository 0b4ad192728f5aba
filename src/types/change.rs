//! A change of any type.

use super::Value;
use super::data_type::{DataChange, DataType};
use super::string::StringChange;
use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;

/// In the first byte of a change: the rest of that byte is the record kind of the type that it is for, and the change follows. Without
/// it, all of the bytes are a string's.
const OF_TYPE: u8 = 0x80;

/// A change of a value in place: commands make it, and the journal keeps it instead of the whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Of a string.
    String(StringChange<'a>),
}

impl<'a> Change<'a> {
    /// APPEND to a string.
    pub fn append(added: BytesRef<'a>) -> Change<'a> {
        Change::String(StringChange::Append(added))
    }

    /// SETRANGE of a string, from an offset on.
    pub fn set_range(offset: u32, patch: BytesRef<'a>) -> Change<'a> {
        Change::String(StringChange::SetRange(offset, patch))
    }

    /// Does it, where `value` is of the type that it is for.
    pub fn apply(self, value: &mut Value) {
        match (self, value) {
            (Change::String(change), Value::String(string)) => string.apply(change),
        }
    }

    /// Appends it as the journal keeps it, large parts by reference.
    pub fn encode(self, into: &mut Gather) {
        match self {
            Change::String(change) => change.encode(into),
        }
    }

    /// `None`: the bytes are no change, or of a type that is not known.
    pub fn decode(bytes: &'a [u8]) -> Option<Change<'a>> {
        match bytes.first()? & OF_TYPE {
            0 => StringChange::decode(bytes).map(Change::String),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_for_the_type_that_it_is_of() {
        for change in [Change::append(BytesRef::Slice(b"abc")), Change::set_range(7, BytesRef::Slice(b""))] {
            let mut encoded = Gather::default();
            change.encode(&mut encoded);
            let bytes = encoded.to_vec();
            assert!(bytes[0] < OF_TYPE, "as it was before there was another type");
            assert_eq!(Change::decode(&bytes), Some(change));
            for kind in 0..OF_TYPE {
                assert_eq!(Change::decode(&[&[OF_TYPE | kind], &bytes[..]].concat()), None, "no type has these");
            }
        }
        assert_eq!(Change::decode(b""), None);
    }
}
