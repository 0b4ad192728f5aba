//! Strings (<https://redis.io/docs/latest/commands/?group=string>).

mod commands;
mod common;
mod get;
mod lcs;
mod many;
mod numbers;
mod ranges;
mod set;

pub use commands::COMMANDS;
