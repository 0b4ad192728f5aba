//! The server as a whole (<https://redis.io/docs/latest/commands/?group=server>), and what it answers about itself:
//! COMMAND, CONFIG, DEBUG, ACL, SHUTDOWN and the like.

mod access;
mod commands;
mod common;
mod configuration;
mod debug;
mod digest;
mod documentation;
mod introspection;
mod key_extraction;
mod lolwut;
mod persistence;
mod process;
mod replication;

pub use commands::COMMANDS;
