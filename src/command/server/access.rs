//! ACL, as far as it applies to a server with one user (<https://redis.io/docs/latest/commands/acl/>).

use super::common::{ADMIN, ANYTIME, CONSTANT, help_of, reply_lines, reply_names, wrong_subcommand};
use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::Stop;
use crate::command::spec::Spec;
use crate::command::user::DEFAULT;
use crate::reply::Error;

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
    "HELP",
    "    Prints this help.",
];

const ANYBODY: Flags = ANYTIME.or(Flags::NO_SCRIPT);

pub const SUBCOMMANDS: &[Spec] = &[
    Spec::new("cat", -2, categories).flags(ANYBODY).doc(
        "server",
        "6.0.0",
        "O(N) where N is the number of commands",
        "List the categories of commands, or the commands of a category",
    ),
    help_of(|context| reply_lines(context, HELP), "6.0.0"),
    Spec::new("users", 2, users).flags(ADMIN).doc("server", "6.0.0", CONSTANT, "List the names of the users"),
    Spec::new("whoami", 2, who_am_i).flags(ANYBODY).doc("server", "6.0.0", CONSTANT, "Tell the connection's user"),
];

fn categories(context: &mut Context<'_>) -> Result<(), Stop> {
    match context.args.len() {
        2 => {
            context.reply.array(Categories::ALL.len());
            for (_, name) in Categories::ALL {
                context.reply.bulk(name.as_bytes());
            }
        }
        3 => {
            let name = context.args.at(2);
            let category =
                Categories::named(name).ok_or_else(|| Error::quoting_start("ERR Unknown category '", name, "'"))?;
            reply_names(context.reply, |command| command.spec.all_categories().has(category));
        }
        _ => return Err(wrong_subcommand("ACL", context.args.at(1)).into()),
    }
    Ok(())
}

fn users(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.array(1);
    context.reply.bulk(DEFAULT.as_bytes());
    Ok(())
}

fn who_am_i(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.bulk(DEFAULT.as_bytes());
    Ok(())
}
