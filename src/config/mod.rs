//! The settings: one table of parameters is the source of the configuration file, the environment, the command
//! line, `CONFIG GET`, `CONFIG SET`, `CONFIG REWRITE` and the reference page.
//!
//! A parameter is added by one entry in `table.rs`: its doc comment, its field, its kind with the default, its name.

mod choice;
mod file;
mod flags;
mod list;
mod load;
mod parameter;
mod redis;
mod reference;
mod runtime;
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
pub use list::{
    Addresses, EventClasses, Events, OomScores, OutputClass, OutputLimit, OutputLimits, Percentiles, SavePoint,
    SavePoints,
};
pub use load::{DEFAULT_FILE, LoadError, Loaded};
pub use parameter::{Group, Mutability, Parameter, find};
pub use reference::reference;
pub use runtime::{Caller, NotApplied, NotSet, UNKNOWN_BEFORE_NAME, is_sensitive};
pub use table::{PARAMETERS, Settings};
pub use value::{Bytes, Directory, Flag, Integer, Octal, Portion, Share, Text, Value};
pub use word::{Absent, Word, WordSet};
