//! `rockpool-bench compare`: servers side by side, in turns, on one machine, and a report of it.

mod arguments;
mod client;
mod control;
mod cpus;
mod experiment;
mod failure;
mod interrupt;
mod machine;
mod matrix;
mod moving;
mod presets;
mod proc;
mod progress;
mod recipe;
mod report;
mod results;
mod run;
mod server;
mod settings;
mod sizes;
mod statistics;
mod subcommands;

pub use subcommands::main;
