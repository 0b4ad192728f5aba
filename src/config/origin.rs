//! What is remembered of where the settings of a start came from.

use super::syntax::Syntax;
use std::path::PathBuf;

/// Where settings were read from.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// The file that `CONFIG REWRITE` writes to, and how it is written.
    pub file: Option<(PathBuf, Syntax)>,
    /// Something was in the syntax of Redis, in which relative paths are taken from the working directory.
    pub is_of_redis: bool,
    /// The working directory was set somewhere.
    pub has_directory: bool,
    /// The parameters whose values stand in files of their own, and what those held.
    pub read_from_files: Vec<(&'static str, String)>,
    /// What was given that has no effect.
    pub without_effect: Vec<&'static str>,
}
