//! The commands: declared in their families' `COMMANDS` slices, found in one table, run by one dispatch.

pub mod clients;
pub mod context;
pub mod dispatch;
pub mod session;
pub mod spec;
pub mod state;
pub mod table;

mod client;
mod connection;
mod info;
mod key;
mod monitor;
mod server;
mod string;
