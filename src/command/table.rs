//! All commands: the families' slices, put together.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::spec::{Flags, Spec};
use super::{client, connection, info, key, monitor, server, string};
use crate::protocol::Args;
use crate::reply::Error;

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

    /// The command of that index, if it has no subcommands and a client means it by this name: in a batch, or on a
    /// connection, the same command comes again and again.
    #[inline]
    pub fn find_again(&self, index: usize, name: &[u8]) -> Option<&Command> {
        self.commands.get(index).filter(|command| command.is_meant_by(name))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::{Flags, Keys};

    /// The table's commands and subcommands; lines of HTTP are none.
    fn commands() -> impl Iterator<Item = &'static Command> {
        Table::get().commands().iter().filter(|command| !command.spec.flags.has(Flags::HTTP))
    }

    #[test]
    fn every_name_leads_to_its_command() {
        for command in Table::get().commands() {
            let name = command.spec.name;
            assert!(name.len() <= NAME_MAX_BYTES, "{name} is too long");
            assert_eq!(name, name.to_lowercase());
            let shouted = command.full_name.to_uppercase();
            let found = Table::get().find_full(shouted.as_bytes()).map(|found| found.index);
            assert_eq!(found, Some(command.index), "{} is there twice", command.full_name);
        }
        for command in Table::get().commands() {
            for name in [command.spec.name, &command.full_name] {
                let found = Table::get().find_again(command.index, name.to_uppercase().as_bytes());
                let found_anew = Table::get().find(name.as_bytes());
                let expected = (command.spec.subcommands.is_empty()
                    && found_anew.map(|found| found.index) == Some(command.index))
                .then_some(command.index);
                assert_eq!(found.map(|found| found.index), expected, "{}", command.full_name);
            }
            assert!(Table::get().find_again(command.index, b"no such command").is_none());
        }
        assert!(Table::get().find_again(usize::MAX, b"get").is_none());
        assert!(Table::get().find(b"no such command").is_none());
        assert!(Table::get().find_full(b"config|").is_none());
        assert!(Table::get().find(&[b'a'; NAME_MAX_BYTES + 1]).is_none());
    }

    #[test]
    fn every_command_is_documented() {
        for Command { spec, full_name, .. } in commands() {
            let texts = [spec.summary, spec.since, spec.group, spec.complexity];
            assert!(texts.iter().all(|text| !text.is_empty()), "{full_name}: {texts:?}");
            assert_eq!(spec.since.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{full_name}");
            assert!(!spec.summary.ends_with('.'), "{full_name}: {}", spec.summary);
        }
    }

    #[test]
    fn keys_fit_the_flags_and_the_arity() {
        for Command { spec, full_name, .. } in commands() {
            let (writes, reads) = (spec.flags.has(Flags::WRITE), spec.flags.has(Flags::READONLY));
            assert!(!(writes && reads), "{full_name} both writes and only reads");
            let Keys::Range { first, last, step } = spec.keys else {
                assert!(spec.last_key_use.is_none(), "{full_name} has a last key, but no range of keys");
                continue;
            };
            assert!(writes != reads, "{full_name} has keys, and neither writes nor reads");
            let least_arguments = spec.arity.unsigned_abs() as usize;
            assert!(first >= 1 && step >= 1, "{full_name}");
            assert!(first < least_arguments, "{full_name}: its first key may be missing");
            assert!(last < least_arguments as i32, "{full_name}: its last key may be missing");
            assert!(last < 0 || last >= first as i32, "{full_name}: its last key is before the first");
            assert!(spec.last_key_use.is_none() || last > first as i32, "{full_name}: its last key is not another");
        }
    }

    #[test]
    fn categories_follow_from_flags() {
        let names =
            |name: &[u8]| -> Vec<_> { Table::get().find_full(name).unwrap().spec.all_categories().names().collect() };
        assert_eq!(names(b"get"), ["read", "string", "fast"]);
        assert_eq!(names(b"config|set"), ["admin", "slow", "dangerous"]);
        assert_eq!(names(b"config"), ["slow"]);
    }
}
