//! A setting as it was found in one place, before it is checked and assigned.

use super::table::{Parameter, Settings};
use super::value::{Value, system_text};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the server does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// `--help` or `--version`: the text to print; nothing is wrong.
    #[error("{0}")]
    Information(String),
    /// One line that names the place, the setting and what was expected.
    #[error("{0}")]
    Invalid(String),
}

impl LoadError {
    pub(super) fn unknown(place: &Place, name: &str) -> Self {
        Self::Invalid(format!("{place}: unknown setting {name:?} (rockpool --help names all)"))
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Invalid(format!("{}: {}", path.display(), system_text(error)))
    }
}

/// Where a setting was found.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A file and a line.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag, without its hyphens.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(name) => write!(formatter, "flag --{name}"),
        }
    }
}

/// A setting as it was found.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub parameter: &'static Parameter,
    pub text: String,
    pub place: Place,
}

/// What a parameter is that is given twice in one place.
pub(super) fn added(parameter: &Parameter, before: &str, text: &str) -> String {
    let adds_up = parameter.value(&Settings::default()).adds_up();
    // An empty list begins anew.
    if adds_up && !before.is_empty() && !text.is_empty() { format!("{before} {text}") } else { text.to_owned() }
}

/// A list may have been written with more space between its words than Redis takes.
pub(super) fn normal(value: &dyn Value, text: &str) -> String {
    if value.is_list() { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text.to_owned() }
}
