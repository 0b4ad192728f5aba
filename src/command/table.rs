//! The table of commands: found by name, or by index.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::command::flags::Flags;
use crate::command::spec::Spec;
use crate::protocol::{Args, until_nul};
use crate::reply::Error;

/// The index of no command.
pub const NO_COMMAND: usize = usize::MAX;
/// No command has a longer name, in bytes.
pub(super) const NAME_MAX_BYTES: usize = 32;

/// A command or subcommand in the table.
pub struct Command {
    /// What was declared of it.
    pub spec: &'static Spec,
    /// Its index in [`Table::commands`], also for its counters.
    pub index: usize,
    /// `get`, or for a subcommand `config|get`: as Redis names it in messages and statistics.
    pub full_name: String,
    /// Indices of its subcommands by their names.
    subcommands: HashMap<&'static [u8], usize, foldhash::fast::FixedState>,
}

impl Command {
    /// # Errors
    /// The answer to a call with too few arguments, or too many.
    #[inline]
    pub fn check_arity(&self, args: &Args<'_>) -> Result<(), Error> {
        if self.spec.accepts(args.len()) { Ok(()) } else { Err(self.wrong_arity()) }
    }

    #[cold]
    fn wrong_arity(&self) -> Error {
        Error::owned(format!("ERR wrong number of arguments for '{}' command", self.full_name))
    }

    /// Whether it is the command, and no subcommand, that a client means by this name in any case.
    #[inline]
    fn is_meant_by(&self, name: &[u8]) -> bool {
        let own_name = self.spec.name;
        // Only the client's name may be in another case than the lower one.
        let is_own = |(byte, own): (&u8, u8)| byte.to_ascii_lowercase() == own;
        self.spec.subcommands.is_empty()
            && self.full_name.len() == own_name.len()
            && name.len() == own_name.len()
            && name.iter().zip(own_name.bytes()).all(is_own)
    }
}

/// All commands and subcommands.
pub struct Table {
    commands: Vec<Command>,
    by_name: HashMap<&'static [u8], usize, foldhash::fast::FixedState>,
}

/// Of all commands; see [`Table::fill`].
static TABLE: OnceLock<Table> = OnceLock::new();

impl Table {
    /// The table of all commands.
    ///
    /// # Panics
    /// Before [`Table::fill`]: whatever runs commands has a `State`, and that fills it.
    #[inline]
    pub fn get() -> &'static Table {
        TABLE.get().expect("the table is filled before there is a command")
    }

    /// Fills the table with every family's commands, unless that is done.
    pub fn fill(families: &[&'static [Spec]]) -> &'static Table {
        TABLE.get_or_init(|| Table::of(families))
    }

    fn of(families: &[&'static [Spec]]) -> Table {
        let mut table = Table { commands: Vec::new(), by_name: HashMap::default() };
        for spec in families.iter().copied().flatten() {
            let index = table.add(spec, spec.name.to_owned());
            table.by_name.insert(spec.name.as_bytes(), index);
            for subcommand in spec.subcommands {
                let child = table.add(subcommand, format!("{}|{}", spec.name, subcommand.name));
                table.commands[index].subcommands.insert(subcommand.name.as_bytes(), child);
            }
        }
        table
    }

    fn add(&mut self, spec: &'static Spec, full_name: String) -> usize {
        let index = self.commands.len();
        self.commands.push(Command { spec, index, full_name, subcommands: HashMap::default() });
        index
    }

    /// Commands and subcommands; a command's subcommands follow it.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The top-level commands; lines of HTTP are none.
    pub fn top_level(&self) -> impl Iterator<Item = &Command> {
        let is_command = |command: &&Command| !command.spec.flags.has(Flags::HTTP);
        self.commands.iter().filter(is_command).filter(|command| !command.full_name.contains('|'))
    }

    /// Finds the command that a client calls, or the subcommand where there are some; first of all it is looked whether it is
    /// the one before, of the index `previous`: in a batch, or on a connection, the same command comes again and again.
    ///
    /// # Errors
    /// The answer to a call of what there is not.
    #[inline]
    pub fn look_up(&self, args: &Args<'_>, previous: usize) -> Result<&Command, Error> {
        match self.commands.get(previous).filter(|command| command.is_meant_by(args.at(0))) {
            Some(command) => Ok(command),
            None => self.look_up_anew(args),
        }
    }

    fn look_up_anew(&self, args: &Args<'_>) -> Result<&Command, Error> {
        let Some(command) = self.find(args.at(0)) else { return Err(unknown_command(args)) };
        if command.spec.subcommands.is_empty() || args.len() < 2 {
            return Ok(command);
        }
        self.subcommand(command, args.at(1)).ok_or_else(|| {
            let parent = command.spec.name.to_uppercase();
            Error::quoting_start("ERR unknown subcommand '", args.at(1), &format!("'. Try {parent} HELP."))
        })
    }

    /// A command by its name in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        with_lower_case(name, |name| self.by_name.get(name)).flatten().and_then(|index| self.commands.get(*index))
    }

    /// A command's subcommand by its name in any case.
    pub fn subcommand(&self, command: &Command, name: &[u8]) -> Option<&Command> {
        with_lower_case(name, |name| command.subcommands.get(name))
            .flatten()
            .and_then(|index| self.commands.get(*index))
    }

    /// A command or subcommand by its full name (`config|get`) in any case.
    pub fn find_full(&self, name: &[u8]) -> Option<&Command> {
        match memchr::memchr(b'|', name) {
            Some(end) => self.subcommand(self.find(&name[..end])?, &name[end + 1..]),
            None => self.find(name),
        }
    }

    /// The subcommands of a command, in the order of its slice.
    pub fn subcommands<'a>(&'a self, command: &'a Command) -> &'a [Command] {
        let first = command.index + 1;
        self.commands.get(first..first + command.spec.subcommands.len()).unwrap_or_default()
    }
}

#[inline]
fn with_lower_case<R>(name: &[u8], use_name: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let mut buffer = [0; NAME_MAX_BYTES];
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(use_name(lower))
}

fn unknown_command(args: &Args<'_>) -> Error {
    let quote = |argument: &'_ [u8], max_bytes: usize| {
        let bytes = until_nul(argument);
        bytes[..bytes.len().min(max_bytes)].to_vec()
    };
    let mut quoted = Vec::new();
    for argument in args.iter_from(1) {
        if quoted.len() >= Error::QUOTED_MAX_BYTES {
            break;
        }
        let room = Error::QUOTED_MAX_BYTES - quoted.len();
        quoted.push(b'\'');
        quoted.extend(quote(argument, room));
        quoted.extend_from_slice(b"' ");
    }
    let name = quote(args.at(0), Error::QUOTED_MAX_BYTES);
    Error::owned([b"ERR unknown command '", &name[..], b"', with args beginning with: ", &quoted].concat())
}
