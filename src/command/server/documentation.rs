//! COMMAND DOCS (<https://redis.io/docs/latest/commands/command-docs/>).

use super::common::reply_statuses;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::table::{Command, Table};
use crate::reply::Sink;

pub fn docs(context: &mut Context<'_>) -> Result<(), Stop> {
    let table = Table::get();
    let commands: Vec<&Command> = if context.args.len() == 2 {
        table.top_level().collect()
    } else {
        context.args.iter_from(2).filter_map(|name| table.find_full(name)).collect()
    };
    context.reply.map(commands.len());
    for command in commands {
        reply_docs(context.reply, command);
    }
    Ok(())
}

/// A name, and the map of what is known of it.
fn reply_docs(reply: &mut dyn Sink, command: &Command) {
    let spec = command.spec;
    let texts =
        [("summary", spec.summary), ("since", spec.since), ("group", spec.group), ("complexity", spec.complexity)];
    let subcommands = Table::get().subcommands(command);
    reply.bulk(command.full_name.as_bytes());
    reply.map(texts.len() + if spec.deprecated.is_some() { 3 } else { 0 } + usize::from(!subcommands.is_empty()));
    for (field, text) in texts {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some((since, replaced_by)) = spec.deprecated {
        reply.bulk(b"doc_flags");
        reply_statuses(reply, std::iter::once("deprecated"), "");
        for (field, text) in [("deprecated_since", since), ("replaced_by", replaced_by)] {
            reply.bulk(field.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        for subcommand in subcommands {
            reply_docs(reply, subcommand);
        }
    }
}
