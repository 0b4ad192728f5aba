//! COMMAND GETKEYS and GETKEYSANDFLAGS (<https://redis.io/docs/latest/commands/command-getkeys/>).

use super::common::reply_statuses;
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::spec::{KeyUse, Keys, Spec};
use crate::command::table::{Command, Table};
use crate::protocol::Args;
use crate::reply::Error;

pub fn get_keys(context: &mut Context<'_>) -> Result<(), Stop> {
    let keys = keys_of(&context.args)?;
    context.reply.array(keys.len());
    for (key, _) in keys {
        context.reply.bulk(key);
    }
    Ok(())
}

pub fn get_keys_and_flags(context: &mut Context<'_>) -> Result<(), Stop> {
    let keys = keys_of(&context.args)?;
    context.reply.array(keys.len());
    for (key, key_use) in keys {
        context.reply.array(2);
        context.reply.bulk(key);
        reply_statuses(context.reply, key_use.flags().iter().copied(), "");
    }
    Ok(())
}

/// The keys of the command that follows the first two arguments, and what they are used for.
fn keys_of<'a>(args: &Args<'a>) -> Result<Vec<(&'a [u8], KeyUse)>, Error> {
    let slices: Vec<&[u8]> = args.iter_from(2).collect();
    let args = Args::from_slices(&slices);
    let spec = find(&args).ok_or(Error::new("ERR Invalid command specified"))?.spec;
    if matches!(spec.keys, Keys::None) {
        return Err(Error::new("ERR The command has no key arguments"));
    }
    if !spec.accepts(args.len()) {
        return Err(Error::new("ERR Invalid number of arguments specified for command"));
    }
    let indices = spec.keys.indices(&args);
    if indices.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(Error::new("ERR Invalid arguments specified for command"));
    }
    let last = indices.last().copied();
    let use_of = |index| key_use(spec, &args, Some(index) == last);
    Ok(indices.into_iter().map(|index| (slices.get(index).copied().unwrap_or_default(), use_of(index))).collect())
}

fn key_use(spec: &Spec, args: &Args<'_>, is_last: bool) -> KeyUse {
    match (spec.last_key_use, spec.key_use_of) {
        (Some(last_key_use), _) if is_last => last_key_use,
        (_, Some(key_use_of)) => key_use_of(args),
        _ => spec.key_use,
    }
}

fn find(args: &Args<'_>) -> Option<&'static Command> {
    let table = Table::get();
    let command = table.find(args.at(0))?;
    if command.spec.subcommands.is_empty() || args.len() < 2 {
        return Some(command);
    }
    table.subcommand(command, args.at(1))
}
