//! The data types: one home each for a structure and its operations. Nothing here knows keys, slots or replies.

mod change;
pub mod string;

pub use change::Change;

use crate::base::chunks::{BytesRef, Chunks};

/// A value that grows in place. A string as it was SET is not one: it lies inside its entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string that APPEND, SETRANGE and the like have touched.
    String(Vec<u8>),
    /// A string of [`LARGE_BYTES`](crate::base::chunks::LARGE_BYTES) or more, however it came.
    Large(Chunks),
}

impl Value {
    /// The name that TYPE gives.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) | Value::Large(_) => string::TYPE_NAME,
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub fn encoding(&self) -> &'static str {
        match self {
            Value::String(_) | Value::Large(_) => string::RAW,
        }
    }

    /// What a record on disk or in the journal tells of its type, and the bytes that keep the value there.
    pub fn record(&self) -> (u8, BytesRef<'_>) {
        match self {
            Value::String(bytes) => (string::RECORD_KIND, BytesRef::Slice(bytes)),
            Value::Large(chunks) => (string::RECORD_KIND, BytesRef::Chunks(chunks)),
        }
    }

    /// Bytes of data held; known without a walk, since it is asked for before and after every change.
    pub fn data_bytes(&self) -> usize {
        match self {
            Value::String(bytes) => bytes.len(),
            Value::Large(chunks) => chunks.len(),
        }
    }

    /// Bytes allocated, the value itself included.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Value>()
            + match self {
                Value::String(bytes) => bytes.capacity(),
                Value::Large(chunks) => chunks.memory_bytes(),
            }
    }
}
