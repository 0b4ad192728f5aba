//! Rockpool: a Redis-protocol-compatible cache server.
pub mod base;
pub mod config;
pub mod types;
