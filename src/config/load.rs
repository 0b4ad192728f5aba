//! The settings at the start: defaults, then the file, then the environment, then the flags.

use super::entry::{Entry, LoadError, Place, added, normal};
use super::parameter::{Role, VARIABLE_PREFIX};
use super::syntax::Syntax;
use super::table::{PARAMETERS, Parameter, Settings, find};
use super::value::system_text;
use super::{file, flags};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

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
        make_directory_to_fill(&places)?;
        places.into_iter().try_for_each(|entries| settings.take(entries))?;
        settings.take_from_files()?;
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

    /// Assigns the parameters whose values stand in files that other parameters name.
    fn take_from_files(&mut self) -> Result<(), LoadError> {
        PARAMETERS.iter().try_for_each(|parameter| match parameter.role {
            Role::FileOf(name) => self.take_from_file(parameter, name),
            _ => Ok(()),
        })
    }

    fn take_from_file(&mut self, file: &Parameter, name: &'static str) -> Result<(), LoadError> {
        let path = file.value(self).text();
        let Some((parameter, name)) = find(name.as_bytes()).filter(|_| !path.is_empty()) else { return Ok(()) };
        let invalid = |reason: &str| Err(LoadError::Invalid(format!("{} {path}: {reason}", file.name)));
        if !parameter.value(self).text().is_empty() {
            return invalid(&format!("{name} is set as well"));
        }
        let directory = if self.enters_directory() { self.dir.get() } else { "".into() };
        let text = match std::fs::read_to_string(Path::new(&*directory).join(&path)) {
            Ok(text) => text,
            Err(error) => return invalid(&system_text(&error)),
        };
        let first_line = text.lines().next().unwrap_or_default();
        if first_line.is_empty() {
            return invalid("its first line is empty");
        }
        parameter.value(self).assign(first_line).or_else(|reason| invalid(&reason).map(|()| false))?;
        self.origin.read_from_files.push((name, first_line.to_owned()));
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
            self.origin.has_directory |= entry.parameter.role == Role::WorkingDirectory;
            if entry.parameter.without_effect && !idle.contains(&name) {
                idle.push(name);
            }
        }
        Ok(())
    }
}

/// The working directory has to be there, unless it is going to be filled: then it is made. The later of the places counts.
fn make_directory_to_fill(places: &[Vec<Entry>]) -> Result<(), LoadError> {
    let last = |role: Role| places.iter().flatten().rfind(|entry| entry.parameter.role == role);
    let source = last(Role::FillsDirectory).filter(|entry| !entry.text.is_empty());
    let (Some(directory), Some(_)) = (last(Role::WorkingDirectory), source) else {
        return Ok(());
    };
    let Entry { parameter, text, place } = directory;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(text).map_err(|error| {
        LoadError::Invalid(format!("{place}: invalid {} {text:?}: {}", parameter.name, system_text(&error)))
    })
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
        let place = Place::Variable(name.clone());
        if name == FILE_VARIABLE {
            if value.is_empty() {
                return Err(empty(&place, "configuration file"));
            }
            environment.file = Some(value.into());
            continue;
        }
        let (parameter, _) = find(suffix.replace('_', "-").as_bytes())
            .or_else(|| find(suffix.as_bytes()))
            .ok_or_else(|| LoadError::Invalid(format!("{place}: unknown setting (rockpool --help names all)")))?;
        let text = value
            .into_string()
            .map_err(|_| LoadError::Invalid(format!("{place}: invalid {}: not valid UTF-8", parameter.name)))?;
        // An empty one is most often a variable that should have been set elsewhere, and would open the server to all.
        if text.is_empty() && (parameter.sensitive || matches!(parameter.role, Role::FileOf(_))) {
            return Err(empty(&place, parameter.name));
        }
        environment.entries.push(Entry { parameter, text, place });
    }
    Ok(environment)
}

fn empty(place: &Place, what: &str) -> LoadError {
    LoadError::Invalid(format!("{place}: empty; leave it out where there is no {what}"))
}
