//! The commands: declared in their families' `COMMANDS` slices, found in one table, run by one executor.

#![deny(missing_docs)]

pub mod access;
pub mod alarm;
mod assembly;
mod block;
pub mod clients;
pub mod commit;
pub mod context;
pub mod executor;
pub mod flags;
pub mod flow;
pub mod registration;
pub mod session;
mod slow;
pub mod spec;
pub mod state;
pub mod table;
mod together;
#[cfg(test)]
mod together_tests;
pub mod user;
pub mod wait;

mod client;
mod connection;
mod expire_time;
mod info;
mod key;
mod monitor;
mod server;
mod string;
#[cfg(test)]
mod testing;
