//! The forms in which a value comes and goes: to and from an entry, a record, the journal.
//!
//! What lies inside an entry is the payload of a record as it is: so what is read and written most passes with one copy.

use super::Value;
use super::data_type::DataType;
use super::string::{self, StringValue};
use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::base::gather::Gather;

/// What an entry's value is made from.
pub enum Content<'a> {
    /// A short string, stored inside.
    Inline(&'a [u8]),
    /// Any other value.
    Boxed(Box<Value>),
}

impl<'a> Content<'a> {
    /// The value of a record; `None`: of a type that is not known, or its encoder did not write it.
    pub fn from_record(kind: u8, payload: BytesRef<'a>) -> Option<Content<'a>> {
        match payload {
            BytesRef::Slice(bytes) if is_inline(kind, bytes) => Some(Content::Inline(bytes)),
            _ => Value::decode(kind, payload).map(|value| Content::Boxed(Box::new(value))),
        }
    }

    /// A value of the type without data; `None`: no type is known by that number.
    pub fn empty(kind: u8) -> Option<Content<'static>> {
        match is_inline(kind, &[]) {
            true => Some(Content::Inline(&[])),
            false => Value::empty(kind).map(|value| Content::Boxed(Box::new(value))),
        }
    }
}

/// Whether a record's payload lies inside an entry as it is.
fn is_inline(kind: u8, payload: &[u8]) -> bool {
    kind == StringValue::RECORD_KIND && payload.len() < LARGE_BYTES
}

/// A value without a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    /// A short string, which will lie inside its entry.
    Inline(Vec<u8>),
    /// Any other value.
    Boxed(Box<Value>),
}

impl Owned {
    /// The value that a record of that type keeps as `payload`; `None`: no type is known by that number, or its encoder did not
    /// write these bytes.
    pub fn from_record(kind: u8, payload: BytesRef<'_>) -> Option<Owned> {
        Content::from_record(kind, payload).map(|content| match content {
            Content::Inline(bytes) => Owned::Inline(bytes.to_vec()),
            Content::Boxed(value) => Owned::Boxed(value),
        })
    }

    /// The bytes, if it is a string.
    pub fn bytes(&self) -> Option<BytesRef<'_>> {
        match self {
            Owned::Inline(bytes) => Some(BytesRef::Slice(bytes)),
            Owned::Boxed(value) => value.string(),
        }
    }

    /// A string as it is set.
    pub fn string(bytes: BytesRef<'_>) -> Owned {
        if bytes.len() < LARGE_BYTES {
            Owned::Inline(bytes.to_vec())
        } else {
            Owned::Boxed(Box::new(Value::String(StringValue::Large(bytes.to_chunks()))))
        }
    }
}

/// A value as a record or the journal keeps it: its type's number, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    kind: u8,
    payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Payload<'a> {
    /// As they are.
    Bytes(BytesRef<'a>),
    /// As the value's type writes them.
    Value(&'a Value),
}

impl<'a> Encoded<'a> {
    /// Of what lies inside an entry.
    #[inline]
    pub fn inline(bytes: &'a [u8]) -> Encoded<'a> {
        Encoded::read(StringValue::RECORD_KIND, BytesRef::Slice(bytes))
    }

    /// What was read from a record or the journal, whether its type is known or not.
    #[inline]
    pub fn read(kind: u8, payload: BytesRef<'a>) -> Encoded<'a> {
        Encoded { kind, payload: Payload::Bytes(payload) }
    }

    /// What the record tells of its type.
    #[inline]
    pub fn kind(self) -> u8 {
        self.kind
    }

    /// How many bytes it is.
    pub fn len(self) -> usize {
        match self.payload {
            Payload::Bytes(bytes) => bytes.len(),
            Payload::Value(value) => value.encoded_bytes(),
        }
    }

    /// Whether no bytes are kept of it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name that TYPE gives to it; `None`: no type is known by its number.
    pub fn type_name(self) -> Option<&'static str> {
        match self.payload {
            Payload::Value(value) => Some(value.type_name()),
            Payload::Bytes(_) if self.kind == StringValue::RECORD_KIND => Some(StringValue::NAME),
            Payload::Bytes(_) => None,
        }
    }

    /// The name that OBJECT ENCODING gives to what lies in an entry so.
    pub fn encoding(self) -> &'static str {
        match self.payload {
            Payload::Value(value) => value.encoding(),
            Payload::Bytes(bytes) => bytes.slice().map_or(string::RAW, string::encoding),
        }
    }

    /// Appends the bytes, piece by piece, large ones by reference.
    #[inline]
    pub fn write(self, into: &mut Gather) {
        match self.payload {
            Payload::Bytes(bytes) => into.put(bytes),
            Payload::Value(value) => value.encode(into),
        }
    }

    /// The value that it is; `None`: no type is known by its number, or its encoder did not write these bytes.
    pub fn decode(self) -> Option<Owned> {
        match self.payload {
            Payload::Bytes(bytes) => Owned::from_record(self.kind, bytes),
            Payload::Value(value) => Some(Owned::Boxed(Box::new(value.clone()))),
        }
    }
}

impl<'a> From<&'a Value> for Encoded<'a> {
    #[inline]
    fn from(value: &'a Value) -> Encoded<'a> {
        Encoded { kind: value.record_kind(), payload: Payload::Value(value) }
    }
}

impl PartialEq for Encoded<'_> {
    fn eq(&self, other: &Self) -> bool {
        let bytes = |encoded: &Self| {
            let mut bytes = Gather::default();
            encoded.write(&mut bytes);
            bytes.to_vec()
        };
        self.kind == other.kind && self.len() == other.len() && bytes(self) == bytes(other)
    }
}

