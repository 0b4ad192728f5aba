//! Rockpool: a Redis-protocol-compatible cache server.
//!
//! The modules, as layers. A module imports only from those before it in this order, never from a sibling:
//! base → config, stats, reply → types → store → keyspace → command → net, admin → node.
//! `protocol` imports base and reply.
//! `tests/architecture` holds the same list and reads the imports.

/// HTTP: REST, metrics, health.
pub mod admin;
/// The clock, slots, patterns, numbers, memory accounting.
pub mod base;
/// Commands: declaration, execution, handlers.
pub mod command;
/// One table of parameters: file, environment, flags, CONFIG.
pub mod config;
/// The slots: lookup, expiry, eviction, scan.
pub mod keyspace;
/// Sockets: listeners, workers, connections.
pub mod net;
/// Assembly, start and end.
pub mod node;
/// Bytes to arguments, replies to bytes.
pub mod protocol;
/// What a command answers.
pub mod reply;
/// Counters that INFO, `/status` and `/metrics` render.
pub mod stats;
/// What is on disk: journal, records, RocksDB.
pub mod store;
/// The data types: structure and operations.
pub mod types;
