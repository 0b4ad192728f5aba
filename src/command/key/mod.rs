//! Keys of any type (<https://redis.io/docs/latest/commands/?group=generic>).

mod commands;
mod existence;
mod expire;
mod flush;
mod object;
mod rename;
mod scan;

pub use commands::COMMANDS;