impl Eq for Encoded<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Change;

    /// Every form of a value comes back from what a record keeps of it, in whatever form it is read.
    #[test]
    fn a_value_is_the_same_by_every_way() {
        for length in [0, 3, LARGE_BYTES - 1, LARGE_BYTES, 2 * LARGE_BYTES + 5] {
            let bytes = vec![b'v'; length];
            let owned = Owned::string(BytesRef::Slice(&bytes));
            let encoded = match &owned {
                Owned::Inline(bytes) => Encoded::inline(bytes),
                Owned::Boxed(value) => Encoded::from(&**value),
            };
            assert_eq!((encoded.kind(), encoded.len(), encoded.type_name()), (0, length, Some("string")));
            assert_eq!(encoded.is_empty(), length == 0);
            let mut record = Gather::default();
            record.bytes().push(b'>');
            encoded.write(&mut record);
            assert!(record.to_vec() == [b">", &bytes[..]].concat());
            assert_eq!(record.plain().is_some(), length < LARGE_BYTES, "large ones are not copied");
            let read = Encoded::read(0, BytesRef::Slice(&bytes));
            assert!(read == encoded && read.decode() == Some(owned.clone()) && encoded.decode() == Some(owned.clone()));
            assert!(Owned::from_record(0, BytesRef::Chunks(&BytesRef::Slice(&bytes).to_chunks())).is_some());
            let content = Content::from_record(0, BytesRef::Slice(&bytes)).expect("a string");
            assert_eq!(matches!(content, Content::Inline(inline) if inline == bytes), length < LARGE_BYTES);

            // One that has changed in place is what it was, and the change.
            let mut value = Value::String(StringValue::decode(BytesRef::Slice(&bytes)).expect("a string"));
            Change::append(BytesRef::Slice(b"more")).apply(&mut value);
            assert_eq!((value.data_bytes(), value.encoded_bytes()), (length + 4, length + 4));
            assert_eq!(value.string().map(BytesRef::len), Some(length + 4));
            assert!(Encoded::from(&value) != encoded);
        }
    }

    #[test]
    fn a_value_without_data_is_of_the_type_that_was_asked_for() {
        assert_eq!(Value::kind_of_large_record(), Some(0), "strings alone have records of any length");
        for kind in 0..=u8::MAX {
            let Some(value) = Value::empty(kind) else { continue };
            assert_eq!((value.record_kind(), value.data_bytes()), (kind, 0));
            let content = Content::empty(kind).expect("a type that is known");
            let encoded = match &content {
                Content::Inline(bytes) => Encoded::inline(bytes),
                Content::Boxed(value) => Encoded::from(&**value),
            };
            assert_eq!((encoded.kind(), encoded.type_name()), (kind, Some(value.type_name())));
        }
    }

    #[test]
    fn what_is_of_no_known_type_is_told() {
        for kind in 1..=u8::MAX {
            let bytes = BytesRef::Slice(b"payload");
            assert!(Content::from_record(kind, bytes).is_none() && Value::decode(kind, bytes).is_none());
            assert!(Content::empty(kind).is_none() && Value::empty(kind).is_none());
            let encoded = Encoded::read(kind, bytes);
            assert_eq!((encoded.decode(), encoded.type_name(), encoded.kind()), (None, None, kind));
        }
    }
}
