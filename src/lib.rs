//! Rockpool: a Redis-protocol-compatible cache server.
pub mod base;
