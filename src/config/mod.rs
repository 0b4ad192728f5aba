//! The settings: one table of parameters is the source of the configuration file, the environment, the command
//! line, `CONFIG GET`, `CONFIG SET`, `CONFIG REWRITE` and the reference page.
//!
//! A parameter is added by one entry in `table.rs`: its doc comment, its field, its kind with the default, its name.

#![deny(missing_docs)]

mod choice;
mod entry;
mod file;
mod flags;
mod list;
mod load;
mod origin;
mod parameter;
mod redis;
mod reference;
mod runtime;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod toml;
mod value;
mod word;

pub use choice::{
    Choice, Engine, EvictionPolicy, JournalSync, LogFormat, LogLevel, OomScore, Options, Permission, PubsubDefault,
    Supervision,
};
pub use entry::LoadError;
pub use list::{
    Addresses, EventClasses, Events, OomScores, OutputClass, OutputLimit, OutputLimits, Percentiles, SavePoint,
    SavePoints,
};
pub use load::{DEFAULT_FILE, Loaded};
pub use parameter::{Group, Mutability, Row};
pub use reference::reference;
pub use runtime::{Caller, NotApplied, NotSet, UNKNOWN_BEFORE_NAME, is_sensitive};
pub use table::{PARAMETERS, Parameter, Settings, find};
pub use value::{Bytes, Directory, Flag, Integer, Octal, Portion, Share, Text, Value};
pub use word::{Absent, Word, WordSet};
