//! COMMAND: the commands as data (<https://redis.io/docs/latest/commands/command/>). Everything comes from the table.

use super::common::{ANYTIME, CONSTANT, help_of, is_word, reply_lines, reply_names, reply_statuses};
use super::{documentation, key_extraction};
use crate::base::glob;
use crate::command::context::Context;
use crate::command::flags::Categories;
use crate::command::flow::Stop;
use crate::command::spec::{Handler, KeyUse, Keys, Spec};
use crate::command::table::{Command, Table};
use crate::reply::{Error, Sink};

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
    "HELP",
    "    Prints this help.",
];

const BY_NAMES: &str = "O(N) where N is the number of names";
const BY_ARGUMENTS: &str = "O(N) where N is the number of arguments";
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];

pub const SUBCOMMANDS: &[Spec] = &[
    subcommand("count", 2, count).doc("server", "2.8.13", CONSTANT, "Count the commands"),
    subcommand("docs", -2, documentation::docs).tips(ANY_ORDER).doc("server", "7.0.0", BY_NAMES, "Document commands"),
    subcommand("getkeys", -4, key_extraction::get_keys).doc(
        "server",
        "2.8.13",
        BY_ARGUMENTS,
        "Find the keys among the arguments of a command",
    ),
    subcommand("getkeysandflags", -4, key_extraction::get_keys_and_flags).doc(
        "server",
        "7.0.0",
        BY_ARGUMENTS,
        "Find the keys among the arguments of a command, and what they are used for",
    ),
    help_of(|context| reply_lines(context, HELP), "5.0.0").categories(Categories::CONNECTION),
    subcommand("info", -2, info).tips(ANY_ORDER).doc("server", "2.8.13", BY_NAMES, "Describe commands"),
    subcommand("list", -2, list).tips(ANY_ORDER).doc(
        "server",
        "7.0.0",
        "O(N) where N is the number of commands",
        "List the names of commands",
    ),
];

const fn subcommand(name: &'static str, arity: i32, handler: Handler) -> Spec {
    Spec::new(name, arity, handler).flags(ANYTIME).categories(Categories::CONNECTION)
}

/// Without a subcommand.
pub fn command(context: &mut Context<'_>) -> Result<(), Stop> {
    reply_all(context.reply);
    Ok(())
}

fn count(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.integer(Table::get().top_level().count() as i64);
    Ok(())
}

fn info(context: &mut Context<'_>) -> Result<(), Stop> {
    if context.args.len() == 2 {
        reply_all(context.reply);
        return Ok(());
    }
    context.reply.array(context.args.len() - 2);
    for name in context.args.iter_from(2) {
        match Table::get().find_full(name) {
            Some(command) => reply_command(context.reply, command),
            None => context.reply.null(),
        }
    }
    Ok(())
}

fn reply_all(reply: &mut dyn Sink) {
    reply.array(Table::get().top_level().count());
    for command in Table::get().top_level() {
        reply_command(reply, command);
    }
}

fn reply_command(reply: &mut dyn Sink, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(i64::from(spec.arity));
    reply_statuses(reply, spec.flags.names(), "");
    let (first, last, step) = match spec.keys {
        Keys::Range { first, last, step } => (first as i64, i64::from(last), step as i64),
        Keys::None | Keys::Found(_) => (0, 0, 0),
    };
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    reply_statuses(reply, spec.all_categories().names(), "@");
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply_key_specifications(reply, spec);
    let subcommands = Table::get().subcommands(command);
    if subcommands.is_empty() {
        reply.set(0);
    } else {
        reply.array(subcommands.len());
        for subcommand in subcommands {
            reply_command(reply, subcommand);
        }
    }
}

/// <https://redis.io/docs/latest/develop/reference/key-specs/>
fn reply_key_specifications(reply: &mut dyn Sink, spec: &Spec) {
    match (&spec.keys, spec.last_key_use) {
        (Keys::None, _) => reply.set(0),
        (Keys::Range { first, last, step }, None) => {
            let last = if *last < 0 { *last } else { last - *first as i32 };
            reply.set(1);
            reply_range(reply, spec, spec.key_use, (*first, last, *step));
        }
        (Keys::Range { first, last, step }, Some(last_key_use)) => {
            let last_index = (*last).unsigned_abs() as usize;
            reply.set(2);
            reply_range(reply, spec, spec.key_use, (*first, last - *step as i32 - *first as i32, *step));
            reply_range(reply, spec, last_key_use, (last_index, 0, 1));
        }
        (Keys::Found(_), _) => {
            reply.set(1);
            reply.map(3);
            reply_key_flags(reply, spec, spec.key_use);
            for part in ["begin_search", "find_keys"] {
                reply.bulk(part.as_bytes());
                reply_kind(reply, "unknown", &[]);
            }
        }
    }
}

/// Keys from the argument `first` on; `last` counts from there, or if it is negative, from the last argument.
fn reply_range(reply: &mut dyn Sink, spec: &Spec, key_use: KeyUse, (first, last, step): (usize, i32, usize)) {
    reply.map(3);
    reply_key_flags(reply, spec, key_use);
    reply.bulk(b"begin_search");
    reply_kind(reply, "index", &[("index", first as i64)]);
    reply.bulk(b"find_keys");
    reply_kind(reply, "range", &[("lastkey", i64::from(last)), ("keystep", step as i64), ("limit", 0)]);
}

fn reply_key_flags(reply: &mut dyn Sink, spec: &Spec, key_use: KeyUse) {
    let varies = spec.key_use_of.map(|_| "variable_flags");
    reply.bulk(b"flags");
    reply_statuses(reply, key_use.flags().iter().copied().chain(varies), "");
}

fn reply_kind(reply: &mut dyn Sink, kind: &str, numbers: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}

/// What LIST leaves out.
enum Filter<'a> {
    None,
    /// Everything: there are no modules.
    Module,
    /// `None`: a category that does not exist.
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl Filter<'_> {
    fn keeps(&self, command: &Command) -> bool {
        match self {
            Filter::None => true,
            Filter::Module => false,
            Filter::Category(category) => category.is_some_and(|category| command.spec.all_categories().has(category)),
            Filter::Pattern(pattern) => glob::matches(pattern, command.full_name.as_bytes(), true),
        }
    }
}

fn list(context: &mut Context<'_>) -> Result<(), Stop> {
    let args = context.args;
    let filter = match args.len() {
        2 => Filter::None,
        5 if is_word(args.at(2), "FILTERBY") && is_word(args.at(3), "MODULE") => Filter::Module,
        5 if is_word(args.at(2), "FILTERBY") && is_word(args.at(3), "ACLCAT") => {
            Filter::Category(Categories::named(args.at(4)))
        }
        5 if is_word(args.at(2), "FILTERBY") && is_word(args.at(3), "PATTERN") => Filter::Pattern(args.at(4)),
        _ => return Err(Error::SYNTAX.into()),
    };
    reply_names(context.reply, |command| filter.keeps(command));
    Ok(())
}
