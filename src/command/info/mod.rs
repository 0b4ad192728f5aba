//! What the server tells of itself: INFO, SLOWLOG, LATENCY, MEMORY.

mod graph;
mod latency;
mod memory;
mod memory_report;
mod persistence;
mod sections;
mod slowlog;
mod statistics;

use super::context::Context;
use super::spec::{Categories, Flags, Spec};
use crate::command::flow::Stop;
use crate::reply::Error;

pub const COMMANDS: &[Spec] = &[
    Spec::new("info", -1, sections::info)
        .flags(ANYTIME)
        .categories(Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("server", "1.0.0", "O(1)", "Tell about the server and what it has counted"),
    slowlog::COMMAND,
    latency::COMMAND,
    memory::COMMAND,
];

const ANYTIME: Flags = Flags::LOADING.or(Flags::STALE);
const ADMIN: Flags = ANYTIME.or(Flags::ADMIN);

/// The handler of a command that only has subcommands.
fn container(_: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::SYNTAX.into())
}

/// Answers HELP: `lines`, between the lines that every command's help has.
fn reply_help(context: &mut Context<'_>, command: &str, lines: &[&str]) {
    context.reply.array(lines.len() + 3);
    context.reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        context.reply.simple(line);
    }
    context.reply.simple("HELP");
    context.reply.simple("    Prints this help.");
}
