//! Monitoring: INFO, SLOWLOG, LATENCY, MEMORY.

mod commands;
mod common;
mod graph;
mod latency;
mod lines;
mod memory;
mod memory_report;
mod persistence;
mod sections;
mod slowlog;
mod statistics;

pub use commands::COMMANDS;
