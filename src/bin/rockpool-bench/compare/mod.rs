//! `rockpool-bench compare`: servers side by side, in turns, on one machine, and a report of it.

mod arguments;
mod client;
mod control;
mod cpus;
mod experiment;
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
mod statistics;

use std::path::Path;
use std::process::ExitCode;

pub use arguments::{Arguments, ReportArguments};

/// Why there is no comparison: one line for who asked for it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    text: String,
    is_usage: bool,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_usage: false }
    }

    /// The arguments cannot be met.
    fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_usage: true }
    }

    /// 2 where the arguments are to blame, as of other errors in them.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
