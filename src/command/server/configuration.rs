//! CONFIG (<https://redis.io/docs/latest/commands/config/>).

use std::sync::atomic::Ordering;

use super::common::{ADMIN, CONSTANT, help_of, reply_lines};
use crate::base::system;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::spec::Spec;
use crate::command::state::State;
use crate::config::{Caller, Integer, NotApplied, NotSet, Settings, UNKNOWN_BEFORE_NAME, find, is_sensitive};
use crate::reply::Error;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
    "HELP",
    "    Prints this help.",
];

const BY_PARAMETERS: &str = "O(N) where N is the number of parameters";

pub const SUBCOMMANDS: &[Spec] =
    &[
        Spec::new("get", -3, get).flags(ADMIN).doc("server", "2.0.0", BY_PARAMETERS, "Read settings"),
        help_of(|context| reply_lines(context, HELP), "5.0.0"),
        Spec::new("resetstat", 2, reset_statistics).flags(ADMIN).doc(
            "server",
            "2.0.0",
            CONSTANT,
            "Set the counters that INFO shows to zero",
        ),
        Spec::new("rewrite", 2, rewrite).flags(ADMIN).doc(
            "server",
            "2.8.0",
            CONSTANT,
            "Write the present settings into the configuration file",
        ),
        Spec::new("set", -4, set)
            .flags(ADMIN)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("server", "2.0.0", BY_PARAMETERS, "Change settings"),
    ];

/// A parameter asked for by its name is answered in the client's spelling; those that a pattern matches follow in
/// ours. None comes twice, whatever the spelling.
fn get(context: &mut Context<'_>) -> Result<(), Stop> {
    let settings = &context.state.settings;
    let is_pattern = |text: &&[u8]| text.iter().any(|byte| b"[*?".contains(byte));
    let mut found: Vec<(&[u8], String)> = Vec::new();
    for name in context.args.iter_from(2).filter(|text| !is_pattern(text)) {
        if found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            continue;
        }
        found.extend(settings.matching(&[name]).into_iter().map(|(_, value)| (name, value)));
    }
    let patterns: Vec<&[u8]> = context.args.iter_from(2).filter(is_pattern).collect();
    for (name, value) in settings.matching(&patterns) {
        if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())) {
            found.push((name.as_bytes(), value));
        }
    }
    context.reply.map(found.len());
    for (name, value) in found {
        context.reply.bulk(name);
        context.reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn set(context: &mut Context<'_>) -> Result<(), Stop> {
    let words: Vec<&[u8]> = context.args.iter_from(2).collect();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::SYNTAX.into());
    }
    let secrets = pairs.iter().enumerate().filter(|(_, [name, _])| is_sensitive(name));
    secrets.for_each(|(index, _)| context.redact(2 * index + 3));
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    let caller = if context.is_local() { Caller::Local } else { Caller::Remote };
    let settings = &context.state.settings;
    let changed = settings
        .set_with(
            &pairs,
            caller,
            |name, value| check(context.state, name, value),
            |changed| apply(context.state, changed),
        )
        .map_err(|error| match error {
            NotSet::Unknown(name) => Error::quoting(&format!("ERR {UNKNOWN_BEFORE_NAME}"), &name, "'"),
            NotSet::Refused(reason) => Error::owned(format!("ERR {reason}")),
        })?;
    let is_idle = |name: &&str| find(name.as_bytes()).is_some_and(|(found, _)| found.without_effect);
    let idle: Vec<_> = changed.iter().copied().filter(is_idle).collect();
    if !idle.is_empty() {
        tracing::warn!("accepted, but without effect in this version: {}", idle.join(", "));
    }
    context.state.apply_settings();
    if !changed.is_empty() {
        tracing::info!(parameters = changed.join(" "), client = context.session.client.id, "settings changed");
    }
    context.reply.ok();
    Ok(())
}

/// A `maxdisk` that leaves no room would have keys deleted at once.
fn check(state: &State, name: &'static str, value: &str) -> Result<(), NotApplied> {
    if name != "maxdisk" {
        return Ok(());
    }
    let (asked, least_bytes) =
        (Settings::default(), state.keyspace.merging().map_or(0, |merging| merging.disk_min_bytes()));
    let refusal = |reason| Err(NotApplied { name, reason });
    if let Err(reason) = asked.set(&[(name.as_bytes(), value.as_bytes())]) {
        return refusal(reason.to_string());
    }
    let is_new = asked.maxdisk.get() != state.settings.maxdisk.get();
    if is_new && asked.maxdisk.get() > 0 && asked.maxdisk.get() < least_bytes {
        return refusal(format!("journal and log leave no room for keys: the least is {least_bytes} bytes"));
    }
    Ok(())
}

/// Applies new values that are not read at each use. `requirepass` and `maxclients`, like most, are read at each command or
/// connection, and connected clients stay connected. The sockets, though, are opened once, at the
/// start: other ones are refused in Redis's words for those that cannot be opened.
fn apply(state: &State, changed: &[&'static str]) -> Result<(), NotApplied> {
    fit_descriptors(state, changed)?;
    let refusals = [
        ("port", "Unable to listen on this port. Check server logs."),
        ("bind", "Failed to bind to specified addresses."),
    ];
    let Some((name, reason)) = refusals.into_iter().find(|(name, _)| changed.contains(name)) else { return Ok(()) };
    tracing::warn!(parameter = name, "not changed: the server listens where it has listened since its start");
    Err(NotApplied { name, reason: reason.to_owned() })
}

/// Raises the limit of open files if there may be more connections now, or refuses, in Redis's words, where the system does
/// not let it.
fn fit_descriptors(state: &State, changed: &[&'static str]) -> Result<(), NotApplied> {
    let limits = [("maxclients", &state.settings.maxclients), ("http-maxclients", &state.settings.http_maxclients)];
    let Some((name, _)) = limits.into_iter().find(|(name, _)| changed.contains(name)) else { return Ok(()) };
    let of = |(_, number): (&str, &Integer)| number.get().max(0) as u64;
    let reserved = state.reserved_descriptors.load(Ordering::Relaxed);
    let wanted = reserved + limits.into_iter().map(of).sum::<u64>();
    let limit = system::raise_descriptor_limit(wanted);
    if limit >= wanted {
        return Ok(());
    }
    let others: u64 = limits.into_iter().filter(|(other, _)| *other != name).map(of).sum();
    let reason = format!(
        "The operating system is not able to handle the specified number of clients, try with {}",
        limit.saturating_sub(reserved + others)
    );
    Err(NotApplied { name, reason })
}

fn reset_statistics(context: &mut Context<'_>) -> Result<(), Stop> {
    context.state.reset_statistics();
    context.reply.ok();
    Ok(())
}

fn rewrite(context: &mut Context<'_>) -> Result<(), Stop> {
    context.state.settings.rewrite().map_err(|reason| {
        tracing::warn!(reason, "the configuration file could not be rewritten");
        Error::owned(format!("ERR {reason}"))
    })?;
    tracing::info!("the configuration file was rewritten");
    context.reply.ok();
    Ok(())
}
