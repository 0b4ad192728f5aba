//! The command line, built from the table.

use super::entry::{Entry, LoadError, Place, added};
use super::parameter::Group;
use super::table::{PARAMETERS, Parameter, Settings, find};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::path::PathBuf;

/// What the command line says.
pub(super) struct Flags {
    /// The file that it names.
    pub file: Option<PathBuf>,
    /// A hyphen: more is to be read from standard input.
    pub reads_input: bool,
    /// The parameters that it sets.
    pub entries: Vec<Entry>,
}

/// Reads the command line, whose first argument is the name of the program.
pub(super) fn read(args: impl Iterator<Item = OsString>) -> Result<Flags, LoadError> {
    let (args, reads_input) = without_hyphen(args.collect());
    let mut matches = command().try_get_matches_from(join_lists(args.into_iter())?).map_err(from_clap)?;
    let file = matches.remove_one::<PathBuf>("config").or_else(|| matches.remove_one::<PathBuf>("FILE"));
    let entries = PARAMETERS
        .iter()
        .filter_map(|parameter| {
            let text = joined(&mut matches, parameter)?;
            Some(Entry { parameter, text, place: Place::Flag(parameter.name.to_owned()) })
        })
        .collect();
    Ok(Flags { file, reads_input, entries })
}

/// Takes out a hyphen that is the first or the last argument: as for redis-server, it stands for standard input.
fn without_hyphen(mut args: Vec<OsString>) -> (Vec<OsString>, bool) {
    let is_hyphen = |index: usize| index > 0 && args.get(index).is_some_and(|arg| arg == "-");
    match [1, args.len().saturating_sub(1)].into_iter().find(|index| is_hyphen(*index)) {
        Some(index) => {
            args.remove(index);
            (args, true)
        }
        None => (args, false),
    }
}

fn command() -> Command {
    let defaults = Settings::default();
    let command = Command::new("rockpool")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help("Each setting can stand in FILE (port = 7000), in the environment (ROCKPOOL_PORT=7000) or among the flags; the last one counts.")
        .args_override_self(true)
        .arg(
            Arg::new("FILE")
                .help("Configuration file, in TOML or in the syntax of redis.conf; without one, rockpool.toml if it is there. A \
                       hyphen, first or last: standard input")
                .value_parser(clap::value_parser!(PathBuf))
                .conflicts_with("config"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("The same")
                .value_parser(clap::value_parser!(PathBuf)),
        );
    let groups = Group::ALL.into_iter().flat_map(|group| PARAMETERS.iter().filter(move |row| row.group == group));
    command.args(groups.map(|parameter| {
        let value = parameter.value(&defaults);
        let default = match value.documented().as_str() {
            "" => "none".to_owned(),
            text => text.to_owned(),
        };
        let note = if parameter.without_effect { "Accepted, without effect. " } else { "" };
        let arg = Arg::new(parameter.name);
        let arg = if parameter.is_switch { arg.num_args(0..=1).default_missing_value("yes") } else { arg };
        arg.long(parameter.name)
            .visible_aliases(parameter.aliases)
            .value_name("VALUE")
            .help(format!("{note}{} [{}; default: {default}]", parameter.doc(), value.form()))
            .help_heading(parameter.group.title())
            .hide_short_help(parameter.without_effect)
            .allow_hyphen_values(!parameter.is_switch)
            .action(if value.is_list() { ArgAction::Append } else { ArgAction::Set })
    }))
}

/// Gives each flag of a list one value: all words up to the next flag. clap could not tell the address `-::1` from
/// a flag.
fn join_lists(args: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, LoadError> {
    let defaults = Settings::default();
    let is_list = |name: &str| find(name.as_bytes()).is_some_and(|(row, _)| row.value(&defaults).is_list());
    let mut joined: Vec<OsString> = Vec::new();
    // The list whose words are being read, and how many there were.
    let mut list: Option<(String, usize)> = None;
    for arg in args {
        let flag = arg.to_str().and_then(|text| text.strip_prefix("--"));
        match (flag, &mut list, joined.last_mut()) {
            (None, Some((_, words)), Some(value)) => {
                value.push(if *words == 0 { "=" } else { " " });
                value.push(arg);
                *words += 1;
            }
            _ => {
                has_words(list)?;
                list = flag.filter(|name| is_list(name)).map(|name| (name.to_owned(), 0));
                joined.push(arg);
            }
        }
    }
    has_words(list)?;
    Ok(joined)
}

fn has_words(list: Option<(String, usize)>) -> Result<(), LoadError> {
    match list {
        Some((name, 0)) => {
            Err(LoadError::Invalid(format!("flag --{name}: a value is required (\"\" for an empty list)")))
        }
        _ => Ok(()),
    }
}

/// The value of a flag, which may have been given several times.
fn joined(matches: &mut ArgMatches, parameter: &Parameter) -> Option<String> {
    let values = matches.remove_many::<String>(parameter.name)?;
    values.reduce(|before, value| added(parameter, &before, &value))
}

fn from_clap(error: clap::Error) -> LoadError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => LoadError::Information(error.render().to_string()),
        ErrorKind::UnknownArgument => {
            let argument = text(ContextKind::InvalidArg).unwrap_or_default();
            LoadError::Invalid(match text(ContextKind::SuggestedArg) {
                _ if !argument.starts_with('-') => format!("argument {argument:?}: unexpected after the file"),
                Some(suggestion) => format!("flag {argument}: unknown; did you mean {suggestion}?"),
                None => format!("flag {argument}: unknown (rockpool --help names all)"),
            })
        }
        _ => {
            let rendered = error.render().to_string();
            let line = rendered.lines().next().unwrap_or_default();
            LoadError::Invalid(line.trim_start_matches("error: ").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_makes_a_sound_command_line() {
        super::command().debug_assert();
    }
}
