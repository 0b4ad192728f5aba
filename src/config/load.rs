//! The settings at the start: defaults, then the file, then the environment, then the flags.

use super::file::{self, Syntax};
use super::flags;
use super::parameter::{Parameter, find};
use super::table::Settings;
use super::value::{Value, system_text};
use std::ffi::OsString;
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the environment variables that set parameters begin with.
pub(super) const VARIABLE_PREFIX: &str = "ROCKPOOL_";

/// The variable that names the file.
const FILE_VARIABLE: &str = "ROCKPOOL_CONFIG";

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "rockpool.toml";

/// What [`Settings::load`] found.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read, as an absolute path.
    pub file: Option<PathBuf>,
}

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

/// Where settings were read from.
#[derive(Debug, Default)]
pub(super) struct Origin {
    /// The file that `CONFIG REWRITE` writes to, and how it is written.
    pub file: Option<(PathBuf, Syntax)>,
    /// Something was in the syntax of Redis, in which relative paths are taken from `dir`.
    pub is_of_redis: bool,
    /// `dir` was set somewhere.
    pub has_directory: bool,
    /// The password that `requirepass-file` held.
    pub password_of_file: Option<String>,
    /// What was given that has no effect.
    pub without_effect: Vec<&'static str>,
}

/// The settings of one place, in which each parameter is there once.
fn distinct(entries: Vec<Entry>) -> Result<Vec<Entry>, LoadError> {
    for (index, Entry { parameter, place, .. }) in entries.iter().enumerate() {
        if entries[..index].iter().any(|other| other.parameter.name == parameter.name) {
            return Err(LoadError::Invalid(format!("{place}: {} is set twice", parameter.name)));
        }
    }
    Ok(entries)
}

/// The settings of one place, in which those of a parameter that come later add to the earlier ones, or replace them.
fn combined(entries: Vec<Entry>) -> Vec<Entry> {
    let mut combined: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        match combined.iter_mut().find(|earlier| earlier.parameter.name == entry.parameter.name) {
            Some(earlier) => *earlier = Entry { text: added(entry.parameter, &earlier.text, &entry.text), ..entry },
            None => combined.push(entry),
        }
    }
    combined
}

/// What a parameter is that is given twice in one place.
pub(super) fn added(parameter: &Parameter, before: &str, text: &str) -> String {
    let adds_up = parameter.value(&Settings::default()).adds_up();
    // An empty list begins anew.
    if adds_up && !before.is_empty() && !text.is_empty() { format!("{before} {text}") } else { text.to_owned() }
}

