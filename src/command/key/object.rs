//! OBJECT: the encoding and the use of a value (<https://redis.io/docs/latest/commands/object/>).

use crate::base::chunks::BytesRef;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::Stop;
use crate::command::spec::{Handler, KeyUse, Spec};
use crate::keyspace::entry::Entry;
use crate::reply::Error;
use crate::types::string;

const NO_IDLE_TIME: Error = Error::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies \
     at runtime LRU and LFU data will take some time to adjust.",
);
const NO_FREQUENCY: Error = Error::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
     between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// The reference count that Redis reports for small integers, which it shares among keys.
const SHARED_REFERENCES: i64 = i32::MAX as i64;
const SHARED_INTEGERS: std::ops::Range<i64> = 0..10_000;

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

pub const SUBCOMMANDS: &[Spec] = &[
    on_key("encoding", encoding).doc("generic", "2.2.3", "O(1)", "Tell how the value at a key is represented"),
    on_key("freq", frequency).doc("generic", "4.0.0", "O(1)", "Tell how often a key is used, on a logarithmic scale"),
    Spec::new("help", 2, help).flags(Flags::LOADING.or(Flags::STALE)).categories(Categories::KEYSPACE).doc(
        "generic",
        "6.2.0",
        "O(1)",
        "List the subcommands",
    ),
    on_key("idletime", idle_time).doc("generic", "2.2.3", "O(1)", "Tell for how many seconds a key was not used"),
    on_key("refcount", references).doc("generic", "2.2.3", "O(1)", "Tell how many share the value at a key"),
];

const fn on_key(name: &'static str, handler: Handler) -> Spec {
    Spec::new(name, 3, handler)
        .flags(Flags::READONLY)
        .keys(2, 2, 1, KeyUse::Inspect)
        .categories(Categories::KEYSPACE)
        .tips(&["nondeterministic_output"])
}

/// OBJECT itself: not reached, since whatever follows it is looked up as a subcommand.
pub fn object(_: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::SYNTAX.into())
}

fn help(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.array(HELP.len());
    for line in HELP {
        context.reply.simple(line);
    }
    Ok(())
}

/// What `look` returns for the entry at the command's key, if there is one.
fn look<R>(context: &mut Context<'_>, look: impl FnOnce(&Entry) -> R) -> Result<Option<R>, Stop> {
    let key = context.key(2);
    Ok(context.access.slot(&key)?.inspect(&key).map(|entry| look(&entry)))
}

fn reply_integer(context: &mut Context<'_>, value: Option<i64>) {
    match value {
        Some(value) => context.reply.integer(value),
        None => context.reply.null(),
    }
}

fn encoding(context: &mut Context<'_>) -> Result<(), Stop> {
    match look(context, Entry::encoding)? {
        Some(name) => context.reply.bulk(name.as_bytes()),
        None => context.reply.null(),
    }
    Ok(())
}

fn references(context: &mut Context<'_>) -> Result<(), Stop> {
    let references = look(context, |entry| {
        let integer = entry.string().filter(|_| entry.encoding() == string::INTEGER);
        let integer = integer.and_then(BytesRef::slice).and_then(number::parse_i64);
        integer.filter(|integer| SHARED_INTEGERS.contains(integer)).map_or(1, |_| SHARED_REFERENCES)
    })?;
    reply_integer(context, references);
    Ok(())
}

fn idle_time(context: &mut Context<'_>) -> Result<(), Stop> {
    let now_ms = context.now_ms;
    let idle_seconds = look(context, |entry| entry.recency().idle_seconds(now_ms) as i64)?;
    if idle_seconds.is_some() && context.keyspace().rules().is_lfu() {
        return Err(NO_IDLE_TIME.into());
    }
    reply_integer(context, idle_seconds);
    Ok(())
}

fn frequency(context: &mut Context<'_>) -> Result<(), Stop> {
    let (now_ms, rules) = (context.now_ms, context.keyspace().rules());
    let frequency = look(context, |entry| i64::from(entry.recency().frequency(now_ms, &rules)))?;
    if frequency.is_some() && !rules.is_lfu() {
        return Err(NO_FREQUENCY.into());
    }
    reply_integer(context, frequency);
    Ok(())
}
