//! The settings at the start: defaults, then the file, then the environment, then the flags.

use super::table::{Parameter, Settings, find};
use super::value::{Value, system_text};
use super::{file, flags};
use config::{Config, ConfigError, Map, Source};
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

/// The settings of one place, in which each parameter is valid and there once.
#[derive(Clone, Debug)]
struct Layer(Vec<Entry>);

impl Layer {
    /// Every place is checked on its own: what a later one overrides has to be right as well.
    fn new(mut entries: Vec<Entry>) -> Result<Self, LoadError> {
        for place in 0..entries.len() {
            let (earlier, rest) = entries.split_at_mut(place);
            let Some(entry) = rest.first_mut() else { break };
            let Entry { parameter, text, place } = entry;
            if earlier.iter().any(|other| other.parameter.name == parameter.name) {
                return Err(LoadError::Invalid(format!("{place}: {} is set twice", parameter.name)));
            }
            let defaults = Settings::default();
            let value = parameter.value(&defaults);
            *text = normal(value, text);
            value.check(text).map_err(|reason| {
                let given = if parameter.sensitive { String::new() } else { format!(" {text:?}") };
                let (name, form) = (parameter.name, value.form());
                LoadError::Invalid(format!("{place}: invalid {name}{given}: {reason} (expected: {form})"))
            })?;
        }
        Ok(Self(entries))
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        let value = |entry: &Entry| config::Value::new(Some(&entry.place.to_string()), entry.text.clone());
        Ok(self.0.iter().map(|entry| (entry.parameter.name.to_owned(), value(entry))).collect())
    }
}

impl Settings {
    /// The settings that the configuration file, the environment and the command line give, each overriding the one
    /// before. `args` begins with the program's name, as [`std::env::args_os`] does; `env` is all variables, as
    /// [`std::env::vars_os`] gives them. Whatever is unknown or invalid is an error.
    pub fn load(
        args: impl Iterator<Item = OsString>,
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, LoadError> {
        let flags = flags::read(args)?;
        let environment = read_environment(env)?;
        let file = flags.file.or(environment.file).or_else(|| {
            let default = Path::new(DEFAULT_FILE);
            default.exists().then(|| default.to_owned())
        });
        let file_entries = file.as_deref().map_or(Ok(Vec::new()), file::read)?;

        make_directory_to_restore_into([&file_entries, &environment.entries, &flags.entries])?;

        let internal = |error: ConfigError| LoadError::Invalid(error.to_string().replace('\n', " "));
        let merged = Config::builder()
            .add_source(Layer::new(file_entries)?)
            .add_source(Layer::new(environment.entries)?)
            .add_source(Layer::new(flags.entries)?)
            .build()
            .and_then(|config| config.collect())
            .map_err(internal)?;

        let mut settings = Settings::default();
        for (name, value) in merged {
            let place = value.origin().unwrap_or_default().to_owned();
            let (parameter, _) = find(name.as_bytes())
                .ok_or_else(|| LoadError::Invalid(format!("{place}: unknown setting {name:?}")))?;
            let text = value.into_string().map_err(internal)?;
            // It was checked; only what depends on the outside, such as a directory, can have changed since.
            parameter
                .value(&settings)
                .assign(&text)
                .map_err(|reason| LoadError::Invalid(format!("{place}: invalid {name}: {reason}")))?;
        }
        settings.file = file.map(|path| std::path::absolute(&path).unwrap_or(path));
        Ok(Loaded { file: settings.file.clone(), settings })
    }
}

/// `dir` has to be there, unless `restore` is going to fill it: then it is made. The later of the places counts.
fn make_directory_to_restore_into(places: [&[Entry]; 3]) -> Result<(), LoadError> {
    let last = |name: &str| places.into_iter().flatten().rfind(|entry| entry.parameter.name == name);
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
            .ok_or_else(|| LoadError::Invalid(format!("{place}: unknown setting (rockpool --help names all)")))?;
        let text = value
            .into_string()
            .map_err(|_| LoadError::Invalid(format!("{place}: invalid {}: not valid UTF-8", parameter.name)))?;
        environment.entries.push(Entry { parameter, text, place });
    }
    Ok(environment)
}
