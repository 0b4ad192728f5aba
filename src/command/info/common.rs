//! What the commands of this family share.

use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::reply::Error;

pub const ANYTIME: Flags = Flags::LOADING.or(Flags::STALE);
pub const ADMIN: Flags = ANYTIME.or(Flags::ADMIN);

/// The handler of a command that only has subcommands.
pub fn container(_: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::SYNTAX.into())
}

/// Answers HELP: `lines`, between the lines that every command's help has.
pub fn reply_help(context: &mut Context<'_>, command: &str, lines: &[&str]) {
    context.reply.array(lines.len() + 3);
    context.reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        context.reply.simple(line);
    }
    context.reply.simple("HELP");
    context.reply.simple("    Prints this help.");
}
