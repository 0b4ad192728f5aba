//! The data types: one home each for a structure and its operations. Nothing here knows keys, slots or replies.
//!
//! A type is a folder, with a [`DataType`] for its values and a [`DataChange`] for what is done to them in place, and has a variant
//! each in [`Value`] and [`Change`]. The keyspace and the store know these two, and no type by name: what is asked of a
//! value is asked of all types alike, and what a record or the journal keeps of it they hand through as bytes.

#![deny(missing_docs)]

mod change;
mod content;
mod data_type;
pub mod string;
mod value;

pub use change::Change;
pub use content::{Content, Encoded, Owned};
pub use data_type::{DataChange, DataType};
pub use value::Value;
