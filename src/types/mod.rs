//! The data types: what a value is made of and what can be done to it, knowing nothing of keys or clients.

pub mod string;
