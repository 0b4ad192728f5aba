//! All commands: the families' slices, put together.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::spec::{Flags, Spec};
use super::{client, connection, info, key, monitor, server, string};

/// Every family's commands.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    client::COMMANDS,
    monitor::COMMANDS,
    string::COMMANDS,
    key::COMMANDS,
    server::COMMANDS,
    info::COMMANDS,
];

/// No command has a longer name, in bytes.
const NAME_MAX_BYTES: usize = 32;

/// A command or subcommand in the table.
pub struct Command {
    pub spec: &'static Spec,
    /// Its index in [`Table::commands`], also for its counters.
    pub index: usize,
    /// `get`, or for a subcommand `config|get`: as Redis names it in messages and statistics.
    pub full_name: String,
    /// Indices of its subcommands by their names.
    subcommands: HashMap<&'static [u8], usize, foldhash::fast::FixedState>,
}

pub struct Table {
    commands: Vec<Command>,
    by_name: HashMap<&'static [u8], usize, foldhash::fast::FixedState>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { commands: Vec::new(), by_name: HashMap::default() };
    for spec in FAMILIES.iter().copied().flatten() {
        let index = table.add(spec, spec.name.to_owned());
        table.by_name.insert(spec.name.as_bytes(), index);
        for subcommand in spec.subcommands {
            let child = table.add(subcommand, format!("{}|{}", spec.name, subcommand.name));
            table.commands[index].subcommands.insert(subcommand.name.as_bytes(), child);
        }
    }
    table
});

impl Table {
    pub fn get() -> &'static Table {
        &TABLE
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
