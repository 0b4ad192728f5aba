//! What commands of the server share: flags, words, and parts of replies.

use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::spec::{Handler, Spec};
use crate::command::table::{Command, Table};
use crate::reply::{Error, Sink};

/// While the server starts, and on a replica that is behind.
pub const ANYTIME: Flags = Flags::LOADING.or(Flags::STALE);
pub const ADMIN: Flags = Flags::ADMIN.or(Flags::NO_SCRIPT).or(ANYTIME);

pub const CONSTANT: &str = "O(1)";

/// A subcommand that lists the subcommands beside it.
pub const fn help_of(handler: Handler, since: &'static str) -> Spec {
    Spec::new("help", 2, handler).flags(ANYTIME).doc("server", since, CONSTANT, "List the subcommands")
}

pub fn reply_lines(context: &mut Context<'_>, lines: &[&str]) -> Result<(), Stop> {
    context.reply.array(lines.len());
    for line in lines {
        context.reply.simple(line);
    }
    Ok(())
}

/// Whether an argument is `word`, in any case.
pub fn is_word(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// The error for arguments that no subcommand takes.
pub fn wrong_subcommand(command: &str, subcommand: &[u8]) -> Error {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    Error::quoting_start(before, subcommand, &format!("'. Try {command} HELP."))
}

/// A set of statuses, each after `prefix`.
pub fn reply_statuses(reply: &mut dyn Sink, names: impl Iterator<Item = &'static str>, prefix: &str) {
    let names: Vec<_> = names.collect();
    reply.set(names.len());
    for name in names {
        reply.simple(&format!("{prefix}{name}"));
    }
}

/// The full names of the commands and subcommands that are wanted.
pub fn reply_names(reply: &mut dyn Sink, is_wanted: impl Fn(&Command) -> bool) {
    let is_command = |command: &&Command| !command.spec.flags.has(Flags::HTTP) && is_wanted(command);
    let wanted: Vec<_> = Table::get().commands().iter().filter(is_command).collect();
    reply.array(wanted.len());
    for command in wanted {
        reply.bulk(command.full_name.as_bytes());
    }
}
