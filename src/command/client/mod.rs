//! HELLO, AUTH, RESET and CLIENT: who a connection is and how it is treated
//! (<https://redis.io/docs/latest/commands/?group=connection>).

mod commands;
mod identity;
mod kill;
mod list;
mod treatment;

pub use commands::COMMANDS;
