//! The data types: one home each for a structure and its operations. Nothing here knows keys, slots or replies.

pub mod string;

/// A value that grows in place. A string as it was SET is not one: it lies inside its entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string that APPEND, SETRANGE and the like have touched.
    String(Vec<u8>),
}

impl Value {
    /// The name that TYPE gives.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => string::TYPE_NAME,
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::String(_) => string::RAW,
        }
    }

    /// The bytes of a string; `None` for any other type.
    pub fn as_string_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Value::String(bytes) => Some(bytes),
        }
    }

    /// Bytes of data held; known without a walk, since it is asked for before and after every change.
    pub fn data_bytes(&self) -> usize {
        match self {
            Value::String(bytes) => bytes.len(),
        }
    }

    /// Bytes allocated, the value itself included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::String(bytes) => bytes.capacity(),
            }
    }
}
