//! The configuration file: how it is read and rewritten, whichever of the two syntaxes it is in.

use super::entry::{Entry, LoadError};
use super::syntax::Syntax;
use super::table::{PARAMETERS, Parameter, Settings};
use super::value::system_text;
use super::{redis, toml};
use crate::base::file;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// What messages call standard input.
const INPUT: &str = "standard input";

/// What is in a file.
pub(super) struct Content {
    pub syntax: Syntax,
    pub entries: Vec<Entry>,
    /// Names that are known, and stand for nothing that could be set.
    pub ignored: Vec<&'static str>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Content, LoadError> {
    let text = fs::read(path).map_err(|error| LoadError::unreadable(path, &error))?;
    parse(&text, path)
}

/// Reads standard input to its end.
pub(super) fn read_input() -> Result<Content, LoadError> {
    let path = Path::new(INPUT);
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text).map_err(|error| LoadError::unreadable(path, &error))?;
    parse(&text, path)
}

fn parse(text: &[u8], path: &Path) -> Result<Content, LoadError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let syntax = Syntax::of_file(text, path);
    let (entries, ignored) = match syntax {
        Syntax::Toml => (toml::parse(text, path)?, Vec::new()),
        Syntax::Redis => redis::parse(text, path)?,
    };
    Ok(Content { syntax, entries, ignored })
}

impl Settings {
    /// The file that `CONFIG REWRITE` writes to: the absolute path of the one that was read at the start.
    pub fn config_file(&self) -> Option<&Path> {
        self.origin.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Whether relative paths are taken from `dir`, as in Redis: where anything was read in Redis's syntax.
    pub fn enters_directory(&self) -> bool {
        self.origin.is_of_redis
    }

    /// What `CONFIG REWRITE` writes: all but what still is as its own file says, and what means one start. What a file says
    /// of one start is whoever wrote it to take away.
    fn rewritable(&self) -> impl Iterator<Item = &'static Parameter> {
        let has_own_file = |parameter: &Parameter| {
            let of_file = self.origin.read_from_files.iter().find(|(name, _)| *name == parameter.name);
            of_file.is_some_and(|(_, text)| *text == parameter.value(self).text())
        };
        PARAMETERS.iter().filter(move |parameter| !parameter.is_for_one_start && !has_own_file(parameter))
    }

    /// Writes the present values into the configuration file: what the file has already, in its place and with its
    /// comments, and after it what differs from the default. The file is replaced as a whole or not at all. The error
    /// is Redis's, without its "ERR ": <https://redis.io/commands/config-rewrite/>.
    pub fn rewrite(&self) -> Result<(), String> {
        let (path, syntax) = self.origin.file.as_ref().ok_or("The server is running without a config file")?;
        let failed = |error: io::Error| format!("Rewriting config file: {}", system_text(&error));
        let _writing = self.writing.lock();
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            result => result.map_err(failed)?,
        };
        let written = match Syntax::of(&text).unwrap_or(*syntax) {
            Syntax::Redis => redis::rewritten(&text, self, self.rewritable()),
            Syntax::Toml => toml::rewritten(&text, self, self.rewritable())
                .ok_or_else(|| "Rewriting config file: it is not valid TOML any more".to_owned())?
                .into_bytes(),
        };
        replace(path, &written).map_err(failed)
    }
}

/// Puts `content` in the place of what is in `path`. A link stays a link: what it points to is replaced.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        result => result?,
    };
    // A new one may hold a password, and is its owner's alone.
    let permissions = fs::metadata(&target).ok().map(|metadata| metadata.permissions());
    file::replace(&target, content, permissions)
}
