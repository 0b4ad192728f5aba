//! What is on disk. The modules here know bytes and files; what a key or a slot is, the layers above know.

pub mod journal;
