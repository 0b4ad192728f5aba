//! The commands: declared in their families' `COMMANDS` slices, found in one table, run by one dispatch.

pub mod alarm;
pub mod clients;
pub mod context;
pub mod dispatch;
pub mod session;
mod slow;
pub mod spec;
pub mod state;
pub mod table;

mod client;
mod connection;
mod disk;
mod expire_time;
mod info;
mod key;
mod monitor;
mod server;
mod string;
