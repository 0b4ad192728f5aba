//! A value of any type.

use super::data_type::DataType;
use super::string::StringValue;
use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;

/// A value in an allocation of its own, which grows in place. A short string as it was SET is not one: it lies inside its entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string that does not lie inside its entry.
    String(StringValue),
}

/// An expression of what a value is, whatever its type.
macro_rules! of_value {
    ($value:expr, $data:ident => $result:expr) => {
        match $value {
            Value::String($data) => $result,
        }
    };
}

/// Each type's record kind, and whether its records may have a value of any length in them.
const KINDS: &[(u8, bool)] = &[(StringValue::RECORD_KIND, StringValue::IS_WHOLE_IN_RECORD)];

fn name<T: DataType>(_: &T) -> &'static str {
    T::NAME
}

fn record_kind<T: DataType>(_: &T) -> u8 {
    T::RECORD_KIND
}

impl Value {
    /// The value that a record of that type keeps as `payload`; `None`: no type is known by that number, or its encoder did not
    /// write these bytes.
    pub fn decode(kind: u8, payload: BytesRef<'_>) -> Option<Value> {
        match kind {
            StringValue::RECORD_KIND => StringValue::decode(payload).map(Value::String),
            _ => None,
        }
    }

    /// A value of the type without data; `None`: no type is known by that number.
    pub fn empty(kind: u8) -> Option<Value> {
        match kind {
            StringValue::RECORD_KIND => Some(Value::String(StringValue::empty())),
            _ => None,
        }
    }

    /// The kind of a record of which nothing is known but that it is larger than a leaf; `None`: it may be one of several.
    pub fn kind_of_large_record() -> Option<u8> {
        let mut kinds = KINDS.iter().filter(|(_, is_whole)| *is_whole).map(|(kind, _)| *kind);
        kinds.next().filter(|_| kinds.next().is_none())
    }

    /// The name that TYPE gives.
    pub fn type_name(&self) -> &'static str {
        of_value!(self, data => name(data))
    }

    /// What a record tells of its type.
    pub fn record_kind(&self) -> u8 {
        of_value!(self, data => record_kind(data))
    }

    /// The name that OBJECT ENCODING gives.
    pub fn encoding(&self) -> &'static str {
        of_value!(self, data => data.encoding())
    }

    /// Bytes of data held; known without a walk, since it is asked for before and after every change.
    pub fn data_bytes(&self) -> usize {
        of_value!(self, data => data.data_bytes())
    }

    /// Bytes allocated, the value itself included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Value>() + of_value!(self, data => data.allocated_bytes())
    }

    /// How many bytes [`Value::encode`] writes.
    pub fn encoded_bytes(&self) -> usize {
        of_value!(self, data => data.encoded_bytes())
    }

    /// Appends what a record keeps of it, piece by piece, large ones by reference.
    pub fn encode(&self, into: &mut Gather) {
        of_value!(self, data => data.encode(into))
    }

    /// The value that lies inside an entry as these bytes, for a change in place.
    pub fn from_inline(bytes: &[u8]) -> Value {
        Value::String(bytes.to_vec().into())
    }

    /// The bytes, if it is a string.
    pub fn string(&self) -> Option<BytesRef<'_>> {
        match self {
            Value::String(string) => Some(string.bytes()),
        }
    }
}

impl Default for Value {
    /// What is left where one was moved out.
    fn default() -> Value {
        Value::String(StringValue::empty())
    }
}