impl Settings {
    /// The settings that the configuration file, standard input, the environment and the command line give, each
    /// overriding the one before. `args` begins with the program's name, as [`std::env::args_os`] does; `env` is all
    /// variables, as [`std::env::vars_os`] gives them. Whatever is unknown or invalid is an error.
    pub fn load(
        args: impl Iterator<Item = OsString>,
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, LoadError> {
        let flags = flags::read(args)?;
        let environment = read_environment(env)?;
        let file = flags.file.or(environment.file).or_else(|| {
            let default = Path::new(DEFAULT_FILE);
            (default.exists() && !flags.reads_input).then(|| default.to_owned())
        });
        let mut settings = Settings::default();
        let mut places = Vec::new();
        if let Some(path) = &file {
            let content = file::read(path)?;
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            settings.origin.file = Some((absolute, content.syntax));
            places.push(settings.entries_of(content)?);
        }
        if flags.reads_input {
            places.push(settings.entries_of(file::read_input()?)?);
        }
        places.push(distinct(environment.entries)?);
        places.push(flags.entries);
        make_directory_to_restore_into(&places)?;
        places.into_iter().try_for_each(|entries| settings.take(entries))?;
        settings.take_password_of_file()?;
        Ok(Loaded { file: settings.config_file().map(Path::to_owned), settings })
    }

    fn entries_of(&mut self, content: file::Content) -> Result<Vec<Entry>, LoadError> {
        self.origin.is_of_redis |= content.syntax == Syntax::Redis;
        self.origin.without_effect.extend(content.ignored);
        match content.syntax {
            Syntax::Redis => Ok(content.entries),
            Syntax::Toml => distinct(content.entries),
        }
    }

    fn take_password_of_file(&mut self) -> Result<(), LoadError> {
        let path = self.requirepass_file.get();
        if path.is_empty() {
            return Ok(());
        }
        let invalid = |reason: &str| Err(LoadError::Invalid(format!("requirepass-file {path}: {reason}")));
        if !self.requirepass.get().is_empty() {
            return invalid("requirepass is set as well");
        }
        let directory = if self.enters_directory() { self.dir.get() } else { "".into() };
        let text = match std::fs::read_to_string(Path::new(&*directory).join(&*path)) {
            Ok(text) => text,
            Err(error) => return invalid(&system_text(&error)),
        };
        let password = text.lines().next().unwrap_or_default();
        if password.is_empty() {
            return invalid("its first line is empty");
        }
        self.requirepass.assign(password).or_else(|reason| invalid(&reason).map(|()| false))?;
        self.origin.password_of_file = Some(password.to_owned());
        Ok(())
    }

    /// Every place is checked on its own: what a later one overrides has to be right as well.
    fn take(&mut self, mut entries: Vec<Entry>) -> Result<(), LoadError> {
        let invalid = |Entry { parameter, text, place }: &Entry, reason: String| {
            let given = if parameter.sensitive { String::new() } else { format!(" {text:?}") };
            let (name, form) = (parameter.name, parameter.value(&Settings::default()).form());
            LoadError::Invalid(format!("{place}: invalid {name}{given}: {reason} (expected: {form})"))
        };
        for entry in &mut entries {
            let defaults = Settings::default();
            let value = entry.parameter.value(&defaults);
            entry.text = normal(value, &entry.text);
            value.check(&entry.text).map_err(|reason| invalid(entry, reason))?;
        }
        for entry in combined(entries) {
            // Only what depends on the outside, such as a directory, can have changed since it was checked.
            entry.parameter.value(self).assign(&entry.text).map_err(|reason| invalid(&entry, reason))?;
            let (name, idle) = (entry.parameter.name, &mut self.origin.without_effect);
            self.origin.has_directory |= name == "dir";
            if entry.parameter.without_effect && !idle.contains(&name) {
                idle.push(name);
            }
        }
        Ok(())
    }
}

/// `dir` has to be there, unless `restore` is going to fill it: then it is made. The later of the places counts.
fn make_directory_to_restore_into(places: &[Vec<Entry>]) -> Result<(), LoadError> {
    let last = |name: &str| places.iter().flatten().rfind(|entry| entry.parameter.name == name);
    let (Some(directory), Some(_)) = (last("dir"), last("restore").filter(|entry| !entry.text.is_empty())) else {
        return Ok(());
    };
    let Entry { text, place, .. } = directory;
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(text)
        .map_err(|error| LoadError::Invalid(format!("{place}: invalid dir {text:?}: {}", system_text(&error))))
}

/// A list may have been written with more space between its words than Redis takes.
pub(super) fn normal(value: &dyn Value, text: &str) -> String {
    if value.is_list() { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text.to_owned() }
}

struct Environment {
    file: Option<PathBuf>,
    entries: Vec<Entry>,
}

fn read_environment(env: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment, LoadError> {
    let mut environment = Environment { file: None, entries: Vec::new() };
    for (name, value) in env {
        // The name of a parameter is ASCII, so nothing is lost in the names that matter.
        let name = name.to_string_lossy().into_owned();
        let Some(suffix) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        if name == FILE_VARIABLE {
            environment.file = Some(value.into());
            continue;
        }
        let place = Place::Variable(name.clone());
        let (parameter, _) = find(suffix.replace('_', "-").as_bytes())
            .or_else(|| find(suffix.as_bytes()))
            .ok_or_else(|| LoadError::Invalid(format!("{place}: unknown setting (rockpool --help names all)")))?;
        let text = value
            .into_string()
            .map_err(|_| LoadError::Invalid(format!("{place}: invalid {}: not valid UTF-8", parameter.name)))?;
        // An empty one is most often a variable that should have been set elsewhere, and would open the server to all.
        if (parameter.sensitive || parameter.name == "requirepass-file") && text.is_empty() {
            return Err(LoadError::Invalid(format!(
                "{place}: empty; leave it out where there is no {}",
                parameter.name
            )));
        }
        environment.entries.push(Entry { parameter, text, place });
    }
    Ok(environment)
}
